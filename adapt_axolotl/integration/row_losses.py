"""The losses of the rows that a training forward has just seen, whether it gave logits or not.

A fused loss (Liger's, cut cross-entropy) takes the head's weight and never makes the logits of all
positions; Liger's cross-entropy alone writes over them. What the head sees is there all the same,
and the head is applied to it at supervised positions only, in chunks. That is done within the
model's own forward, because a head that FSDP2 shards is whole nowhere else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.fused_head import decoder_states
from adapt_axolotl.metagradient.losses import row_losses_of
from adapt_axolotl.metagradient.sharded import has_shards
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
    """Takes them, forward by forward: `before` it and `take` after it.

    Args:
        model: the trained module, not wrapped. The losses are made of what its decoder gives from
            here on, until the first forward shows that its loss leaves them logits.
        asked_by: the key that asks for them, and the remedy where they cannot be had.
    """

    def __init__(self, model: nn.Module, asked_by: tuple[str, str] = BY_MEASURE) -> None:
        self._model = model
        self._asked_by = asked_by
        self._checked = False
        self._logits_lost: bool | None = None
        self._batch: TaskBatch | None = None
        self._of_states: tuple[Tensor, Tensor] | None = None
        decoder = getattr(model, "get_decoder", lambda: None)()
        self._handle: Any = None
        if isinstance(decoder, nn.Module):
            self._handle = decoder.register_forward_hook(self._make)

    def before(self, batch: TaskBatch) -> None:
        """Of the forward that follows: its rows."""
        self._batch, self._of_states = batch, None

    def take(self, outputs: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """As `row_losses` gives them.

        Args:
            outputs: of the forward.
            inputs: of the forward.

        Raises:
            ValueError: the forward gives nothing that they could be taken from.
        """
        assert self._batch is not None, "before() comes before the forward"
        batch, self._batch = self._batch, None
        found, self._of_states = self._of_states, None
        logits = outputs.get("logits") if isinstance(outputs, dict) else None
        if logits is not None and not self._written_over(logits):
            return row_losses_of(logits, batch)
        if found is None:
            raise self._without_logits()
        if not self._checked:
            self._check(inputs)
        return found

    def _written_over(self, logits: Tensor) -> bool:
        """Whether the loss has put its gradient where the logits were, as Liger's cross-entropy
        does with those of 32 bits: nothing is predicted from the last position, so it is all 0
        there. Told by the first forward."""
        if self._logits_lost is None:
            self._logits_lost = not bool(logits[0, -1].any())
            if not self._logits_lost and self._handle is not None:
                self._handle.remove()  # what it would make is not asked for any more
            if self._logits_lost:
                LOG.info(
                    "the loss writes over its logits, so the losses of rows are taken from what "
                    "the head sees"
                )
        return self._logits_lost

    def _head(self) -> Any:
        """The head; None where it is not whole here."""
        head = getattr(self._model, "get_output_embeddings", lambda: None)()
        weight = getattr(head, "weight", None)
        whole = isinstance(weight, Tensor) and weight.ndim == 2 and not hasattr(weight, "ds_id")
        # What FSDP2 wraps by itself gathers at each call, and processes have chunks of their own.
        if head is None or not whole or isinstance(weight, DTensor) or has_shards(head):
            return None
        return head

    def _check(self, inputs: dict[str, Any]) -> None:
        """Whether the head alone makes the model's logits, by the last token of one sequence."""
        first = {
            name: value[:1]
            for name, value in inputs.items()
            if isinstance(value, Tensor) and value.ndim == 2 and name != "labels"
        }
        ours: list[Tensor] = []
        head = self._model.get_output_embeddings()  # type: ignore[operator]

        def last(states: Tensor) -> Tensor:
            ours.append(head.forward(states[:, -1:].to(head.weight.dtype)))
            return states[:, -1:]

        with torch.no_grad(), evaluation_mode(self._model), head_sees(head, last):
            logits = self._model(**first).logits
        if not torch.allclose(ours[0].float(), logits.float(), rtol=TOLERANCE, atol=TOLERANCE):
            raise self._without_logits()
        self._checked = True
        if not self._logits_lost:
            LOG.info(
                "a fused loss gives no logits, so the losses of rows are taken from "
                "what the head would see"
            )

    @torch.compiler.disable  # how many tokens are supervised changes from batch to batch
    def _make(self, module: nn.Module, args: Any, output: Any) -> None:
        """The losses, of what the decoder gives."""
        if not module.training or self._batch is None:
            return
        states = decoder_states(output)
        head = self._head()
        if head is None or states is None or states.shape[:2] != self._batch.labels.shape:
            return
        if states.shape[-1] == head.weight.shape[-1]:
            self._of_states = row_losses_of(states.detach(), self._batch, head)

    def _without_logits(self) -> ValueError:
        key, remedy = self._asked_by
        return ValueError(
            f"{key} needs the logits of the training forward; this model's fused loss gives none, "
            "and its head alone does not make them, or is not whole in the forward (ZeRO-3, or a "
            f"head that FSDP2 wraps by itself); {remedy}, or switch the fused loss off"
        )
