"""A target that no task trains on: weights for a second run by what tasks did to it in a first one.

    python benchmarks/absent_targets.py DIR/study --seeds 1 2 3 4 5
    python benchmarks/absent_tables.py

Sixteen tasks of the study train a Qwen3 of a million parameters from scratch; `TARGETS` are left
out of all training. Two of them are inflections in Latin script, as four of the training tasks are;
Greek pronunciations share their sounds with other tasks and their letters with none; nothing else
navigates (`scan`).

1. `uniform`: a first run. At `CHECKPOINTS` moments `ROWS` rows of each task and target tell what a
   step on the task does to the target, as `adapt-axolotl effects` does it.
2. `weights TARGET`: a second run with the same seed and the weights of `next_weights.py`.
   Where these are all 1 it would be the first one again, and is not run.
3. `permuted TARGET`: the same weights, given to other tasks.
4. `kin KIND`: four times the share for the tasks whose names begin so, as those of targets do.

Appends a line a run to docs/measured/absent_targets.jsonl and passes over those that stand there.
`absent_tables.py` prints what docs/learned_signal.md has of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from next_weights import next_weights
from study_calibration import by_temperature
from study_data import BIN, StudyRows, read, tokenizer_of
from study_model import make_model, make_optimizer, tested, train_to_the_end

from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.meta_step.row_groups import RowGroups
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.group_products import group_products
from adapt_axolotl.metagradient.step_sizes import adam_step_sizes
from adapt_axolotl.mixture.effects import of_group_products
from adapt_axolotl.run.plan import RunPlan
from adapt_axolotl.run.state import AdaptRun
from adapt_axolotl.sampling.batches import BlockShape

FILE = Path(__file__).parents[1] / "docs" / "measured" / "absent_targets.jsonl"
TARGETS = ("inflect_spanish", "inflect_finnish", "g2p_greek", "scan")
ARMS = ("uniform", "weights", "permuted", "kin")
CHECKPOINTS, ROWS = 20, 16
BUDGET, LEARNING_RATE, KIN = 0.05, 1.5e-3, 4.0

Line = dict[str, Any]


class AbsentTargets:
    """Runs over the tasks of the study without `TARGETS`."""

    def __init__(self, folder: Path) -> None:
        rows = {split: read(folder, split) for split in ("train", "validation", "test")}
        every = tuple(sorted({task for task, _, _ in rows["validation"]}))
        self.tasks = tuple(task for task in every if task not in TARGETS)
        tokenizer = tokenizer_of(folder)
        whole = StudyRows(rows["train"], tokenizer, every)
        self._budget = int(BUDGET * whole.pools.available_tokens.sum())
        self._training = StudyRows(
            [row for row in rows["train"] if row[0] in self.tasks], tokenizer, self.tasks
        )
        self._validation = StudyRows(
            [row for row in rows["validation"] if row[0] in TARGETS], tokenizer, TARGETS
        )
        self._test = StudyRows(rows["test"], tokenizer, every)

    def run(self, seed: int, weights: np.ndarray | None = None) -> Line:
        """To its end. weights: (K,) of the tasks; None for a first run, which measures effects."""
        shares = np.ones(len(self.tasks)) if weights is None else weights
        plan = RunPlan(
            pools=self._training.pools,
            budget=self._budget,
            shape=BlockShape(1, 1, BIN),
            unit="tokens",
            ordered=False,
            seed=seed,
            max_repeats=None,
            charge_meta_tokens=True,
            initial=shares / shares.sum(),
            max_steps=None,
        )
        model = make_model(seed)
        optimizer = make_optimizer(model)
        # Of a static mixture losses say nothing to the run itself.
        run = AdaptRun(plan, None, lambda rows: np.ones(len(self.tasks)), None)
        effects: list[np.ndarray] = []
        read_tokens = 0

        def look(seconds: float) -> None:
            nonlocal read_tokens
            if weights is None and run.progress >= (len(effects) + 0.5) / CHECKPOINTS:
                found, tokens = self._effects(model, optimizer, len(effects), seed)
                effects.append(found)
                read_tokens += tokens

        run.start()
        rows = self._training.measuring()
        train_to_the_end(run, model, optimizer, rows, LEARNING_RATE, after_step=look)
        losses, exact = tested(model, self._test)
        line = {
            "tokens": run.ledger.used,
            "losses": by_task(self._test, losses),
            "exact": by_task(self._test, exact),
            **self.beyond_losses(model),
        }
        if weights is None:
            return line | {
                "read_tokens": read_tokens,
                # (M, K) of each target
                "effects": {
                    target: [[rounded(one) for one in row] for row in np.array(effects)[:, :, j]]
                    for j, target in enumerate(TARGETS)
                },
            }
        named = zip(self.tasks, weights, strict=True)
        return line | {"weights": {task: rounded(one) for task, one in named}}

    def beyond_losses(self, model: torch.nn.Module) -> Line:
        """What a loss hides where a model is sure of what is wrong. Of the test rows: `right`, the
        share of tokens that are the likeliest after the right ones; `calibrated`, the loss with
        logits divided by the temperature that is best on the target's validation rows."""
        cooled, _ = by_temperature(model, self._validation)
        losses, right = by_temperature(model, self._test)
        every = self._test.pools.tasks
        best = dict(zip(TARGETS, cooled.argmin(axis=1), strict=True))
        return {
            "right": by_task(self._test, right),
            "calibrated": {
                target: rounded(losses[every.index(target), best[target]]) for target in TARGETS
            },
        }

    def _effects(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, turn: int, seed: int
    ) -> tuple[np.ndarray, int]:
        """(K, J) at this moment, and supervised tokens read for it."""

        def groups(rows: MeasuringRows, of: RowGroups) -> list[list[Any]]:
            return [[rows.batch(part) for part in rows.parts(group)] for group in of.at(turn)]

        training, validation = self._training.measuring(), self._validation.measuring()
        parameters = list(model.parameters())
        with evaluation_mode(model):
            found = group_products(
                model,
                parameters,
                adam_step_sizes(optimizer, parameters),
                [
                    groups(validation, RowGroups(self._validation.pools, target, ROWS, seed))
                    for target in range(len(TARGETS))
                ],
                [
                    groups(training, RowGroups(self._training.pools, task, ROWS, seed))
                    for task in range(len(self.tasks))
                ],
            )
        arrays = (found.products, found.target_tokens, found.task_tokens)
        tokens = int(found.target_tokens.sum() + found.task_tokens.sum())
        return of_group_products(*(one.numpy() for one in arrays)).values, tokens


def by_task(rows: StudyRows, values: np.ndarray) -> dict[str, float]:
    return {task: rounded(one) for task, one in zip(rows.pools.tasks, values, strict=True)}


def rounded(number: float) -> float:
    return float(f"{number:.6g}")


def lines() -> list[Line]:
    return (
        [json.loads(line) for line in FILE.read_text("utf-8").splitlines()] if FILE.exists() else []
    )


def kind(task: str) -> str:
    return task.split("_")[0]


def asked(arm: str, targets: Sequence[str]) -> list[str | None]:
    """What the runs of an arm are for: nothing, targets, or kinds of them."""
    if arm == "uniform":
        return [None]
    return list(dict.fromkeys(map(kind, targets))) if arm == "kin" else list(targets)


def of_effects(first: Line, target: str) -> np.ndarray:
    """(K,) weights by a first run."""
    effects = np.array(first["effects"][target])
    return next_weights(effects, np.full(effects.shape[1], 1 / effects.shape[1])).weights


def arm_weights(arm: str, target: str, first: Line, tasks: tuple[str, ...]) -> np.ndarray:
    """(K,)."""
    if arm == "kin":
        return np.array([KIN if kind(task) == target else 1.0 for task in tasks])
    weights = of_effects(first, target)
    order = np.random.default_rng(first["seed"]).permutation(len(weights))
    return weights[order] if arm == "permuted" else weights


def trained(line: Line) -> float:
    """Mean loss of the tasks that were trained on."""
    return float(np.mean([loss for task, loss in line["losses"].items() if task not in TARGETS]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runs = AbsentTargets(arguments.folder)
    for arm in arguments.arms:
        for target in asked(arm, arguments.targets):
            for seed in arguments.seeds:
                known = lines()
                key = {"seed": seed, "arm": arm, "target": target}
                if any(key.items() <= line.items() for line in known):
                    continue
                weights = None
                if target is not None:
                    uniform = {"seed": seed, "arm": "uniform"}.items()
                    first = next(line for line in known if uniform <= line.items())
                    weights = arm_weights(arm, target, first, runs.tasks)
                    if (weights == 1).all():
                        print(f"{arm} {target} {seed}: nothing stands out", flush=True)
                        continue
                line = key | runs.run(seed, weights)
                with FILE.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                told = {one: line["losses"][one] for one in TARGETS}
                print(f"{arm} {target} {seed}: {told}, trained {trained(line):.3f}", flush=True)


if __name__ == "__main__":
    main()
