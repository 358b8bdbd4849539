"""Which part of a run a checkpoint stands for."""

from __future__ import annotations

import pytest

from adapt_axolotl.commands.effects import stretches


def test_each_checkpoint_stands_for_what_is_nearest_to_it() -> None:
    assert stretches([10, 30, 90], 100) == pytest.approx([0.2, 0.4, 0.4])
