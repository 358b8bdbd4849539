"""Task scores read off the training backward: one extra matmul a layer, no rows of its own.

Every module that owns trained parameters gets its output wrapped in an identity that keeps the
module's input. When the backward reaches it with the gradient b of the output, the share of each
token in <v, gradient> is

    b . (f(x; G) - f(x; 0))

where f is the module as a function of its own parameters, in which it must be affine, and G their
part of v: x G^T for a linear layer, G[token] for an embedding, the scaled input for a norm (ours;
`backward_rules.py` has one rule for each kind of module).

Of sharded parameters (FSDP2) v stays sharded as they are: a module's part is made whole inside the
module's own backward, by one all-gather, and let go at once.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.backward_rules import Rule, Shares, per_token, rule_of
from adapt_axolotl.metagradient.estimator import Estimator
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import (
    gradients_of,
    is_sharded,
    reshard,
    whole,
    whole_where_small,
)
from adapt_axolotl.metagradient.task_batch import TaskBatch


class BypassedModule(ValueError):
    """A module took part in the model but its hook did not run in the backward: a fused kernel goes
    around it, and its share of the scores is missing."""


class InBackward:
    """Hooks that read the backwards of a model; see the module docstring.

    Not covered: modules that are not affine in their parameters (DoRA magnitudes), parameters used
    outside their module's forward (LoRA on embeddings), experts that see no token. `uncovered`
    names the first two kinds, `BypassedModule` tells of any other.

    Args:
        model: the trained module; hooks are installed on its parts until `remove`.
        parameters: the trained parameters.
        v: the direction, a tensor for each parameter. Where it is sharded, all processes construct
            and run the same backwards together.
    """

    def __init__(
        self, model: nn.Module, parameters: Sequence[nn.Parameter], v: Sequence[Tensor]
    ) -> None:
        reshard(model)  # or modules own whole parameters that a forward has left, and not these
        held = whole_where_small(v, model)
        part_of = {id(p): part for p, part in zip(parameters, held, strict=True)}
        self._owners = _owners(model, parameters)
        self._handles: list[Any] = []
        self._shares_of: dict[str, Callable[[torch.device], Shares]] = {}
        self._row_of_token: Tensor | None = None
        self._shares: Tensor | None = None
        self._read: set[str] = set()
        self._unplaced: set[str] = set()
        for name, module in self._owners.items():
            parts = {
                own: part_of[id(parameter)]
                for own, parameter in module.named_parameters(recurse=False)
                if id(parameter) in part_of
            }
            rule = rule_of(module)
            assert rule is not None, f"{name} is uncovered"
            self._shares_of[name] = _shares_by(rule, module, parts)
            self._handles.append(module.register_forward_hook(self._forward_hook(name)))

    @staticmethod
    def uncovered(model: nn.Module, parameters: Sequence[nn.Parameter]) -> list[str]:
        """Names of modules whose trained parameters have no rule; empty if all are covered."""
        owners = _owners(model, parameters).items()
        return [name for name, module in owners if rule_of(module) is None]

    def begin(self, row_of_token: Tensor) -> None:
        """Before the forward of a micro-batch. row_of_token: (B, T), -1 beside rows."""
        self._row_of_token = row_of_token
        self._shares = None
        self._read = set()
        self._unplaced = set()

    def collect(self, loss_weight: float, num_rows: int) -> Tensor:
        """After the backward of a micro-batch.

        Args:
            loss_weight: d(what was differentiated) / d(one token's loss).
            num_rows: R.

        Returns:
            (R,) float64 <v, gradient of the sum of the row's token losses>.

        Raises:
            BypassedModule: the backward did not reach the hook of a module.
        """
        missing = [name for name in self._owners if name not in self._read]
        if missing:
            raise BypassedModule(
                f"the backward went around {len(missing)} of {len(self._owners)} modules, such as "
                f"{missing[0]}"
            )
        if self._unplaced:
            raise BypassedModule(
                f"the input of {sorted(self._unplaced)[0]} has no axis of tokens, so its share "
                "belongs to no row"
            )
        assert self._row_of_token is not None
        assert self._shares is not None
        inside = self._row_of_token >= 0
        sums = torch.zeros(num_rows, dtype=torch.float64, device=self._shares.device)
        sums.index_add_(0, self._row_of_token[inside], self._shares[inside].double())
        return sums / loss_weight

    def remove(self) -> None:
        """Remove the hooks and let go of v."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._shares_of = [], {}
        self._row_of_token = self._shares = None

    def _forward_hook(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            # Under reentrant checkpointing the first forward has no graph; its recomputation does.
            # A module that is called by keyword is not read, and collect() says so.
            if not torch.is_grad_enabled() or not output.requires_grad or not args:
                return None
            return _ReadGradient.apply(output, args[0], self, name)

        return hook

    def add_shares(self, name: str, inputs: Tensor, gradient: Tensor) -> None:
        """Add a module's shares. inputs: what it was given; gradient: of its output."""
        assert self._row_of_token is not None, "begin() comes before the forward"
        with torch.no_grad():
            shares = self._shares_of[name](gradient.device)(inputs, gradient)
            placed = per_token(shares, inputs, self._row_of_token)
        self._read.add(name)
        if placed is None:
            self._unplaced.add(name)
        else:
            self._shares = placed if self._shares is None else self._shares + placed


def _shares_by(
    rule: Rule, module: nn.Module, parts: dict[str, Tensor]
) -> Callable[[torch.device], Shares]:
    """How to tell a module's shares on a device: made once, or each time of parts that are gathered
    for it."""
    if not is_sharded(list(parts.values())):
        shares = rule(module, parts)
        return lambda device: shares
    return lambda device: rule(module, {own: whole(part, device) for own, part in parts.items()})


class _ReadGradient(torch.autograd.Function):
    """The identity; its backward hands input and gradient to the reader."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, inputs: Tensor, reader: InBackward, name: str) -> Tensor:
        # save_for_backward, not an attribute: checkpointing then recomputes it like any other.
        ctx.save_for_backward(inputs)
        ctx.reader, ctx.name = reader, name
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inputs,) = ctx.saved_tensors
        ctx.reader.add_shares(ctx.name, inputs, gradients[0])
        return gradients[0], None, None, None


def _owners(model: nn.Module, parameters: Sequence[nn.Parameter]) -> dict[str, nn.Module]:
    """The modules that own trained parameters directly; a tied one has several owners."""
    trained = {id(parameter) for parameter in parameters}
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if any(id(parameter) in trained for parameter in module.parameters(recurse=False))
    }


def in_backward_scores(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    half_precision: bool = False,
    reduce: Reduce = single_process,
) -> TaskScores:
    """Scores read off backwards of these batches, which are not the training step's: how the
    estimator is checked. Precision is the model's own; `half_precision` changes nothing.

    Raises:
        BypassedModule: the backward did not reach the hook of a module.
    """
    reader = InBackward(model, parameters, v)
    products = []
    try:
        for batch in batches:
            reader.begin(batch.row_of_token)
            # As in training: the shares of the head are read at every position.
            sums, _ = row_losses(model, batch, whole_logits=True)
            gradients_of(sums.sum(), parameters)
            products.append(reader.collect(1.0, len(batch.task_of_row)))
    finally:
        reader.remove()
    tokens = torch.cat([batch.tokens_of_rows() for batch in batches])
    tasks = torch.cat([batch.task_of_row for batch in batches])
    return scores_from_rows(torch.cat(products), tokens, tasks, num_tasks, reduce)


IN_BACKWARD = Estimator(
    name="in_backward",
    own_rows=False,
    cost=0.35,
    tolerance=1e-3,
    half_precision_tolerance=5e-2,
    scores=in_backward_scores,
)
