"""Bounds from another run, so that training for targets ruins nothing else.

With `adapt.learned.keep` each task that is no target is to end below the loss that it had at the
end of that run, and a margin: constraints as of DynaMiCS (arXiv 2605.10770), whose reference levels
are losses too. They are kept by the multipliers of `mixture/bounds.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.recipe.earlier_run import tokens_spent
from adapt_common.run_records import read_ledger

_TWIN = "train one, such as the twin that `adapt-axolotl twin RECIPE --mixture uniform` writes"


def spent_on_kept(adapt: AdaptConfig) -> int:
    """Supervised tokens of the run that `keep` names; 0 without one."""
    keep = adapt.learned.keep
    return 0 if keep is None else tokens_spent(read_ledger(Path(keep)))


def kept_bounds(
    adapt: AdaptConfig, names: Sequence[str], targets: Sequence[str]
) -> dict[str, float]:
    """Of every task that is no target; where the recipe has a bound of its own, that one.

    Args:
        adapt: the block.
        names: of the tasks that are trained on.
        targets: the tasks that alone count.

    Raises:
        ValueError: there are no targets, or the run does not tell the losses of all these tasks.
    """
    learned = adapt.learned
    if learned.keep is None:
        return dict(learned.bounds or {})
    if not targets:
        raise ValueError(
            "adapt.learned.keep: holds the tasks that are no targets, and there are none; name "
            "targets (adapt.learned.targets, or target: in test_datasets), or remove it"
        )
    try:
        tasks = read_ledger(Path(learned.keep))["tasks"]
    except ValueError as error:
        raise ValueError(f"adapt.learned.keep: {error}; {_TWIN}") from error
    bounds = {}
    for name in names:
        if name in targets:
            continue
        loss = tasks.get(name, {}).get("last_validation_loss")
        if loss is None:
            raise ValueError(
                f"adapt.learned.keep: {learned.keep} does not tell a last validation loss of task "
                f"{name!r}; give a run over the same tasks ({_TWIN})"
            )
        bounds[name] = loss * (1 + float(learned.keep_margin))
    return {**bounds, **(learned.bounds or {})}
