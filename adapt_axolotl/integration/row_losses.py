"""The losses of the rows that a training forward has just seen, whether it gave logits or not.

A fused loss (Liger's, cut cross-entropy) takes the head's weight and never makes the logits of all
positions; Liger's cross-entropy alone writes over them. What the head sees is there all the same,
and the head is applied to it at supervised positions only, in chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.losses import row_losses_of
from adapt_axolotl.metagradient.supervised_head import head_sees
from adapt_axolotl.metagradient.task_batch import TaskBatch

LOG = get_logger("axolotl.adapt")

# What asks for the losses, and what to do where they cannot be had.
BY_MEASURE = ("adapt.learned.measure: training_losses", "set measure: loss_falls")
BY_LOGS = ("adapt.log_task_losses", "remove it")
BY_ROWS = ("adapt.rows: learned", "remove it")

# Of the logits by the head alone to the model's own, which may be of 16 bits.
TOLERANCE = 1e-2


class RowLosses:
    """Takes them, forward by forward.

    Args:
        model: the trained module, not wrapped. What its decoder gives is kept from here on, because
            whether the loss is a fused one shows in the first forward only.
        asked_by: the key that asks for them, and the remedy where they cannot be had.
    """

    def __init__(self, model: nn.Module, asked_by: tuple[str, str] = BY_MEASURE) -> None:
        self._model = model
        self._asked_by = asked_by
        self._checked = False
        self._logits_lost: bool | None = None
        self._states: Tensor | None = None
        decoder = getattr(model, "get_decoder", lambda: None)()
        if isinstance(decoder, nn.Module):
            decoder.register_forward_hook(self._keep)

    def take(self, outputs: Any, inputs: dict[str, Any], batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """As `row_losses` gives them.

        Args:
            outputs: of the forward.
            inputs: of the forward.
            batch: its rows.

        Raises:
            ValueError: the forward gives nothing that they could be taken from.
        """
        states, self._states = self._states, None
        logits = outputs.get("logits") if isinstance(outputs, dict) else None
        if logits is not None and not self._written_over(logits):
            return row_losses_of(logits, batch)
        if states is None or states.shape[:2] != batch.labels.shape:
            raise self._without_logits()
        if not self._checked:
            self._check(inputs)
        return row_losses_of(states, batch, self._head())

    def _written_over(self, logits: Tensor) -> bool:
        """Whether the loss has put its gradient where the logits were, as Liger's cross-entropy
        does with those of 32 bits: nothing is predicted from the last position, so it is all 0
        there. Told by the first forward."""
        if self._logits_lost is None:
            self._logits_lost = not bool(logits[0, -1].any())
            if self._logits_lost:
                LOG.info(
                    "the loss writes over its logits, so the losses of rows are taken from what "
                    "the head sees"
                )
        return self._logits_lost

    def _head(self) -> Any:
        head = getattr(self._model, "get_output_embeddings", lambda: None)()
        weight = getattr(head, "weight", None)
        # Sharded, it is whole within the model's own forward only.
        whole = isinstance(weight, Tensor) and weight.ndim == 2 and not hasattr(weight, "ds_id")
        if not whole or isinstance(weight, DTensor):
            raise self._without_logits()
        return head

    def _check(self, inputs: dict[str, Any]) -> None:
        """Whether the head alone makes the model's logits, by the last token of one sequence."""
        head = self._head()
        first = {
            name: value[:1]
            for name, value in inputs.items()
            if isinstance(value, Tensor) and value.ndim == 2 and name != "labels"
        }
        seen: list[Tensor] = []

        def last(states: Tensor) -> Tensor:
            seen.append(states[:, -1:])
            return seen[0]

        with torch.no_grad(), evaluation_mode(self._model), head_sees(head, last):
            logits = self._model(**first).logits
            ours = head.forward(seen[0].to(head.weight.dtype))
        if not torch.allclose(ours.float(), logits.float(), rtol=TOLERANCE, atol=TOLERANCE):
            raise self._without_logits()
        self._checked = True
        if not self._logits_lost:
            LOG.info(
                "a fused loss gives no logits, so the losses of rows are taken from "
                "what the head would see"
            )

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        if not module.training:
            return
        states = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", 0)
        self._states = states.detach() if isinstance(states, Tensor) else None

    def _without_logits(self) -> ValueError:
        key, remedy = self._asked_by
        return ValueError(
            f"{key} needs the logits of the training forward; this model's fused loss gives none, "
            "and its head alone, or a part of it where parameters are sharded, does not make them; "
            f"{remedy}, or switch the fused loss off"
        )
