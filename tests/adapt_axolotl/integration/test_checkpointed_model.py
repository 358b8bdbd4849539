"""What a checkpoint tells of the steps that led to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapt_axolotl.integration.checkpointed_model import kept_by_clipping


def test_clipping_keeps_the_share_that_its_norm_leaves(tmp_path: Path) -> None:
    lines = [{"step": step, "grad_norm": norm} for step, norm in ((2, 9.0), (6, 2.0), (8, 0.5))]
    state = {"global_step": 10, "log_history": [*lines, {"step": 10, "loss": 1.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert kept_by_clipping(tmp_path, 1.0) == pytest.approx((0.5 + 1.0) / 2)
    assert kept_by_clipping(tmp_path, 0.0) == 1.0
