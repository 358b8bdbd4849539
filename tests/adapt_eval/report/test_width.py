"""Tables in narrow terminals and in pipes: names and verdicts are never cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.report.comparison_table import comparison_tables
from adapt_eval.report.table import render, suite_table
from adapt_eval.suite import load_suite
from tests.support.eval_runs import made_run


def widest(text: str) -> int:
    """Of the rules of tables; sentences wrap in the terminal by themselves."""
    lines = [line for line in text.splitlines() if "──" in line or "━━" in line]
    return max(len(line) for line in lines)


def test_eighty_columns_cut_no_verdict_and_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    scores = [float(number % 2) for number in range(4000)]
    runs = [made_run(tmp_path / name, {"sums": scores, "passages": scores[:20]}) for name in "ab"]
    text = comparison_tables(compare(read_arms([str(run) for run in runs], None)))
    assert "…" not in text
    assert widest(text) <= 80
    for word in ("equivalent", "underpowered", "passages", "comprehension", "[+0.0, +0.0]"):
        assert word in text
    suite = suite_table(load_suite("ood11"))
    assert "…" not in suite
    assert widest(suite) <= 80
    assert "0.62" in suite  # of the last column


def test_without_a_terminal_columns_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert widest(suite_table(load_suite("ood11"))) > 120
    monkeypatch.delenv("COLUMNS")
    assert widest(suite_table(load_suite("ood11"))) <= 120
    assert render("x") == "x"
