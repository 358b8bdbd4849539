"""What the `adapt:` block says of tasks is said of tasks that the recipe has."""

from __future__ import annotations

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.mixture.static import from_weights


def check_tasks(
    adapt: AdaptConfig, names: list[str], test_tasks: list[str], targets: list[str]
) -> None:
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise ValueError(
            f"datasets: a mixture needs at least two tasks, found {found}; add an entry, or give "
            "the entries different task: names"
        )
    for name in dict.fromkeys(test_tasks):
        if name not in (*names, *targets):
            raise ValueError(
                f"test_datasets: task {name!r} has validation but no training data; give the "
                f"entry the task: of one of the datasets ({', '.join(names)}), write target: in "
                "place of task: if the mixture is to be good at it without training on it, or "
                "remove it"
            )
    untrained = [name for name in targets if name not in names]
    if untrained and adapt.takes_meta_steps and adapt.learned.measure != "products":
        raise ValueError(
            f"test_datasets: target {untrained[0]!r} has no training data, so what helps it is "
            "told by gradient products only; add adapt.learned.measure: products"
        )
    every = [*names, *untrained]
    for name in set(targets) & set(adapt.learned.bounds or ()):
        raise ValueError(
            f"adapt.learned.bounds: {name} is a target of test_datasets too, whose loss is to fall "
            "as far as it can; remove it from one of the two"
        )
    learned = adapt.learned
    for key, named, known in (
        ("tokens", adapt.tokens or (), names),
        ("learned.targets", learned.targets or (), every),
        (
            "learned.groups",
            [one for group in (learned.groups or {}).values() for one in group],
            every,
        ),
        ("learned.bounds", learned.bounds or (), every),
    ):
        if unknown := sorted(set(named) - set(known)):
            raise ValueError(
                f"adapt.{key}: {', '.join(unknown)} is no task of the recipe; choose from "
                f"{', '.join(known)}"
            )
    sharing = [name for name in names if name not in (adapt.tokens or {})]
    if not sharing:
        raise ValueError(
            "adapt.tokens: names every task, so there is none to take the rest of the budget; "
            "remove one of them, or write the same numbers under weights: with mixture: weights "
            "and their sum as token_budget"
        )
    if adapt.weights is not None:
        for task in set(adapt.weights) & set(adapt.tokens or ()):
            raise ValueError(
                f"adapt.weights: {task} has a number of tokens (adapt.tokens), and a weight shares "
                "the rest; remove it from one of the two"
            )
        from_weights(adapt.weights, sharing, key="adapt.weights")
    for number, phase in enumerate(adapt.phases or ()):
        if phase.weights is not None:
            from_weights(phase.weights, sharing, key=f"adapt.phases[{number}].weights")
    if adapt.eval_weights is not None:
        from_weights(adapt.eval_weights, every, key="adapt.eval_weights")
    if set(every) <= set(learned.bounds or ()):
        raise ValueError(
            "adapt.learned.bounds: every task has a bound, so there is no loss to lower; remove "
            "that of a task that is to fall as far as it can"
        )
    references = adapt.learned.reference_losses
    if references is not None and set(references) != set(every):
        raise ValueError(
            "adapt.learned.reference_losses: must name every task and no other; missing "
            f"{sorted(set(every) - set(references))}, "
            f"unknown {sorted(set(references) - set(every))}"
        )
