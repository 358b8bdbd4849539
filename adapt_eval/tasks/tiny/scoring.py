"""Scores of the tiny suite. Code goes through the same sandbox and filter as HumanEval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from adapt_eval.tasks.code.scoring import pass_at_1_humaneval, run_humaneval

__all__ = ["instruction_kept", "pass_at_1_humaneval", "run_humaneval", "word_f1"]

Document = dict[str, Any]


def word_f1(document: Document, results: Sequence[str]) -> dict[str, float]:
    """Harmonic mean of the shares of words found and words right; `em` is 1 if all are the same."""
    said, wanted = (
        Counter(text.lower().replace(".", "").split()) for text in (results[0], document["answer"])
    )
    common = sum((said & wanted).values())
    total = sum(said.values()) + sum(wanted.values())
    return {"f1": 2 * common / total, "em": float(said == wanted)}


def instruction_kept(document: Document, results: Sequence[str]) -> dict[str, float]:
    """1 if the response keeps the rule of its order. An empty response keeps none."""
    text, rule, value = results[0].strip(), document["rule"], document["value"]
    if not text:
        kept = False
    elif rule == "no_comma":
        kept = "," not in text
    elif rule == "lower":
        kept = text == text.lower()
    elif rule == "contains":
        kept = value in text.lower().split()
    else:
        assert rule == "at_most"
        kept = len(text.split()) <= int(value)
    return {"prompt_level_strict_acc": float(kept)}
