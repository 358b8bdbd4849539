"""What stands under the table of a forecast: one sentence for each thing to know of the run."""

from __future__ import annotations

from collections.abc import Sequence

from adapt_axolotl.commands.preview.forecast import REPEATS, Forecast
from adapt_axolotl.config.methods import SOURCES
from adapt_axolotl.meta_step.falls import NAME as LOSS_FALLS
from adapt_axolotl.meta_step.training_losses import NAME as TRAINING_LOSSES
from adapt_axolotl.sampling.stream import CHOOSING_PASS

# Tasks that a sentence names; the others are counted.
NAMED = 6
# From here on sizes differ so much that shares by size were worse in the study.
SKEWED = 10.0
# Above this share of a task's rows, what sequence_len leaves out is a warning.
UNFIT = 0.05


def notes(run: Forecast, sequence_len: int) -> list[str]:
    """
    Args:
        run: the forecast.
        sequence_len: longest row that fits, in tokens.
    """
    found = [_mixture(run)]
    if run.max_steps is not None:
        found.append(
            f"max_steps: {run.max_steps} ends the run with {run.tokens / run.budget:.0%} of the "
            "budget used."
        )
    if run.meta is not None:
        found += [_meta_steps(run), *_targets(run), *_bounded(run)]
    if run.meta is not None or run.follows_losses:
        found += _limits(run)
    if run.learn_rows:
        found += _rows(run)
    first, last = run.measured
    found.append(
        f"Validation losses of at most {first} rows of each task before the first step and of "
        f"{last} after the last add about {run.measuring_cost:.1%} to the training time."
    )
    if left_out(run, sequence_len) and not much_is_left_out(run):
        found.append(left_out(run, sequence_len))
    return found + _expect(run)


def _expect(run: Forecast) -> list[str]:
    """What the study found where tasks were mixed like this."""
    trained = [task.available for task in run.tasks if task.available and task.share]
    if run.mixture in ("proportional", "temperature") and trained:
        ratio = max(trained) / min(trained)
        if ratio >= SKEWED and run.budget < run.available:
            return [
                f"The largest task is {ratio:,.0f} times the smallest. Where every task counts "
                "alike, shares by size were worse than equal ones (mixture: uniform) in a study "
                "of such tasks (docs/study.md)."
            ]
    if run.mixture == "learned" and not run.targets:
        return [
            "What to expect: the loss of the tasks that lag behind ends lower than with equal "
            "shares; the mean over tasks did not in a study (docs/study.md), where mixture: "
            "uniform was as good. A few tasks that you train for can be named as targets."
        ]
    return []


def comes_round(run: Forecast) -> list[str]:
    """Tasks whose rows are seen so often that there is something to choose among them by."""
    return [task.name for task in run.tasks if task.repeats > CHOOSING_PASS]


def _rows(run: Forecast) -> list[str]:
    tasks = comes_round(run)
    if not tasks:
        return []
    return [
        "Rows are drawn by their losses (adapt.rows) from their task's third pass on, in: "
        f"{_listed(tasks)}."
    ]


def left_out(run: Forecast, sequence_len: int) -> str:
    """How many rows of each task sequence_len leaves out; empty where it leaves out none."""
    tasks = sorted(
        (task for task in run.tasks if task.rows_unfit),
        key=lambda task: -task.rows_unfit / task.rows_read,
    )
    named = [
        f"{task.name} {task.rows_unfit:,} of {task.rows_read:,} rows "
        f"({task.rows_unfit / task.rows_read:.1%})"
        for task in tasks
    ]
    if not named:
        return ""
    return f"Longer than sequence_len: {sequence_len} and left out: {_listed(named)}."


def much_is_left_out(run: Forecast) -> bool:
    """Whether of some task."""
    return any(task.rows_unfit > UNFIT * task.rows_read for task in run.tasks)


def _mixture(run: Forecast) -> str:
    if run.follows_losses:
        return (
            f"Mixture: {run.mixture} ({SOURCES[run.mixture]}). It moves with the training losses "
            "of each optimizer step and reads nothing else. The table is for the uniform mixture "
            "that it starts from; shares and times seen change, and the number of steps with them."
        )
    if run.meta is None:
        return f"Mixture: {run.mixture}. It does not learn, so training draws exactly these rows."
    return (
        f"Mixture: {run.mixture}. The table is for the mixture that it starts from; as it learns, "
        "shares and times seen change, and the number of steps with them."
    )


def _meta_steps(run: Forecast) -> str:
    meta = run.meta
    assert meta is not None
    if meta.steps == 0:
        return "There is no meta step, so the mixture stays what it starts with."
    if meta.new_rows is not None:
        names = [task.name for task in run.tasks]
        (fewest, rarest), (fewest_last, rarest_last) = (
            min(zip(rows, names, strict=True)) for rows in meta.new_rows
        )
        return (
            f"The mixture moves {meta.steps:,} times, first before optimizer step "
            f"{(meta.first or 0) + 1:,}, by the losses of rows that training sees for the first "
            f"time ({meta.measures}); {_held_out(run)}. By then it has seen {fewest:,} of each "
            f"task or more (fewest of {rarest}); its last move is told from {fewest_last:,} or "
            f"more (fewest of {rarest_last})."
        )
    return (
        f"Meta steps, which update the mixture: {meta.steps:,}, the first before optimizer step "
        f"{(meta.first or 0) + 1:,}. They read about {meta.tokens:,} supervised tokens more "
        f"({meta.tokens / run.budget:.1%} of the budget) and add about {meta.cost:.0%} to the "
        "training time (estimated from the tokens that they read, not measured). They measure "
        f"{meta.measures} on up to {meta.rows_per_task} validation rows of a task."
    )


def _held_out(run: Forecast) -> str:
    assert run.meta is not None
    if not run.meta.tokens:
        return "nothing else is read"
    return (
        f"of tasks that have none left it reads validation rows ({run.meta.tokens:,} supervised "
        f"tokens in all, about {run.meta.cost:.1%} more training time)"
    )


def _targets(run: Forecast) -> list[str]:
    """What becomes of the tasks that do not count."""
    if run.meta is None or not run.targets:
        return []
    by_own_tokens = run.meta.measures in (TRAINING_LOSSES, LOSS_FALLS)
    least = "" if run.mixture == "doge" else ", adapt.floor of their initial share at least"
    others = (
        "the others get little more than adapt.floor of their initial share, whatever they teach"
        if by_own_tokens
        else f"the others get as much as they help these{least}"
    )
    names = _listed(run.targets)
    return [f"Only {names} {'counts' if len(run.targets) == 1 else 'count'} (targets): {others}."]


def _bounded(run: Forecast) -> list[str]:
    """What becomes of tasks with bounds."""
    if not run.bounded:
        return []
    return [
        f"Of {_listed(run.bounded)} the loss is to end below a bound (adapt.learned.bounds): a "
        "task gets more while it is expected above it, and else what tasks get that do not count."
    ]


def _limits(run: Forecast) -> list[str]:
    """Above which shares a learned mixture would repeat rows too often."""
    tasks = sorted(
        ((task.limit, task.name) for task in run.tasks if task.limit is not None),
    )
    if not tasks:
        return [f"Whatever the mixture learns, no row is seen more than {REPEATS:g} times."]
    named = [f"{name} {limit:.1%}" for limit, name in tasks]
    return [
        f"Rows are seen more than {REPEATS:g} times where a task's share of the budget rises "
        f"above: {_listed(named)}. Up to about {REPEATS:g} times, repeated rows are nearly as good "
        "as new ones; adapt.max_repeats sets a limit."
    ]


def _listed(named: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = len(named) - NAMED
    return ", ".join(named[:NAMED]) + (f", and {more} more tasks" if more > 0 else "")
