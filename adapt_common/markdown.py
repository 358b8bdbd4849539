"""Markdown tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> str:
    """A Markdown table; the columns numbered in `right` are aligned to the right."""
    rules = ["---:" if number in right else "---" for number in range(len(columns))]
    lines = [columns, rules, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
