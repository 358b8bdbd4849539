"""The share of a trained head that the training loss goes around.

A fused loss (Liger's, cut cross-entropy) takes the head's weight and never calls the head, so no
hook runs there. What the head would have seen is there all the same, and the gradient of the token
cross-entropy by the logits is known. For a token y predicted from the state h the share in
<v, gradient of its loss> is

    (softmax(z) - 1_y) . dz/du . V h        with u = W h and z what the model makes of u

where V is the head's part of v. It is taken in chunks of tokens, so that no more logits are held at
once than the loss itself would.

Dimensions: B sequences, T tokens, N supervised tokens, R rows, V vocabulary, H features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.functional import linear

from adapt_axolotl.metagradient.supervised_head import (
    CHUNK,
    LossOverLogits,
    after_the_head,
    head_of,
    head_sees,
    wide,
)
from adapt_axolotl.metagradient.task_batch import TaskBatch

# Three tensors of a chunk's logits are held: 32 MiB each.
LOGITS_AT_ONCE = CHUNK // 2

# Of the model's logits to ours, which are to differ by rounding only.
TOLERANCE = 1e-2

# Logits in which a change after the head, such as a soft cap at 30, shows.
LARGE = 100.0


class FusedHead:
    """Reads one forward after the other: `begin` before it, `products` after its backward.

    Args:
        decoder: gives the states that the head would see; hooked until `remove`.
        head: owns the weight.
        parts: its parameters' parts of v, by name; the weight's is among them.
        after: what the model does to the head's logits.
    """

    def __init__(
        self,
        decoder: nn.Module,
        head: nn.Linear,
        parts: Mapping[str, Tensor],
        after: Callable[[Tensor], Tensor],
    ) -> None:
        self._head = head
        self._parts = dict(parts)
        self._after = after
        self._states: Tensor | None = None
        self._handle = decoder.register_forward_hook(self._keep)

    def begin(self) -> None:
        """Before a forward."""
        self._states = None

    def products(self, labels: Tensor, row_of_token: Tensor, num_rows: int) -> Tensor | None:
        """(R,) float64: <v's part, gradient of the sum of the row's token losses by the head>; None
        where the states or the whole weight are not to be had.

        Args:
            labels: (B, T).
            row_of_token: (B, T), -1 beside rows.
            num_rows: R.
        """
        states, self._states = self._states, None
        weight = self._head.weight
        # Sharded, it is whole within the model's own forward only.
        sharded = isinstance(weight, DTensor) or hasattr(weight, "ds_id")
        if states is None or states.shape[:2] != labels.shape or sharded:
            return None
        inside = (labels[:, 1:] != -100) & (row_of_token[:, 1:] >= 0)
        sequences, positions = inside.nonzero(as_tuple=True)
        tokens = labels[sequences, positions + 1]
        rows = row_of_token[sequences, positions + 1]
        sums = torch.zeros(num_rows, dtype=torch.float64, device=states.device)
        every = torch.arange(len(tokens), device=states.device)
        for part in every.split(max(1, LOGITS_AT_ONCE // weight.shape[0])):
            shares = self._shares(states[sequences[part], positions[part]], tokens[part])
            sums.index_add_(0, rows[part], shares.double())
        return sums

    def remove(self) -> None:
        """Remove the hook and let go of v."""
        self._handle.remove()
        self._states, self._parts = None, {}

    def _shares(self, states: Tensor, tokens: Tensor) -> Tensor:
        """(N,) from (N, H) states and the tokens predicted from them."""
        part = self._parts["weight"]
        # Its own type on each side: a copy of so large a weight would be the largest tensor here.
        with torch.no_grad():
            along = wide(linear(states.to(part.dtype), part, self._parts.get("bias")))
            logits = wide(self._head.forward(states.to(self._head.weight.dtype)))
        with torch.enable_grad():
            logits = logits.requires_grad_()
            # The head made them for us, so they may be written over.
            losses = LossOverLogits.apply(self._after(logits), tokens)
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        return along.mul_(gradient).sum(-1)

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            states = decoder_states(output)
            self._states = None if states is None else states.detach()


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
    return name, FusedHead(decoder, owner, parts, after_the_head(model))


@torch.no_grad()
def changes_logits_otherwise(model: nn.Module, batch: TaskBatch) -> bool:
    """Whether the model does something to its head's logits that `after_the_head` does not know.
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
    ours = after_the_head(model)(wide(logits_of_head[0]))
    return not torch.allclose(ours, wide(logits), rtol=TOLERANCE, atol=TOLERANCE * LARGE / 10)


def decoder_states(output: Any) -> Tensor | None:
    """(B, T, H) of what a decoder gives."""
    states = output[0] if isinstance(output, tuple) else getattr(output, "last_hidden_state", None)
    return states if isinstance(states, Tensor) else None
