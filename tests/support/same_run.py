"""Whether two runs drew, learned and left the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.launch import TASKS, history, ledger, log_lines


def assert_same_run(found: Path, expected: Path, tolerance: float) -> None:
    """The same rows, tokens and steps; proportions to the tolerance, because sums over processes
    round differently."""
    for key in ("budget", "used", "meta_tokens", "steps"):
        assert ledger(found)[key] == ledger(expected)[key]
    for task in TASKS:
        for key in ("tokens", "examples"):
            assert ledger(found)["tasks"][task][key] == ledger(expected)["tasks"][task][key]
    lines, others = history(found), history(expected)
    assert [line["tokens"] for line in lines] == [line["tokens"] for line in others]
    assert len(lines) > 5
    for line, other in zip(lines, others, strict=True):
        difference = [line["proportions"][task] - other["proportions"][task] for task in TASKS]
        assert np.abs(difference).max() < tolerance


def assert_as_if_not_stopped(resumed: Path, whole: Path, weights: str) -> None:
    """A run that was resumed left every bit that one left that ran through. `weights`: the name of
    the file with these."""
    assert ledger(resumed) == ledger(whole)
    assert history(resumed) == history(whole)
    # Axolotl evaluates once more where it resumes.
    lines, others = ([one for one in log_lines(run) if "loss" in one] for run in (resumed, whole))
    assert lines == others
    assert (resumed / weights).read_bytes() == (whole / weights).read_bytes()
