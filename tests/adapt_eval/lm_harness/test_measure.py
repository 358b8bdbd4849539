"""What is refused between preparing a benchmark and asking the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapt_eval.lm_harness.measure import check_room
from adapt_eval.lm_harness.tasks import Tasks
from adapt_eval.suite import load_suite


def test_answers_that_leave_no_room_for_the_prompt() -> None:
    (benchmark,) = load_suite("tiny").select(only=["tiny_programs"]).benchmarks
    leaves = Tasks([benchmark], []).prepare(benchmark, chat=False).leaves
    model: Any = SimpleNamespace(max_length=8, max_gen_toks=256)
    with pytest.raises(ValueError, match=r"whole context is 8; .* --skip tiny_programs"):
        check_room(benchmark, leaves, model)
