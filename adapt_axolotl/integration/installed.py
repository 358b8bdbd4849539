"""Whether what is installed is what this package was made for, by the tables of `used.py`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from importlib.metadata import requires, version
from importlib.util import find_spec
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from adapt_axolotl.integration import used as tables

LOG = logging.getLogger("axolotl.adapt")

# Axolotl pins the other packages to exact versions; where another one is installed it is told.
MADE_FOR = SpecifierSet(">=0.19,<0.20")
PINNED = ("accelerate", "peft", "transformers", "trl")


def check_environment() -> None:
    """Compare what is installed with what this package was made for.

    A version outside the range that still has everything is told once; training goes on.

    Raises:
        ValueError: something that is used has gone or takes other parameters: what, and what to
            install.
    """
    installed = version("axolotl")
    changes = list(changed_names())
    if changes:
        raise ValueError(
            f"axolotl {installed} is not what this version of adapt-axolotl was made for (axolotl "
            f"{MADE_FOR}):\n  - "
            + "\n  - ".join(changes)
            + f"\ninstall axolotl {MADE_FOR} with the packages that it pins, or a version of "
            "adapt-axolotl made for the one that is installed"
        )
    if not MADE_FOR.contains(installed, prereleases=True):
        LOG.warning(
            f"adapt-axolotl was made and tested for axolotl {MADE_FOR}; {installed} is installed. "
            "Everything that is used is there, so training goes on"
        )
    for package, pin, found in other_versions():
        LOG.warning(
            f"axolotl {installed} asks for {package}{pin}, and {found} is installed. Everything "
            "that is used is there, so training goes on"
        )


def check_zero3(engine: Any) -> None:
    """Compare what DeepSpeed made of a model with what is used of it.

    Args:
        engine: the model as DeepSpeed wraps it under ZeRO-3.

    Raises:
        ValueError: something that is used has gone.
    """
    parameter = next(engine.parameters())
    gone = [
        f"the optimizer's {one}"
        for one in tables.ZERO3_OPTIMIZER
        if not hasattr(engine.optimizer, one)
    ]
    gone += [
        f"a parameter's {one}" for one in tables.ZERO3_PARAMETER if not hasattr(parameter, one)
    ]
    if gone:
        raise ValueError(
            f"deepspeed {version('deepspeed')} is not what this version of adapt-axolotl was made "
            f"for: {', '.join(gone)} is gone; install the version that axolotl[deepspeed] pins"
        )


def other_versions() -> Iterator[tuple[str, SpecifierSet, str]]:
    """(package, Axolotl's pin, version) of those installed in another version than it pins."""
    for asked in map(Requirement, requires("axolotl") or []):
        here = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if asked.name in PINNED and here:
            found = version(asked.name)
            if not asked.specifier.contains(found, prereleases=True):
                yield asked.name, asked.specifier, found


def changed_names() -> Iterator[str]:
    """A sentence for each thing in the table that is not as expected."""
    if find_spec(tables.DATASET_TYPES) is None:
        yield f"{tables.DATASET_TYPES} is gone"
    for used in tables.NAMES:
        if used.needs and find_spec(used.needs) is None:
            continue
        place = f"{used.module}.{used.name}"
        try:
            found = tables.found(used)
        except (ImportError, AttributeError) as error:
            yield f"{place} {_why_not(error, used.module)}"
            continue
        yield from _changed_parameters(place, found, used.parameters)
        for name, parameters in used.methods.items():
            method = getattr(found, name, None)
            if method is None:
                yield f"{place}.{name} is gone"
            else:
                yield from _changed_parameters(f"{place}.{name}", method, parameters)
    try:
        schema = tables.found(tables.USED["AxolotlInputConfig"])
    except (ImportError, AttributeError):
        return  # told above
    for key in tables.RECIPE_KEYS:
        if key not in schema.model_fields:
            yield f"the recipe key {key} is gone"
    for key in tables.COMPUTED_KEYS:
        if not hasattr(schema, key):
            yield f"the computed recipe key {key} is gone"
    for module, name, keys in tables.PLUGIN_KEYS:
        try:
            fields = tables.found(tables.Used(module, name)).model_fields
        except (ImportError, AttributeError) as error:
            yield f"{module}.{name} {_why_not(error, module)}"
            continue
        yield from (f"the recipe key {key} is gone" for key in keys if key not in fields)


def _why_not(error: ImportError | AttributeError, module: str) -> str:
    """What became of a name of a module: the module itself may lack another package."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is None or f"{module}.".startswith(f"{missing}."):
        return "is gone"
    return f"cannot be imported: the package {missing} is not installed"


def _changed_parameters(place: str, found: Any, wanted: tuple[str, ...]) -> Iterator[str]:
    if not wanted:
        return
    parameters = inspect.signature(found).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    missing = [name for name in wanted if name not in parameters]
    if missing:
        yield f"{place} takes no {', '.join(missing)} any more, only {', '.join(parameters)}"
