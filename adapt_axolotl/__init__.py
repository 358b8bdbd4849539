"""ADAPT for Axolotl: the task mixture of a fine-tune, learned while it trains.

Importing this package costs nothing; Axolotl is imported only when ``adapt_axolotl.AdaptPlugin`` is
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapt_axolotl.integration.plugin import AdaptPlugin

__all__ = ["AdaptPlugin", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "AdaptPlugin":
        from adapt_axolotl.integration.plugin import AdaptPlugin

        return AdaptPlugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
