"""What measures draws nothing of training's random numbers, and touches no other device."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from adapt_axolotl.metagradient.random_streams import random_streams_kept


def test_the_stream_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with random_streams_kept([torch.zeros(1)]):
        assert torch.equal(torch.rand(3), expected)
        torch.rand(5)
    assert torch.equal(torch.rand(3), expected)


def test_only_the_devices_of_the_tensors_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with eight GPUs torch would take all of them."""
    forked: list[tuple[set[Any], str]] = []

    def fork(devices: Any, device_type: str) -> contextlib.AbstractContextManager[None]:
        forked.append((set(devices), device_type))
        return contextlib.nullcontext()

    class On:
        def __init__(self, device: str) -> None:
            self.device = torch.device(device)

    monkeypatch.setattr(torch.random, "fork_rng", fork)
    model: list[Any] = [On("cuda:3"), On("cuda:3"), On("cpu")]
    random_streams_kept(model)
    random_streams_kept([torch.zeros(1)])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    random_streams_kept([torch.zeros(1)])  # offloaded
    only, none, current = {torch.device("cuda:3")}, set[Any](), {torch.device("cuda:2")}
    assert forked == [(only, "cuda"), (none, "cuda"), (current, "cuda")]
