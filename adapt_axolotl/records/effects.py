"""`effects.json`: which task helped which target, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adapt_axolotl.mixture.checkpoint_signs import LEAST_CHECKPOINTS
from adapt_axolotl.mixture.effects import FALSE_SHARE, Effects
from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS

EFFECTS = "effects.json"
UNIT = (
    "fall of the target's loss, nats per supervised token, by a step on the task alone, to first "
    "order, on average over the run"
)
ALL_TASKS = "all tasks, as drawn"

TITLE = "Which task helped which target"

# What a table says after a number.
MORE, LESS = "more", "less"
LEGEND = (
    "How far one training step on nothing but the task lowers the loss of the target (nats per "
    "supervised token, to first order, on average over the run), and the standard error of this "
    f"over the draw of rows. In brackets: not told from 0. {MORE}, {LESS}: than the mixture does; "
    f"without a word it is not told from that. Of what is told {FALSE_SHARE:.0%} is chance, on "
    "average."
)


@dataclass(frozen=True)
class MeasuredEffects:
    """What was measured of a run.

    Attributes:
        tasks: K names.
        targets: J names.
        effects: (K, J) in `UNIT`.
        chances: J, that tasks differ so alike from checkpoint to checkpoint by chance
            (`AcrossCheckpoints`); None of too few checkpoints.
        shares: (K,) of the tokens trained on, that add up to 1.
        left_out: tasks with too few rows.
        rows: of each task and target at each checkpoint, at most.
        checkpoints: (step, tokens trained on before it, share of the run that it stands for).
    """

    tasks: Sequence[str]
    targets: Sequence[str]
    effects: Effects
    chances: Sequence[float | None]
    shares: np.ndarray
    left_out: Sequence[str]
    rows: int
    checkpoints: Sequence[tuple[int, int, float]]


def write_effects(run: Path, measured: MeasuredEffects, ledger: Mapping[str, Any]) -> None:
    """Write them among the records of a run; `ledger`: the content of its `ledger.json`."""
    above = measured.effects.above_average(measured.shares)
    mixture = measured.effects.average(measured.shares)
    ours, theirs = (one.told_from_noise() for one in (measured.effects, above))
    content = {
        "unit": UNIT,
        "tokens_of_a_step": ledger["used"] / ledger["steps"],
        "rows": measured.rows,
        "checkpoints": [
            {"step": step, "tokens": tokens, "share": share}
            for step, tokens, share in measured.checkpoints
        ],
        "left_out": list(measured.left_out),
        "mixture": {
            target: {
                "fall": float(mixture.values[0, j]),
                "error": float(mixture.errors[0, j]),
                "fall_of_all_steps": float(ledger["steps"] * mixture.values[0, j]),
                "measured_fall": _fall(ledger["tasks"][target]),
                "chance_over_checkpoints": measured.chances[j],
            }
            for j, target in enumerate(measured.targets)
        },
        "tasks": {
            task: {
                target: {
                    "fall": float(measured.effects.values[k, j]),
                    "error": float(measured.effects.errors[k, j]),
                    "told": bool(ours[k, j]),
                    "above_mixture": float(above.values[k, j]),
                    "above_mixture_error": float(above.errors[k, j]),
                    "above_mixture_told": bool(theirs[k, j]),
                }
                for j, target in enumerate(measured.targets)
            }
            for k, task in enumerate(measured.tasks)
        },
    }
    write_atomically(run / RECORDS / EFFECTS, json.dumps(content, indent=2) + "\n")


def _fall(task: Mapping[str, Any]) -> float | None:
    first, last = task["first_validation_loss"], task["last_validation_loss"]
    return None if first is None or last is None else first - last


def read_effects(run: Path) -> dict[str, Any] | None:
    """The content of `effects.json`; None where nobody has measured them.

    Raises:
        ValueError: the file is damaged.
    """
    file = run / RECORDS / EFFECTS
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{file}: is damaged ({error}); measure again with `adapt-axolotl effects {run}`"
        ) from error
    return content


def effects_table(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """(header, rows): a row a task, a column a target; the first row is of the whole mixture, the
    others stand by their largest effect."""
    targets = list(content["mixture"])
    digits = _digits(content)
    rows = [
        [ALL_TASKS, *(_number(content["mixture"][target], digits) for target in targets)],
        *(
            [task, *(_cell(of_targets[target], digits) for target in targets)]
            for task, of_targets in sorted(
                content["tasks"].items(),
                key=lambda item: -max(one["above_mixture"] for one in item[1].values()),
            )
        ),
    ]
    return ["task", *targets], rows


def _digits(content: Mapping[str, Any]) -> int:
    """Behind the point, so that the typical error has one that counts."""
    errors = [one["error"] for of in content["tasks"].values() for one in of.values()]
    typical = float(np.median(errors))
    return 3 if not typical > 0 else int(np.clip(-np.floor(np.log10(typical)), 0, 9))


def _number(one: Mapping[str, Any], digits: int) -> str:
    return f"{one['fall']:.{digits}f} ± {one['error']:.{digits}f}"


def _cell(one: Mapping[str, Any], digits: int) -> str:
    number = _number(one, digits) if one["told"] else f"({_number(one, digits)})"
    if not one["above_mixture_told"]:
        return number
    return f"{number} {MORE if one['above_mixture'] > 0 else LESS}"


def summary(content: Mapping[str, Any]) -> str:
    """In sentences: what was measured, and how far its sum is from what the run did."""
    falls = ", ".join(
        f"{target} {one['fall_of_all_steps']:.2f} ("
        + ("n/a" if one["measured_fall"] is None else f"{one['measured_fall']:.2f}")
        + ")"
        for target, one in content["mixture"].items()
    )
    left_out = ""
    if content["left_out"]:
        left_out = f" Not measured, for want of rows: {', '.join(content['left_out'])}."
    return (
        f"A step has about {content['tokens_of_a_step']:,.0f} supervised tokens. Measured at "
        f"{len(content['checkpoints'])} checkpoints on {content['rows']} rows of each task and "
        "target. What steps undo of each other, and what their noise costs, is left out: compare "
        "tasks, and do not add up. All "
        f"steps together, and in brackets how far the loss fell: {falls}. "
        f"{_over_checkpoints(content)}{left_out}"
    )


def _over_checkpoints(content: Mapping[str, Any]) -> str:
    """Whether what tasks do to a target is of the run, or of its moments."""
    # Records of before it was asked have none.
    chances = {
        target: one.get("chance_over_checkpoints") for target, one in content["mixture"].items()
    }
    known = {target: chance for target, chance in chances.items() if chance is not None}
    if not known:
        return (
            f"With {LEAST_CHECKPOINTS} checkpoints or more it would also say whether tasks differ "
            "alike at all of them."
        )
    said = ", ".join(f"{target} {chance:.2f}" for target, chance in known.items())
    return (
        "How often tasks would differ so alike from checkpoint to checkpoint by chance, which the "
        f"errors do not tell: {said}; above {FALSE_SHARE:g} another run may say otherwise."
    )
