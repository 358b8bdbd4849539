"""The share of a trained head that the training loss goes around.

A fused loss (Liger's, cut cross-entropy) takes the head's weight and never calls the head, so no
hook runs there. What the head would have seen is there all the same, and the gradient of the token
cross-entropy by the logits is known. For a token y predicted from the state h the share in
<v, gradient of its loss> is

    (softmax(z) - 1_y) . dz/du . V h        with u = W h and z what the model makes of u

where V is the head's part of v. It is taken in chunks of tokens, so that no more logits are held at
once than the loss itself would, and as ((softmax(z) . dz/du) V) . h, which needs no second tensor
of their size. Where W or V is sharded (FSDP2), it is taken in chunks of the vocabulary too, and
after the backward, when nothing else needs memory: what was seen so far has a softmax of its own
and is weighed anew with each chunk, so that each part of W and V is sent once and dropped.

Dimensions: B sequences, T tokens, N supervised tokens, R rows, V vocabulary, H features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.head_in_chunks import Room, wide
from adapt_axolotl.metagradient.head_loss import (
    CHUNK,
    exponentials,
    tokens_at_once,
)
from adapt_axolotl.metagradient.logit_change import AS_THEY_ARE, LogitChange, change_of
from adapt_axolotl.metagradient.sharded import rows_in_turn
from adapt_axolotl.metagradient.supervised_head import head_of, head_sees
from adapt_axolotl.metagradient.task_batch import TaskBatch

# Of a head that is sharded, numbers that are whole at once: 64 MiB in bfloat16.
WEIGHTS_AT_ONCE = 2 * CHUNK

# Of the model's logits to ours, which are to differ by rounding only.
TOLERANCE = 1e-2

# Logits in which a change after the head, such as a soft cap at 30, shows.
LARGE = 100.0


class FusedHead:
    """Reads one forward after the other: `begin` before it, `products` after its backward.

    Args:
        decoder: gives the states that the head would see; hooked until `remove`.
        head: owns the weight. Where it is sharded, it is so now.
        parts: its parameters' parts of v, by name; the weight's is among them.
        change: what the model does to each of the head's logits.
    """

    def __init__(
        self,
        decoder: nn.Module,
        head: nn.Linear,
        parts: Mapping[str, Tensor],
        change: LogitChange,
    ) -> None:
        # Kept, because a forward may leave the head with whole parameters in their place.
        self._weights = dict(head.named_parameters())
        self._whole = not any(hasattr(one, "ds_id") for one in head.parameters())
        self._parts = dict(parts)
        self._change = change
        self._states: Tensor | None = None
        self._handle = decoder.register_forward_hook(self._keep)

    def begin(self) -> None:
        """Before a forward."""
        self._states = None

    def products(self, labels: Tensor, row_of_token: Tensor, num_rows: int) -> Tensor | None:
        """(R,) float64: <v's part, gradient of the sum of the row's token losses by the head>; None
        where the states or the weight are not to be had. Of a sharded head, all processes.

        Args:
            labels: (B, T).
            row_of_token: (B, T), -1 beside rows.
            num_rows: R.
        """
        states, self._states = self._states, None
        if states is None or states.shape[:2] != labels.shape or not self._whole:
            return None
        inside = (labels[:, 1:] != -100) & (row_of_token[:, 1:] >= 0)
        sequences, positions = inside.nonzero(as_tuple=True)
        tokens = labels[sequences, positions + 1]
        rows = row_of_token[sequences, positions + 1]
        shares = _Shares(tokens, states.dtype, self._change)
        every = torch.arange(len(tokens), device=states.device)
        both = {**self._weights, **{f"v.{name}": part for name, part in self._parts.items()}}
        # float16 would lose small numbers of v.
        dtype = torch.bfloat16 if states.dtype == torch.bfloat16 else None
        width = max(1, WEIGHTS_AT_ONCE // states.shape[-1])
        for first, some in rows_in_turn(both, width, states.device, dtype):
            for part in every.split(tokens_at_once(len(some["weight"]))):
                shares.add(part, first, states[sequences[part], positions[part]], some)
        sums = torch.zeros(num_rows, dtype=torch.float64, device=states.device)
        return sums.index_add_(0, rows, shares.result().double())

    def remove(self) -> None:
        """Remove the hook and let go of v."""
        self._handle.remove()
        self._states, self._parts, self._weights = None, {}, {}

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            states = decoder_states(output)
            self._states = None if states is None else states.detach()


class _Shares:
    """Of each token its share, as chunks of its logits come in.

    Args:
        tokens: (N,) predicted.
        dtype: of the states.
        change: what the model does to each of the head's logits.
    """

    def __init__(self, tokens: Tensor, dtype: torch.dtype, change: LogitChange) -> None:
        summed = torch.promote_types(dtype, torch.float32)
        self._tokens = tokens
        self._change = change
        # Of the logits so far, the logarithm of the sum of their exponentials; by the softmax of
        # these, how fast they move along v; and how fast the predicted one does.
        self._norm = torch.full(tokens.shape, -torch.inf, dtype=summed, device=tokens.device)
        self._mean, self._own = torch.zeros_like(self._norm).repeat(2, 1)
        self._room = Room()

    @torch.no_grad()
    def add(self, part: Tensor, first: int, states: Tensor, some: Mapping[str, Tensor]) -> None:
        """Some of the logits of some tokens.

        Args:
            part: (n,) which tokens.
            first: number of the first logit.
            states: (n, H) of these tokens.
            some: (w, H) rows of weight and v, (w,) of their biases.
        """
        weight, of_v = some["weight"], some["v.weight"]
        room = self._room.of(states, len(weight), weight.dtype)
        logits = torch.mm(states.to(weight.dtype), weight.T, out=room)
        if "bias" in some:
            logits.add_(some["bias"])
        changed = self._change.write_over(wide(logits))
        slopes = self._change.slopes(changed)
        largest, sums = exponentials(changed)
        if self._change != AS_THEY_ARE:
            changed.mul_(slopes)
        # Its own type on each side: a copy of so large a weight would be the largest tensor here.
        by_logits = changed.to(of_v.dtype)
        mean = (wide(by_logits @ of_v) * states).sum(-1)
        if "v.bias" in some:
            mean += wide(by_logits @ some["v.bias"])
        before, here = self._norm[part], largest + sums.log()
        norm = torch.logaddexp(before, here)
        self._norm[part] = norm
        self._mean[part] = (
            self._mean[part] * (before - norm).exp() + mean / sums * (here - norm).exp()
        )
        place = self._tokens[part] - first
        inside = (place >= 0) & (place < len(weight))
        self._own[part[inside]] = self._of_predicted(states[inside], place[inside], some)

    def _of_predicted(self, states: Tensor, tokens: Tensor, some: Mapping[str, Tensor]) -> Tensor:
        """(n,) how fast the logits of (n,) tokens move along v, each for its own state."""

        def product(name: str, bias: str) -> Tensor:
            found = (wide(some[name][tokens]) * states).sum(-1)
            return found + some[bias][tokens] if bias in some else found

        changed = self._change.write_over(product("weight", "bias"))
        return product("v.weight", "v.bias") * self._change.slopes(changed)

    def result(self) -> Tensor:
        """(N,)"""
        return self._mean - self._own


def fused_head(
    model: nn.Module, owners: Mapping[str, nn.Module], part_of: Mapping[int, Tensor]
) -> tuple[str, FusedHead] | None:
    """(name among the owners, reader) of the head; None where it is not trained, or is no plain
    linear layer: a hook then tells that the loss goes around it.

    Args:
        model: the trained module.
        owners: the modules that own trained parameters, by name.
        part_of: the part of v of each trained parameter, by the parameter's id.
    """
    head = head_of(model)
    decoder = getattr(model, "get_decoder", lambda: None)()
    if head is None or not isinstance(decoder, nn.Module):
        return None
    # With `modules_to_save` the trained one is inside a wrapper, beside the frozen original.
    inside = {id(module) for module in head.modules()}
    own = [(name, module) for name, module in owners.items() if id(module) in inside]
    if len(own) != 1:
        return None
    name, owner = own[0]
    if not isinstance(owner, nn.Linear) or type(owner).forward is not nn.Linear.forward:
        return None
    if owner.weight.shape != head.weight.shape or id(owner.weight) not in part_of:
        return None  # an adapter, or a bias alone
    parts = {
        key: part_of[id(parameter)]
        for key, parameter in owner.named_parameters(recurse=False)
        if id(parameter) in part_of
    }
    return name, FusedHead(decoder, owner, parts, change_of(model))


@torch.no_grad()
def changes_logits_otherwise(model: nn.Module, batch: TaskBatch) -> bool:
    """Whether the model does something to its head's logits that `change_of` does not know.
    Told by states so large that a soft cap shows, whatever the real ones are."""
    head = head_of(model)
    assert head is not None
    logits_of_head: list[Tensor] = []

    def enlarge(states: Tensor) -> Tensor:
        last = states[:1, -1:]
        logits = head.forward(last)
        last = last * (LARGE / logits.abs().max().clamp(min=1e-6)).to(last.dtype)
        logits_of_head.append(head.forward(last))
        return last

    with head_sees(head, enlarge):
        logits = model(**{name: value[:1] for name, value in batch.inputs.items()}).logits
    ours = change_of(model)(wide(logits_of_head[0]))
    return not torch.allclose(ours, wide(logits), rtol=TOLERANCE, atol=TOLERANCE * LARGE / 10)


def decoder_states(output: Any) -> Tensor | None:
    """(B, T, H) of what a decoder gives."""
    states = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", None)
    return states if isinstance(states, Tensor) else None
