"""Text that a command prints, or writes to a file that does not exist yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NewFile = Annotated[
    Path | None, typer.Option("--output", "-o", help="A new file to write. Default: stdout.")
]


def print_or_write(text: str, output: Path | None) -> None:
    """Text to stdout, or to a file that does not exist yet."""
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8", newline="") as file:  # line ends stay as they are
            file.write(text)
    except FileExistsError as error:
        raise ValueError(f"--output {output}: exists; remove it or name another file") from error
    typer.echo(f"wrote {output}", err=True)
