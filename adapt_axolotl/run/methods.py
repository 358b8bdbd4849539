"""Mixtures by methods of others, and those of another run drawn again, that an `adapt:` block
describes. K tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.mixture.by_losses import LossMixture, LossRule
from adapt_axolotl.mixture.doremi import DoReMi
from adapt_axolotl.mixture.group_dro import GroupDro
from adapt_axolotl.mixture.odm import Odm
from adapt_axolotl.mixture.replayed import Replay, replayed
from adapt_axolotl.recipe.earlier_run import EarlierRun
from adapt_axolotl.records.trajectory import trajectory


def loss_mixture(
    adapt: AdaptConfig,
    names: Sequence[str],
    initial: np.ndarray,
    earlier: EarlierRun | None,
    micro_batches: int,
) -> LossMixture:
    """The mixture that moves with the training losses, before it has moved.

    Args:
        adapt: the block.
        names: of all tasks.
        initial: (K,) what it starts with.
        earlier: the reference run, or None.
        micro_batches: of an optimizer step, all processes together.
    """
    fixed = np.array([name in (adapt.tokens or {}) for name in names])
    moving = [
        name for name, share, own in zip(names, initial, fixed, strict=True) if share and not own
    ]
    reference = None if earlier is None else np.array(earlier.losses(moving))
    return LossMixture(names, _loss_rule(adapt, reference, micro_batches), initial, fixed)


def _loss_rule(adapt: AdaptConfig, reference: np.ndarray | None, micro_batches: int) -> LossRule:
    """With the settings of the block, and the rule's own where it has none."""
    keys = {"step_size": adapt.step_size, "smoothing": adapt.smoothing, "decay": adapt.reward_decay}
    settings = {key: value for key, value in keys.items() if value is not None}
    if adapt.mixture == "odm":
        return Odm(micro_batches, **settings)
    if adapt.mixture == "group_dro":
        return GroupDro(reference, **settings)
    assert adapt.mixture == "doremi"
    assert reference is not None
    return DoReMi(reference, **settings)


def replay(adapt: AdaptConfig, names: Sequence[str], earlier: EarlierRun, seed: int) -> Replay:
    """The mixtures of the run, of the tasks in this recipe's order; targets that are not trained on
    have no share.

    Raises:
        ValueError: with `max_repeats` it could end early.
    """
    run = trajectory(earlier.history, earlier.ledger, earlier.mixture["initial"])
    columns = {name: run.shares[:, k] for k, name in enumerate(run.tasks)}
    nothing = np.zeros(len(run.shares))
    average = earlier.mixture["average"]
    left_out = [name for name, shares in columns.items() if shares.any() and not shares.all()]
    if adapt.max_repeats is not None and left_out and adapt.replay_as not in (None, "average"):
        raise ValueError(
            f"adapt.max_repeats: {earlier.folder} left {left_out[0]} out for a part of its run, "
            "and once all tasks of such a part have been drawn so often, this run would end; "
            "remove max_repeats, or set replay_as: average"
        )
    return replayed(
        ends=run.edges[1:] / run.edges[-1],
        shares=np.stack([columns.get(name, nothing) for name in names], axis=1),
        average=np.array([average.get(name, 0.0) for name in names]),
        how=adapt.replay_as or "average",
        seed=seed,
    )
