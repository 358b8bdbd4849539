"""Trained parameters that no rule of `in_backward` reads, such as the sinks of attention.

Where these are next to nothing, the direction is taken to be 0 on them, and scores are exact inner
products over all other parameters. Where they are more, an estimator that needs no rules measures
along all. Few numbers may be much of the direction, because a gradient that all tokens share is
long: the kernels of LFM2's short convolutions, .2 % of a small model, were a third of its squared
length after 300 steps. So both are asked for, the count before a run and the length at each meta
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adapt_axolotl.metagradient.backward_rules import rule_of
from adapt_axolotl.metagradient.by_rows import acts_on_rows
from adapt_axolotl.metagradient.flat_parts import whole_shape
from adapt_axolotl.metagradient.owners import own_parameters, owners_of
from adapt_axolotl.metagradient.sharded import as_held, inner_product, summed

# Of the trained parameters, and of the squared length of the direction. A score then lacks about as
# little of the product of the two lengths.
MOST = 0.01


@dataclass(frozen=True)
class LeftOut:
    """Some of a model's trained parameters.

    Attributes:
        modules: names of the modules whose they are.
        parameters: of each trained parameter whether it is one of them.
        numbers: how many numbers these hold.
        of: how many numbers are trained.
    """

    modules: list[str]
    parameters: list[bool]
    numbers: int
    of: int

    @property
    def share(self) -> float:
        """Of the trained numbers."""
        return self.numbers / max(1, self.of)

    def without(self, v: Sequence[Tensor]) -> list[Tensor]:
        """The direction, 0 on these parameters."""
        return [
            torch.zeros_like(part) if out else part
            for part, out in zip(v, self.parameters, strict=True)
        ]

    def share_of(self, v: Sequence[Tensor]) -> float:
        """How much of the squared length of the direction lies on these parameters; 0 where it has
        none. All processes."""
        if not self.numbers:
            return 0.0
        squares = [inner_product(one, one) for one in map(as_held, v)]
        here = [one for one, out in zip(squares, self.parameters, strict=True) if out]
        whole = float(summed(squares))
        return float(summed(here)) / whole if whole > 0 else 0.0


def without_rule(model: nn.Module, parameters: Sequence[nn.Parameter]) -> LeftOut:
    """The parameters of modules without a rule, however many. Those beside the decoder, of an image
    tower, are not among them: on rows of text they take no part, and if they do, `in_backward`
    tells."""
    decoder = getattr(model, "get_decoder", lambda: None)()
    inside = None if decoder is None else {id(module) for module in decoder.modules()}
    owners = {
        name: module
        for name, module in owners_of(model, parameters).items()
        if inside is None or id(module) in inside
        if rule_of(module) is None and not acts_on_rows(module)
    }
    theirs = {id(one) for module in owners.values() for _, one in own_parameters(module)}
    out = [id(parameter) in theirs for parameter in parameters]
    sizes = [whole_shape(parameter).numel() for parameter in parameters]
    numbers = sum(size for size, one in zip(sizes, out, strict=True) if one)
    return LeftOut([*owners], out, numbers, sum(sizes))


def left_out(model: nn.Module, parameters: Sequence[nn.Parameter]) -> LeftOut:
    """Those that `in_backward` goes without: the ones without a rule, or none where these are
    many."""
    found = without_rule(model, parameters)
    return found if found.share <= MOST else nothing_left_out(model, parameters)


def nothing_left_out(model: nn.Module, parameters: Sequence[nn.Parameter]) -> LeftOut:
    """Of an estimator that measures along all of v."""
    sizes = [whole_shape(parameter).numel() for parameter in parameters]
    return LeftOut([], [False] * len(sizes), 0, sum(sizes))
