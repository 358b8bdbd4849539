"""How Axolotl lays out an optimizer step, and where each row lies in a collated batch.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.sampling.batches import BlockShape, MicroBatch, rows_of


def block_shape(spec: TrainingSpec, processes: int) -> BlockShape:
    """An optimizer step, packed the way the attention kernel needs."""
    micro_batches = spec.gradient_accumulation_steps * processes
    rows = spec.micro_batch_size
    if not spec.sample_packing:
        return BlockShape(micro_batches, rows)
    if spec.packs_into_one:
        return BlockShape(micro_batches, 1, bin_tokens=rows * spec.sequence_len)
    return BlockShape(micro_batches, rows, bin_tokens=spec.sequence_len)


def launched_processes() -> int:
    """How many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_processes(launched: int, training_together: int) -> None:
    """Every launched process must be a rank of one run.

    Raises:
        ValueError: the launcher's processes do not train together.
    """
    if launched != training_together:
        raise ValueError(
            f"the launcher started {launched} processes but this one trains with "
            f"{training_together}: they would be independent runs into one output_dir; on CPU set "
            "ACCELERATE_USE_CPU=1 and ACCELERATE_TORCH_DEVICE=cpu, on GPU check that every "
            "process sees its device"
        )


def check_tokens(pools: TaskPools, rows: list[int], labels: Tensor) -> None:
    """The batch holds the tokens that the ledger reserved for its rows.

    Raises:
        ValueError: it holds others.
    """
    reserved = int(pools.supervised_tokens[rows].sum())
    found = int((labels != -100).sum())
    if reserved != found:
        raise ValueError(
            f"a batch holds {found} supervised tokens where the budget booked {reserved}; the "
            "collator or another plugin changes the labels: turn it off, or remove the adapt "
            "plugin"
        )


def row_of_token(
    pools: TaskPools, micro_batch: MicroBatch, labels: Tensor, *, padded_left: bool
) -> Tensor:
    """(B, T) the row, counted within the micro-batch, that each token belongs to; -1 beside rows.

    Raises:
        ValueError: the batch does not hold its rows where they were drawn to.
    """
    places = torch.full_like(labels, -1)
    number = 0
    for sequence, entry in enumerate(micro_batch):
        if not isinstance(entry, list):  # padded on either side: the whole sequence is the row's
            places[sequence] = sequence
            continue
        start = labels.shape[1] - int(pools.lengths[entry].sum()) if padded_left else 0
        for row in entry:
            places[sequence, start : start + int(pools.lengths[row])] = number
            start += int(pools.lengths[row])
            number += 1
    _check_places(pools.supervised_tokens[rows_of(micro_batch)], places, labels)
    return places


def _check_places(tokens: np.ndarray, places: Tensor, labels: Tensor) -> None:
    """Rows lie where they are looked for; elsewhere, scores would be those of other tasks.
    tokens: (R,) supervised tokens of each row."""
    inside = places[(labels != -100) & (places >= 0)]
    if torch.bincount(inside, minlength=len(tokens)).tolist() != tokens.tolist():
        raise ValueError(
            "a batch does not hold its rows where they were drawn to; the collator or another "
            "plugin moves them: turn it off, or set adapt.learned.measure: loss_falls"
        )
