"""Ways in which rows lie in a micro-batch."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.task_batch import TaskBatch
from tests.support.models import packed, padded


def in_two_bins(rows: list[Tensor], tasks: list[int]) -> TaskBatch:
    """Packed into two sequences with padding beside the shorter one."""
    bins = [packed(rows[:4], tasks[:4]), packed(rows[4:], tasks[4:])]
    width = max(one.labels.shape[1] for one in bins)

    def filled(column: Tensor, value: int) -> Tensor:
        return nn.functional.pad(column, (0, width - column.shape[1]), value=value)

    inputs = {
        name: torch.cat([filled(one.inputs[name], 0) for one in bins]) for name in bins[0].inputs
    }
    labels = torch.cat([filled(one.labels, -100) for one in bins])
    rows_of = [bins[0].row_of_token, bins[1].row_of_token + 4]
    return TaskBatch(
        inputs, labels, torch.cat([filled(one, -1) for one in rows_of]), torch.tensor(tasks)
    )


def padded_to_the_end(rows: list[Tensor], tasks: list[int]) -> TaskBatch:
    """As the trainer tells it: the padding is the row's too."""
    batch = padded(rows, tasks)
    places = torch.arange(len(rows))[:, None].expand_as(batch.labels)
    return replace(batch, row_of_token=places)


LAYOUTS = (padded, padded_to_the_end, packed, in_two_bins)
