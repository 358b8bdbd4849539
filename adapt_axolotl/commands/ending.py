"""How the command ends where it failed."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import typer


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong, on stderr, and exit with a code; under Axolotl's debug switch, below the
    traceback of the exception that is being handled."""
    if os.environ.get("AXOLOTL_LOG_LEVEL") == "DEBUG" and sys.exc_info()[0] is not None:
        traceback.print_exc()
    typer.echo(f"adapt-axolotl: {message}", err=True)
    sys.exit(code)
