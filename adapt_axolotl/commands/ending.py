"""How the command ends where it failed."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong, on stderr, and exit with a code."""
    typer.echo(f"adapt-axolotl: {message}", err=True)
    sys.exit(code)
