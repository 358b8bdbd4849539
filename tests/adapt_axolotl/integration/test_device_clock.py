"""What is timed on a GPU is not charged for what was queued before it."""

from __future__ import annotations

import time

import pytest
import torch

from adapt_axolotl.integration.device_clock import now


def test_the_clock_is_read_when_the_device_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append(time.perf_counter()))
    assert now() >= done[0]
    assert now() >= done[1] > done[0]


def test_a_gpu_that_nothing_uses_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: pytest.fail("started CUDA"))
    assert now() < now()
