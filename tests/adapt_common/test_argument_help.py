"""What a command's annotations say of its arguments is in its help, whatever click does."""

from __future__ import annotations

from typing import Annotated

import typer
from click.testing import CliRunner

from adapt_common.argument_help import with_argument_help

app = typer.Typer(rich_markup_mode=None)
below = typer.Typer(rich_markup_mode=None)
app.add_typer(below, name="below")


@app.command()
def send(
    letter: Annotated[str, typer.Argument(help="What to send.")],
    stamps: Annotated[int, typer.Option(help="How many.")] = 1,
    plain: str = "",
) -> None:
    """Send a letter."""


@below.command()
def dig(place: Annotated[str, typer.Argument(help="Where to dig.")]) -> None:
    """Dig."""


@below.command()
def rest() -> None:
    """Rest."""


def test_arguments_have_their_help_and_options_keep_theirs() -> None:
    command = with_argument_help(typer.main.get_command(app))
    said = CliRunner().invoke(command, ["send", "--help"]).output
    assert said.count("LETTER  What to send.  [required]") == 1
    assert "How many." in said
    assert "Where to dig." in CliRunner().invoke(command, ["below", "dig", "--help"]).output
