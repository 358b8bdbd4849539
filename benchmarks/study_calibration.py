"""What a loss hides where a model is sure of what is wrong. K tasks, T temperatures."""

from __future__ import annotations

import numpy as np
import torch
from study_data import StudyRows
from torch.nn.functional import cross_entropy

from adapt_axolotl.integration.eval_mode import evaluation_mode

TEMPERATURES = (1.0, 1.25, 1.5, 2.0, 3.0)


@torch.no_grad()
def by_temperature(model: torch.nn.Module, rows: StudyRows) -> tuple[np.ndarray, np.ndarray]:
    """Of each task: (K, T) losses a token at `TEMPERATURES`, (K,) share of tokens that are the
    likeliest."""
    sums = np.zeros((len(rows.pools.tasks), len(TEMPERATURES) + 2))  # losses, right, tokens
    measuring = rows.measuring()
    with evaluation_mode(model):
        for part in measuring.parts(np.arange(len(rows.pools.lengths))):
            batch = measuring.batch(part)
            learned = batch.learned()
            logits = model(**batch.inputs).logits[:, :-1][learned].float()
            labels = batch.labels[:, 1:][learned]
            losses = [cross_entropy(logits / one, labels, reduction="none") for one in TEMPERATURES]
            right = (logits.argmax(-1) == labels).float()
            found = torch.stack([*losses, right, torch.ones_like(right)], dim=1).double().numpy()
            task = batch.task_of_row[batch.row_of_token[:, 1:][learned]]
            np.add.at(sums, task.numpy(), found)
    means = sums[:, :-1] / sums[:, -1:]
    return means[:, :-1], means[:, -1]
