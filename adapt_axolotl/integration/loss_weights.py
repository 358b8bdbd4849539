"""How much the loss of a token, and that of a part of a micro-batch, counts in what a training step
differentiates, as Trainer and the model normalise it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adapt_axolotl.integration.compat import AxolotlTrainer
from adapt_axolotl.integration.loss_reduction import divides_by_given_count
from adapt_axolotl.integration.zero3 import measured_in_parts
from adapt_axolotl.meta_step.split_reader import Part
from adapt_axolotl.metagradient.random_streams import random_streams_kept
from adapt_axolotl.metagradient.ranks import Ranks


class LossWeights:
    """Of one trainer. `num_items` is what Trainer counts of the step's tokens, or None.

    Args:
        trainer: whose loss it is.
    """

    def __init__(self, trainer: AxolotlTrainer) -> None:
        self._trainer = trainer
        self._divides: bool | None = None  # the loss, by the count of tokens that it is given

    def settle(self, inputs: Any, num_items: Any) -> None:
        """Before a micro-batch that is read: measure once what the loss makes of the count. All
        processes."""
        if self._divides is None and self._is_given_a_count(num_items):
            self._divides = self._measured(inputs, num_items)

    def of_a_token(self, labels: Tensor, part: Part | None, num_items: Any) -> float:
        """d(loss of the micro-batch) / d(loss of one token).

        Args:
            labels: (B, T) of what is trained on: the micro-batch, or a part of it.
            part: which one; None for the whole.
            num_items: see the class.
        """
        trainer = self._trainer
        scale = 1
        if self._is_given_a_count(num_items) and trainer.args.average_tokens_across_devices:
            scale = trainer.accelerator.num_processes  # which Trainer multiplies the loss by
        if self._sums(num_items):
            return scale / float(num_items)
        share = 1.0 if part is None else part.share
        return scale * share / max(1, int((labels[..., 1:] != -100).sum()))

    def of_a_part(self, part: Part, num_items: Any) -> float:
        """What its loss is multiplied by in that of the micro-batch: a sum, or else a mean."""
        if self._sums(num_items):
            return 1.0 if part.rows else 0.0
        return part.share

    def _sums(self, num_items: Any) -> bool:
        """Whether the loss is a sum over tokens, over those of the step."""
        return self._is_given_a_count(num_items) and self._divides is not False

    def _is_given_a_count(self, num_items: Any) -> bool:
        """Whether Trainer gives the model the tokens of the step, which it may ignore."""
        return num_items is not None and bool(self._trainer.model_accepts_loss_kwargs)

    def _measured(self, inputs: Any, num_items: Any) -> bool | None:
        """By two forwards in training mode: a fused loss is another one in evaluation."""
        trainer = self._trainer
        given = trainer._prepare_inputs(inputs)

        def loss_of(times: int) -> Tensor:
            with (
                random_streams_kept(trainer.model.parameters()),
                trainer.compute_loss_context_manager(),
            ):
                loss = AxolotlTrainer.compute_loss(
                    trainer, trainer.model, dict(given), num_items_in_batch=times * num_items
                )
            return torch.as_tensor(loss)

        trainer.model.train()
        counted, trainer.args.include_tkps = trainer.args.include_tkps, False
        try:
            with measured_in_parts(trainer.model_wrapped), torch.no_grad():
                ranks = Ranks(trainer.args.process_index, trainer.args.world_size)
                return divides_by_given_count(loss_of, ranks)
        finally:
            trainer.args.include_tkps = counted
