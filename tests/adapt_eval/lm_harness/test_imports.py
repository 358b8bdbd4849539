"""lm-eval is imported by one folder, so that an upgrade of it concerns that folder alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import adapt_eval

PACKAGE = Path(adapt_eval.__file__).parent


def imported(file: Path) -> Iterator[str]:
    """Names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_only_lm_harness_imports_lm_eval() -> None:
    importers = {
        file.relative_to(PACKAGE).parts[0]
        for file in PACKAGE.rglob("*.py")
        if any(name.split(".")[0] == "lm_eval" for name in imported(file))
    }
    assert importers == {"lm_harness"}
