"""Random streams that come back: what measures for the mixture draws nothing of training's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch
from torch import Tensor


def random_streams_kept(tensors: Iterable[Tensor]) -> contextlib.AbstractContextManager[None]:
    """Within it, the CPU and the devices of these tensors draw from copies of their streams.

    The current GPU is among them where there is one in use: parameters that are offloaded lie on
    the CPU. Without a list of devices torch takes all that the process can see, and warns of it.
    """
    devices = {one.device for one in tensors if one.device.type not in ("cpu", "meta")}
    if torch.cuda.is_initialized():
        devices.add(torch.device("cuda", torch.cuda.current_device()))
    kinds = {device.type for device in devices} or {"cuda"}
    assert len(kinds) == 1, f"one model on {kinds}"
    return torch.random.fork_rng(devices, device_type=kinds.pop())
