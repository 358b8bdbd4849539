"""What a command needs beyond the light install, which compares stored results and no more."""

from __future__ import annotations

from importlib.util import find_spec


def need(command: str, *modules: str) -> None:
    """
    Args:
        command: of `adapt-eval`, for the message.

    Raises:
        ValueError: a module is not installed.
    """
    if missing := [one for one in modules if not _is_installed(one)]:
        raise ValueError(
            f"{command}: needs {', '.join(missing)}, which the light install leaves out; pip "
            "install adapt-axolotl in an environment of its own. compare, report and suites "
            "work here"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
