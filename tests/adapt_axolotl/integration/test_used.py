"""The tables of what is used of Axolotl hold what is used and no more."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from adapt_axolotl.integration import used as tables


def test_every_name_in_the_table_is_imported_somewhere(repository: Path) -> None:
    sources: Any = "".join(
        file.read_text(encoding="utf-8")
        for file in (repository / "adapt_axolotl" / "integration").glob("*.py")
        if file.name != "used.py"
    )
    words = set(re.findall(r"\w+", sources))
    assert [name for name in tables.USED if name not in words] == []


def test_every_name_that_is_imported_is_in_the_table(repository: Path) -> None:
    """A type checker does not tell: `compat` gives names that it does not define."""
    imported = {
        alias.name
        for folder in ("adapt_axolotl", "benchmarks", "packaging", "tests")
        for file in (repository / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "adapt_axolotl.integration.compat"
        for alias in node.names
    }
    assert "AxolotlTrainer" in imported
    assert imported <= tables.USED.keys()


def test_every_recipe_key_that_is_read_is_checked(repository: Path) -> None:
    read = set()
    for file in (repository / "adapt_axolotl" / "integration").glob("*.py"):
        read |= set(re.findall(r"\bcfg\.(\w+)", file.read_text(encoding="utf-8")))
    of_plugins = {key for _, _, keys in tables.PLUGIN_KEYS for key in keys}
    known = {*tables.RECIPE_KEYS, *tables.COMPUTED_KEYS, *of_plugins}
    assert read - {"adapt", "to_dict"} <= known
