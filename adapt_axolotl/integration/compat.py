"""Where the names of Axolotl, Trainer, DeepSpeed and TRL are imported from, those that `used.py`
lists, when they are first used: `from adapt_axolotl.integration.compat import X`.
"""

from __future__ import annotations

from typing import Any

from adapt_axolotl.integration.installed import check_environment
from adapt_axolotl.integration.used import USED, found


def __getattr__(name: str) -> Any:
    if name not in USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return found(USED[name])
    except (ImportError, AttributeError):
        # Axolotl goes on without a plugin that cannot be imported, so this is the last chance.
        check_environment()
        raise
