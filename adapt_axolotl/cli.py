"""The `adapt-axolotl` command. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Tools around ADAPT runs. Training itself is `axolotl train RECIPE`.",
)


@app.callback()
def root() -> None:
    """Keeps the commands named when there is only one."""


@app.command(epilog="Example: adapt-axolotl tiny data/tiny")
def tiny(
    directory: Annotated[Path, typer.Argument(help="Where to write the model and the data.")],
) -> None:
    """Make the small model and the made instruction mixture that the tiny recipes train on.

    The same files on every machine; needs no network.
    """
    from adapt_axolotl.tiny import write_tiny

    write_tiny(directory)
    typer.echo(f"wrote {directory / 'model'} and {directory / 'data'}", err=True)


@app.command(epilog="Example: adapt-axolotl show runs/adapt_tiny_cpu runs/uniform_tiny_cpu")
def show(
    runs: Annotated[list[Path], typer.Argument(help="Output directories of finished runs.")],
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table instead.")] = False,
) -> None:
    """Put runs side by side: tokens and validation losses of every task."""
    from adapt_axolotl.show import markdown_table, side_by_side

    if markdown:
        typer.echo(markdown_table(runs))
        return
    from rich.console import Console

    Console().print(side_by_side(runs))


def main() -> None:
    """Console script: errors of the user are one message, without a traceback."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"adapt-axolotl: {error}", err=True)
        sys.exit(2)
