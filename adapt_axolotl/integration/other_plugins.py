"""The plugins that a recipe names are there. Axolotl prints a traceback for one that cannot be
imported, leaves it out and goes on, so that something else would be planned."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from adapt_axolotl.integration.compat import PluginManager, prepare_plugins

_AXOLOTLS = "axolotl.integrations."


def register_plugins(cfg: Any) -> None:
    """Let Axolotl load the plugins of a recipe and hand it to them.

    Raises:
        ValueError: one cannot be imported; or a plugin refuses the recipe.
    """
    for name in cfg["plugins"]:
        _import(name)
    prepare_plugins(cfg)
    for name in cfg["plugins"]:
        if name not in PluginManager.get_instance().plugins:
            raise ValueError(_cannot_be_used(name, "it ends with the ImportError above"))


def _import(name: Any) -> None:
    module, _, kind = str(name).rpartition(".")
    if not module:
        raise ValueError(
            f"plugins: {name} is no plugin; write its module and its class, as in "
            "axolotl.integrations.liger.LigerPlugin, or remove it"
        )
    try:
        there = hasattr(_module(module), kind)
    except ImportError as error:
        raise ValueError(_cannot_be_used(name, str(error))) from error
    if not there:
        raise ValueError(_cannot_be_used(name, f"{module} has no {kind}"))


def _module(name: str) -> ModuleType:
    """As Axolotl finds it: by its name, else among Axolotl's own."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.startswith(_AXOLOTLS):
            raise
        try:
            return importlib.import_module(_AXOLOTLS + name)
        except ModuleNotFoundError:
            raise error from None


def _cannot_be_used(name: str, why: str) -> str:
    return (
        f"plugins: {name} cannot be imported ({why}); correct its name, install the package that "
        "it comes from, or remove it"
    )
