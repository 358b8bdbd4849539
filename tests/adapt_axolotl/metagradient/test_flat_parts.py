"""Flat parts of parameters whose numbers two processes cannot share evenly: DeepSpeed pads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from adapt_axolotl.metagradient.flat_parts import flat, flat_numbers, sum_here, whole_shape
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import as_held, held_here, whole
from tests.support.two_processes import in_two_processes

SHAPES = [(5, 3), (1,), (4,)]
PADDING = 99.0


def partitioned(shape: tuple[int, ...], ranks: Ranks) -> Any:
    """A parameter of 0, 1, 2, ... as DeepSpeed leaves it beside its module's forward."""
    numbers = torch.arange(float(torch.Size(shape).numel()))
    share = -(-len(numbers) // ranks.count)
    padded = torch.cat([numbers, torch.full((share * ranks.count - len(numbers),), PADDING)])
    parameter: Any = torch.nn.Parameter(torch.empty(0))
    parameter.ds_tensor = padded.split(share)[ranks.rank].clone()
    parameter.ds_shape, parameter.ds_numel = torch.Size(shape), len(numbers)
    parameter.ds_process_group = torch.distributed.group.WORLD
    return parameter


def hold(ranks: Ranks) -> list[dict[str, torch.Tensor]]:
    found = []
    for shape in SHAPES:
        parameter = partitioned(shape, ranks)
        gradient = torch.arange(float(parameter.ds_numel)).view(shape) * (1 + 10 * ranks.rank)
        summed = flat(parameter, sum_here(parameter, gradient))
        before = whole(as_held(parameter), torch.device("cpu"), whole_shape(parameter))
        held_here(parameter).add_(held_here(summed))
        found.append(
            {
                "whole": before,
                "summed": whole(summed, torch.device("cpu"), whole_shape(parameter)),
                "moved": whole(as_held(parameter), torch.device("cpu"), whole_shape(parameter)),
                "padding": parameter.ds_tensor[len(flat_numbers(parameter)) :],
            }
        )
    return found


@pytest.mark.slow
def test_parts_add_up_to_the_parameter_and_padding_is_left_alone(tmp_path: Path) -> None:
    on_two = in_two_processes(hold, tmp_path)
    for shape, *both in zip(SHAPES, *on_two, strict=True):
        numbers = torch.arange(float(torch.Size(shape).numel())).view(shape)
        for found in both:
            assert torch.equal(found["whole"], numbers)
            assert torch.equal(found["summed"], 12 * numbers)
            assert torch.equal(found["moved"], 13 * numbers)
            assert (found["padding"] == PADDING).all()
        padding = sum(len(found["padding"]) for found in both)
        assert padding == numbers.numel() % 2
