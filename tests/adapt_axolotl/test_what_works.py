"""The tests that docs/what_works_with_what.md names are there."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_test_that_the_table_names_exists_and_every_letter_has_one(repository: Path) -> None:
    page = (repository / "docs" / "what_works_with_what.md").read_text(encoding="utf-8")
    files = (repository / "tests").rglob("test_*.py")
    there = {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.M)
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 20
    assert named <= there
    used = set(re.findall(r"\[([a-z]{1,2})\]", page))
    assert used == set(re.findall(r"^\| ([a-z]{1,2}) \|", page, re.M))
