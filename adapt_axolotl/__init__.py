"""ADAPT for Axolotl: the task mixture of a fine-tune, learned while it trains.

The door is lazy: importing this package costs nothing, and Axolotl is imported only when it asks
for ``adapt_axolotl.AdaptPlugin``.
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
