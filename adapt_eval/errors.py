"""Errors that reach the user as one message, each kind with its exit code.

A mistake in what was asked for is a plain ValueError and exits with 2.
"""

from __future__ import annotations

FAILED, USAGE, GATE_FAILED, NOT_COMPARABLE, INTERRUPTED = 1, 2, 3, 4, 130


class RunFailed(RuntimeError):
    """The request was fine, the machine was not: out of memory, no network. Exits with 1."""


class NotComparable(ValueError):
    """Runs that were not measured the same way. Exits with 4."""
