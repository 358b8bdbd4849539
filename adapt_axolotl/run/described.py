"""The mixture and the objective that an `adapt:` block describes. K tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.config.phase import Phase
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.mixture.bounds import Bounds
from adapt_axolotl.mixture.doge import GeneralisationSteps
from adapt_axolotl.mixture.gradient_steps import GradientSteps
from adapt_axolotl.mixture.learned import ENTROPY_WEIGHT, LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.objectives.worst_group import groups_of_tasks
from adapt_axolotl.mixture.scheduled import Cooling, Phases, Schedule
from adapt_axolotl.mixture.static import static_proportions
from adapt_axolotl.recipe.earlier_run import EarlierRun
from adapt_axolotl.run.evaluation import Evaluation
from adapt_axolotl.run.methods import replay


def evaluation(adapt: AdaptConfig, names: Sequence[str]) -> Evaluation:
    """What an evaluation says beside the losses of the single tasks."""
    weights = adapt.eval_weights or dict.fromkeys(names, 1.0)
    return Evaluation(
        tuple(names),
        np.array([weights[name] for name in names]),
        named_objective(adapt, names),
        bounds(adapt, names),
    )


def named_objective(adapt: AdaptConfig, names: Sequence[str]) -> Objective:
    """The objective that the `adapt:` block names; a static mixture has one too, to be compared
    by."""
    learned = adapt.learned
    references, targets = learned.reference_losses, adapt.targets
    if not targets and learned.bounds is not None:
        targets = tuple(name for name in names if name not in learned.bounds)
    return objective(
        learned.objective,
        beta=learned.beta,
        reference_losses=None if references is None else [references[name] for name in names],
        level=None if learned.level is None else float(learned.level),
        alpha=learned.alpha,
        groups=None if learned.groups is None else groups_of_tasks(learned.groups, names),
        targets=[name in targets for name in names] if targets else None,
        weights=[adapt.target_weights.get(name, 1.0) for name in names]
        if adapt.target_weights
        else None,
    )


def bounds(adapt: AdaptConfig, names: Sequence[str]) -> Bounds | None:
    """Those that the `adapt:` block sets."""
    of_tasks = adapt.learned.bounds
    return None if of_tasks is None else Bounds([of_tasks.get(name, np.nan) for name in names])


def initial_proportions(adapt: AdaptConfig, pools: TaskPools, budget: int) -> np.ndarray:
    """(K,) what a run without a schedule starts with.

    Args:
        adapt: the block.
        pools: the training rows.
        budget: supervised tokens.
    """
    scheme: str = adapt.mixture
    if adapt.takes_meta_steps:
        scheme = adapt.learned.initial
    elif adapt.follows_losses:
        scheme = "uniform"
    return _shares(adapt, pools, budget, scheme, adapt)


def schedule(
    adapt: AdaptConfig,
    pools: TaskPools,
    budget: int,
    earlier: EarlierRun | None = None,
    seed: int = 0,
) -> Schedule | None:
    """How a static mixture changes over the run; None where it stays.

    Args:
        adapt: the block.
        pools: the training rows.
        budget: supervised tokens.
        earlier: the run whose mixtures `mixture: replay` draws again.
        seed: of the run.
    """
    if adapt.mixture == "replay":
        assert earlier is not None
        return replay(adapt, pools.tasks, earlier, seed)
    if adapt.phases is not None:
        return Phases(
            np.array([1.0 if one.until is None else float(one.until) for one in adapt.phases]),
            np.stack([_shares(adapt, pools, budget, one.mixture, one) for one in adapt.phases]),
        )
    if adapt.final_temperature is not None:
        own = own_shares(adapt, pools.tasks, budget)
        available = _available(adapt, pools)
        return Cooling(available, adapt.temperature, adapt.final_temperature, own)
    return None


def own_shares(adapt: AdaptConfig, names: Sequence[str], budget: int) -> np.ndarray:
    """(K,) shares of the budget of tasks with `adapt.tokens`; 0 for the others."""
    return np.array([(adapt.tokens or {}).get(name, 0) / budget for name in names])


def _available(adapt: AdaptConfig, pools: TaskPools) -> np.ndarray:
    """(K,) how much each task has, in the unit that a share counts."""
    return pools.available_tokens if adapt.share_unit == "tokens" else pools.rows_of_task


def _shares(
    adapt: AdaptConfig, pools: TaskPools, budget: int, scheme: str, settings: AdaptConfig | Phase
) -> np.ndarray:
    """(K,) of a static scheme with its settings, beside tasks with `adapt.tokens`."""
    own = adapt.tokens or {}
    shares = own_shares(adapt, pools.tasks, budget)
    sharing = [k for k, name in enumerate(pools.tasks) if name not in own]
    shares[sharing] = (1 - shares.sum()) * static_proportions(
        scheme,
        _available(adapt, pools)[sharing].tolist(),
        temperature=settings.temperature,
        weights=settings.weights,
        tasks=[pools.tasks[k] for k in sharing],
    )
    return shares


def quotas(adapt: AdaptConfig, pools: TaskPools, budget: int) -> np.ndarray | None:
    """(K,) supervised tokens of tasks with `adapt.tokens`, infinite for the others; None without
    any such task.

    Raises:
        ValueError: they leave the others nothing, or `max_repeats` keeps a task below them.
    """
    if adapt.tokens is None:
        return None
    together = sum(adapt.tokens.values())
    if together >= budget:
        raise ValueError(
            f"adapt.tokens: {together:,} supervised tokens of a budget of {budget:,} leave nothing "
            "for the other tasks; lower them, or raise adapt.token_budget"
        )
    for name, available in zip(pools.tasks, pools.available_tokens.tolist(), strict=True):
        most = available * (adapt.max_repeats or np.inf)
        if adapt.tokens.get(name, 0) > most:
            raise ValueError(
                f"adapt.tokens: {name}: {adapt.tokens[name]:,} supervised tokens are more than "
                f"max_repeats: {adapt.max_repeats:g} allows of its {available:,}; lower them, or "
                "raise max_repeats"
            )
    return np.array([adapt.tokens.get(name, np.inf) for name in pools.tasks], dtype=np.float64)


def learned_mixture(
    adapt: AdaptConfig,
    pools: TaskPools,
    initial: np.ndarray | None = None,
    learning_rate: Callable[[], float] | None = None,
) -> LearnedMixture:
    """The mixture that the `adapt:` block describes, before it has learned anything.

    Args:
        adapt: the block.
        pools: the training rows.
        initial: (K,) what it starts with; uniform by default.
        learning_rate: which `rule: doge` goes by, summed over the steps up to the next meta step.
    """
    learned, names = adapt.learned, pools.tasks
    steps: GradientSteps | GeneralisationSteps | None = None
    if learned.rule == "steps":
        steps = GradientSteps(step_size=learned.step_size, entropy_weight=learned.pull)
    elif learned.rule == "doge":
        assert learning_rate is not None
        counted = len(adapt.counted) or len(names)
        steps = GeneralisationSteps(counted, learning_rate, mu=learned.mu)
    by_rows = adapt.share_unit == "examples"
    return LearnedMixture(
        names,
        named_objective(adapt, names),
        bounds=bounds(adapt, names),
        steps=steps,
        entropy_weight=learned.pull if learned.rule == "evidence" else ENTROPY_WEIGHT,
        # DoGE has none.
        floor=0.0 if learned.rule == "doge" else adapt.floor,
        initial=initial,
        fixed=np.array([name in (adapt.tokens or {}) for name in names]),
        row_tokens=pools.available_tokens / np.maximum(1, pools.rows_of_task) if by_rows else None,
    )
