"""The help of a command's arguments, which typer up to 0.25 loses with click 8.5 and later: click's
own constructor, called last, sets it to none."""

from __future__ import annotations

from typing import Any, TypeVar, get_type_hints

Command = TypeVar("Command")


def with_argument_help(command: Command) -> Command:
    """The same command, and all those below it, with the help that their functions' annotations
    give to arguments.

    Args:
        command: of click, as `typer.main.get_command` makes it.
    """
    _restore(command)
    return command


def _restore(command: Any) -> None:
    for below in getattr(command, "commands", {}).values():
        _restore(below)
    if command.callback is None:
        return
    hints = get_type_hints(command.callback, include_extras=True)
    for parameter in command.params:
        for said in getattr(hints.get(parameter.name), "__metadata__", ()):
            if not parameter.help and getattr(said, "help", None):
                parameter.help = said.help
                command.format_arguments = _nothing  # typer has the same section


def _nothing(context: Any, formatter: Any) -> None:
    """In place of click's section of arguments."""
