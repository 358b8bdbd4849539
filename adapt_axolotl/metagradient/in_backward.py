"""Task scores read off the training backward: one extra matmul a layer, no rows of its own.

Every module that owns trained parameters gets its output wrapped in an identity that keeps the
module's input. When the backward reaches it with the gradient b of the output, the share of each
token in <v, gradient> is

    b . (f(x; G) - f(x; 0))

where f is the module as a function of its own parameters, in which it must be affine, and G their
part of v: x G^T for a linear layer, G[token] for an embedding, the scaled input for a norm (ours;
`backward_rules.py` has one rule for each kind of module). What acts on each token by itself and is
not affine is differentiated again, row by row (`by_rows.py`).

Of sharded parameters (FSDP2, ZeRO-3) v stays sharded as they are: a module's part is made whole
inside the module's own backward, by one all-gather, and let go at once. Every process holds whole
what is small: norms and biases, and all of v where at most 5 % of the model is trained, as with
LoRA.

Dimensions: B sequences, T tokens, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adapt_axolotl.metagradient.backward_rules import Rule, Shares, per_token, rule_of
from adapt_axolotl.metagradient.by_rows import Call, acts_on_rows, differentiable, shares_of_rows
from adapt_axolotl.metagradient.estimator import Estimator, Unreadable
from adapt_axolotl.metagradient.flat_parts import whole_shape
from adapt_axolotl.metagradient.fused_head import changes_logits_otherwise, fused_head
from adapt_axolotl.metagradient.gradients import gradients_of
from adapt_axolotl.metagradient.left_out import left_out
from adapt_axolotl.metagradient.losses import weighted_loss
from adapt_axolotl.metagradient.owners import own_parameters, owners_of
from adapt_axolotl.metagradient.ranks import Reduce, single_process
from adapt_axolotl.metagradient.router_loss import has_router_loss, summed_loss, with_padding
from adapt_axolotl.metagradient.rows_apart import rows_apart
from adapt_axolotl.metagradient.scores import TaskScores, scores_from_rows
from adapt_axolotl.metagradient.sharded import (
    are_zero,
    is_sharded,
    reshard,
    whole,
    whole_where_small,
)
from adapt_axolotl.metagradient.supervised_head import head_of
from adapt_axolotl.metagradient.task_batch import TaskBatch

Gather = Callable[[torch.device], dict[str, Tensor]]
"""Gives a module's parts of v, whole on a device, by the names of its parameters."""


class BypassedModule(Unreadable):
    """A module took part in the model but its hook did not run in the backward: a fused kernel goes
    around it, and its share of the scores is missing."""


class InBackward:
    """Hooks that read the backwards of a model; see the module docstring.

    Not covered: modules that are not affine in their parameters (DoRA magnitudes), parameters used
    outside their module's forward (LoRA on embeddings). v is taken to be 0 on those without a rule
    where they are few (`left_out.py`). `BypassedModule` tells of any other: a module whose
    parameters get a gradient that did not come through its hook.

    Under sharded parameters every module that has a sharded part of v must run on all processes
    alike, because its backward gathers the part from all of them. Modules that some processes call
    and others do not (experts in a ModuleList, of which a process calls those that its tokens
    chose) would wait for each other, and nothing here notices.

    Args:
        model: the trained module; hooks are installed on its parts until `remove`.
        parameters: the trained parameters.
        v: the direction, a tensor for each parameter. Where it is sharded, all processes construct
            and run the same backwards together.
        fused_loss: the training loss goes around the head. Its share is then computed from what the
            head would see, which is right where it is called too.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Sequence[nn.Parameter],
        v: Sequence[Tensor],
        *,
        fused_loss: bool = False,
    ) -> None:
        reshard(model)  # or modules own whole parameters that a forward has left, and not these
        held = whole_where_small(v, parameters, model)
        # Where v is 0 there is no share, whatever the backward does: an image tower, which text
        # does not reach. Under FSDP2 nothing else tells that a module took no part.
        without = left_out(model, parameters).parameters
        rest = [
            (parameter, part)
            for parameter, part, nothing, out in zip(
                parameters, held, are_zero(v), without, strict=True
            )
            if not nothing and not out
        ]
        part_of = {id(parameter): part for parameter, part in rest}
        self._model = model
        self._router_loss = has_router_loss(model)
        self._owners = owners_of(model, [parameter for parameter, _ in rest])
        self._parts_of: dict[str, Gather] = {}
        self._differentiating = False
        self._head = None
        self._handles: list[Any] = []
        self._shares_of: dict[str, Callable[[torch.device], Shares]] = {}
        self._row_of_token: Tensor | None = None
        self._labels: Tensor | None = None
        self._shares: Tensor | None = None
        self._read: set[str] = set()
        self._with_gradient: set[str] = set()
        self._unplaced: set[str] = set()
        for name, module in self._owners.items():
            own = {
                key: parameter
                for key, parameter in own_parameters(module)
                if id(parameter) in part_of
            }
            rule = rule_of(module)
            gather = partial(_gathered, own, part_of)
            if rule is not None:
                sharded = is_sharded([part_of[id(parameter)] for parameter in own.values()])
                self._shares_of[name] = _shares_by(rule, module, gather, sharded)
            elif acts_on_rows(module):
                self._parts_of[name] = gather
        # Hooks come last, so that none is left behind where a rule fails.
        found = fused_head(model, self._owners, part_of) if fused_loss else None
        if found is not None:
            name, self._head = found
            del self._owners[name], self._shares_of[name]
        for name, module in self._owners.items():
            if name in self._parts_of or name in self._shares_of:
                hook = self._call_hook if name in self._parts_of else self._forward_hook
                # Before a hook that keeps the outputs of routers for their loss.
                self._handles.append(
                    module.register_forward_hook(hook(name), with_kwargs=True, prepend=True)
                )
            for _, parameter in own_parameters(module):
                # On a DTensor no hook fires, so every module of these must be read.
                if id(parameter) in part_of and not isinstance(parameter, DTensor):
                    self._handles.append(parameter.register_hook(self._gradient_hook(name)))

    @property
    def computes_the_head(self) -> bool:
        """Whether the share of the head is computed and not read."""
        return self._head is not None

    @property
    def reads_the_head(self) -> bool:
        """Whether hooks are on the head or its adapters, which must then see every position."""
        head = head_of(self._model)
        inside = set() if head is None else set(head.modules())
        return not inside.isdisjoint(self._owners.values())

    def begin(self, row_of_token: Tensor, labels: Tensor) -> None:
        """Before the forward of a micro-batch.

        Args:
            row_of_token: (B, T), -1 beside rows.
            labels: (B, T); read only where the loss is fused.
        """
        # Padding has no token loss, but the router's may count it.
        self._row_of_token = with_padding(row_of_token) if self._router_loss else row_of_token
        self._labels = labels
        if self._head is not None:
            self._head.begin()
        self._shares = None
        self._read = set()
        self._with_gradient = set()
        self._unplaced = set()

    def collect(self, loss_weight: float, num_rows: int) -> Tensor:
        """After the backward of a micro-batch. Where v is sharded, all processes.

        Args:
            loss_weight: d(what was differentiated) / d(one token's loss).
            num_rows: R.

        Returns:
            (R,) float64 <v, gradient of the sum of the row's token losses>.

        Raises:
            BypassedModule: the backward did not reach the hook of a module.
        """
        of_head = self._products_of_head(num_rows)  # first: all processes take part in it
        missing = [name for name in self._owners if name not in self._read]
        if self._with_gradient & self._read:
            # What got no gradient took no part: an image tower on text, an expert without a token.
            missing = [name for name in missing if name in self._with_gradient]
        if missing:
            raise BypassedModule(
                f"the backward went around {len(missing)} of {len(self._owners)} modules, such as "
                f"{missing[0]}"
            )
        if self._unplaced:
            raise BypassedModule(
                f"the share of {sorted(self._unplaced)[0]} belongs to no row: its input has no "
                "axis of tokens, its weights are not whole, or there is no memory to tell"
            )
        assert self._row_of_token is not None
        sums = torch.zeros(num_rows, dtype=torch.float64, device=self._row_of_token.device)
        if self._shares is not None:
            inside = self._row_of_token >= 0
            sums.index_add_(0, self._row_of_token[inside], self._shares[inside].double())
        return sums / loss_weight + of_head

    def _products_of_head(self, num_rows: int) -> Tensor | float:
        if self._head is None:
            return 0.0
        assert self._labels is not None
        assert self._row_of_token is not None
        products = self._head.products(self._labels, self._row_of_token, num_rows)
        if products is None:
            raise BypassedModule(
                "the fused loss goes around the head, and what the head would see, or its weight, "
                "is not to be had"
            )
        return products

    def remove(self) -> None:
        """Remove the hooks and let go of v."""
        for handle in self._handles:
            handle.remove()
        if self._head is not None:
            self._head.remove()
        self._handles, self._shares_of, self._parts_of = [], {}, {}
        self._row_of_token = self._labels = self._shares = None

    def _gradient_hook(self, name: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            self._with_gradient.add(name)

        return hook

    def _forward_hook(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any) -> Any:
            # Under reentrant checkpointing the first forward has no graph; its recomputation does.
            # A module that is called by keyword is not read, and collect() says so.
            reads = torch.is_grad_enabled() and not self._differentiating
            if not reads or not output.requires_grad or not args:
                return None
            inputs, places = args[0], self._row_of_token
            assert places is not None, "begin() comes before the forward"
            if isinstance(module, nn.Embedding) and inputs.shape == (1, places.shape[1]):
                # Positions looked up once for all sequences get the sum of their gradients.
                inputs, output = inputs.expand(places.shape), output.expand(*places.shape, -1)
            return _ReadGradient.apply(output, inputs, self, name)

        return hook

    def _call_hook(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Any, output: Any) -> Any:
            given = differentiable(output)
            if not torch.is_grad_enabled() or self._differentiating or not given:
                return None
            call = Call(args, kwargs)
            read = iter(_ReadCall.apply(self, name, call, len(given), *given, *call.tensors))
            if not isinstance(output, tuple | list):
                return next(read)
            known = {id(one) for one in given}
            every = (next(read) if id(one) in known else one for one in output)
            # A named tuple takes its fields one by one.
            return getattr(type(output), "_make", type(output))(every)

        return hook

    def add_call(
        self, name: str, call: Call, inputs: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> None:
        """Add the shares of a module that is differentiated again."""
        assert self._row_of_token is not None, "begin() comes before the forward"
        device = gradients[0].device
        # All processes gather, whatever becomes of the rows of one.
        parts = self._parts_of[name](device)
        self._differentiating = True  # the hooks of modules inside are not to read it
        try:
            shares = shares_of_rows(
                self._owners[name],
                parts,
                call,
                inputs,
                gradients,
                self._row_of_token,
            )
        except RuntimeError:
            shares = None  # out of memory, say: the training step itself goes on
        finally:
            self._differentiating = False
        self._place(name, shares)

    def add_shares(self, name: str, inputs: Tensor, gradient: Tensor) -> None:
        """Add a module's shares. inputs: what it was given; gradient: of its output."""
        assert self._row_of_token is not None, "begin() comes before the forward"
        with torch.no_grad():
            shares = self._shares_of[name](gradient.device)(inputs, gradient)
            placed = per_token(shares, inputs, self._row_of_token)
        self._place(name, placed)

    def _place(self, name: str, placed: Tensor | None) -> None:
        self._read.add(name)
        if placed is None:
            self._unplaced.add(name)
        else:
            self._shares = placed if self._shares is None else self._shares + placed


def _gathered(
    own: dict[str, nn.Parameter], part_of: dict[int, Tensor], device: torch.device
) -> dict[str, Tensor]:
    """The parts of v of a module's parameters, whole and in their shapes, by name."""
    return {
        name: whole(part_of[id(parameter)], device, whole_shape(parameter))
        for name, parameter in own.items()
    }


def _shares_by(
    rule: Rule, module: nn.Module, gather: Gather, sharded: bool
) -> Callable[[torch.device], Shares]:
    """How to tell a module's shares on a device: made once, or each time of parts that are gathered
    for it."""
    if sharded:
        return lambda device: rule(module, gather(device))
    shares = rule(module, gather(torch.device("cpu")))  # whole where they are already
    return lambda device: shares


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


class _ReadCall(torch.autograd.Function):
    """The identity of some outputs of a module; its backward hands its call and their gradients to
    the reader."""

    @staticmethod
    def forward(
        ctx: Any, reader: InBackward, name: str, call: Call, count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*tensors[count:])
        ctx.reader, ctx.name, ctx.call = reader, name, call
        call.tensors = []  # kept as any other is
        # No views: some models add to the output of such a module in place.
        return tuple(one.clone() for one in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        ctx.reader.add_call(ctx.name, ctx.call, inputs, gradients)
        return (None, None, None, None, *gradients, *(None for _ in inputs))


def in_backward_scores(
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    batches: Sequence[TaskBatch],
    v: Sequence[Tensor],
    num_tasks: int,
    *,
    half_precision: bool = False,
    fused_loss: bool = False,
    reduce: Reduce = single_process,
) -> TaskScores:
    """Scores read off backwards of these batches, which are not the training step's: how the
    estimator is checked. With a router's loss, of the rows of each task alone, as that loss is not
    the sum of theirs. Precision is the model's own; `half_precision` changes nothing.

    Raises:
        BypassedModule: the backward did not reach the hook of a module, or the share of a head that
            the training loss goes around cannot be computed.
    """
    if has_router_loss(model):
        batches = [rows_apart(one, one.task_of_row == k) for one in batches for k in one.tasks()]
    reader = InBackward(model, parameters, v, fused_loss=fused_loss)
    products = []
    try:
        if reader.computes_the_head and changes_logits_otherwise(model, batches[0]):
            raise BypassedModule(
                "the fused loss goes around the head, whose logits the model changes in a way that "
                "is not known here"
            )
        for batch in batches:
            reader.begin(batch.row_of_token, batch.labels)
            if has_router_loss(model):
                total = summed_loss(model, batch)
            else:
                # The logits of every position only where training has them too.
                ones = torch.ones_like(batch.task_of_row)
                total, _ = weighted_loss(model, batch, ones, whole_logits=reader.reads_the_head)
            gradients_of(total, parameters)
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
    leaves_out=left_out,
)
