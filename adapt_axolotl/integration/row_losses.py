"""The losses of the rows that a training forward has just seen, whether it gave logits or not.

A fused loss (Liger's, cut cross-entropy) takes the head's weight and never makes the logits of all
positions. What the head would have seen is there all the same, and the head is applied to it at
supervised positions only, in chunks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.metagradient.losses import row_losses_of
from adapt_axolotl.metagradient.task_batch import TaskBatch

LOG = get_logger("axolotl.adapt")

# Of the logits by the head alone to the model's own, which may be of 16 bits.
TOLERANCE = 1e-2


class RowLosses:
    """Takes them, forward by forward.

    Args:
        model: the trained module, not wrapped.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._fused = False
        self._states: Tensor | None = None

    def take(
        self, outputs: Any, inputs: dict[str, Any], batch: TaskBatch
    ) -> tuple[Tensor, Tensor] | None:
        """As `row_losses` gives them; None for the forward in which a fused loss was first noticed.

        Args:
            outputs: of the forward.
            inputs: of the forward.
            batch: its rows.

        Raises:
            ValueError: the forward gives nothing that they could be taken from.
        """
        logits = outputs.get("logits") if isinstance(outputs, dict) else None
        if logits is not None:
            return row_losses_of(logits, batch)
        if not self._fused:
            self._listen(inputs)
            return None
        states, self._states = self._states, None
        assert states is not None, "a forward went around the decoder"
        return row_losses_of(states, batch, self._head())

    def _head(self) -> Any:
        return self._model.get_output_embeddings()  # type: ignore[operator]

    def _listen(self, inputs: dict[str, Any]) -> None:
        """From the next forward on keep what the decoder gives, if the head alone makes the logits
        of it."""
        find = getattr(self._model, "get_decoder", None)
        decoder = None if find is None else find()
        if decoder is None or isinstance(self._head().weight, DTensor):
            raise ValueError(_WITHOUT_LOGITS)
        decoder.register_forward_hook(self._keep)
        self._fused = True
        first = {
            name: value[:1]
            for name, value in inputs.items()
            if isinstance(value, Tensor) and value.ndim > 1 and name != "labels"
        }
        with torch.no_grad(), evaluation_mode(self._model):
            logits = self._model(**first).logits[:, -1]
            states, self._states = self._states, None
            assert states is not None
            head = self._head()
            ours = head(states[:, -1].to(head.weight.dtype))
        if not torch.allclose(ours.float(), logits.float(), rtol=TOLERANCE, atol=TOLERANCE):
            raise ValueError(_WITHOUT_LOGITS)
        LOG.info(
            "learned mixture: a fused loss gives no logits, so the losses of rows are taken from "
            "what the head would see"
        )

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output.last_hidden_state
        self._states = states.detach()


_WITHOUT_LOGITS = (
    "adapt.learned.measure: training_losses needs the logits of the training forward; this model's "
    "fused loss gives none, and its head alone does not make them; set measure: loss_falls, or "
    "switch the fused loss off"
)
