"""Is a learned mixture more than noise? Runs on the study's data.

    python benchmarks/learned_signal.py DIR/study --arms uniform learned --seeds 1 2 3 4 5
    python benchmarks/learned_signal.py DIR/study --regime clones --arms learned --seeds 1 2 3

Appends a line for each run to docs/measured/learned_signal.jsonl and passes over those that stand
there, so that it can be stopped, and started twice for two cores (with other seeds). What the runs
say is written by `signal_tables.py`.

Regimes (`study_regimes.py`): `study`, `clones`, `null`, `noise`, `duplicates`, `without TASK` (it
is a target, and its training rows are left out).

Arms: `uniform`, `proportional`, `temperature` (3); `learned` (the defaults), and by other measures,
rules and objectives (`ARMS`); `oracle`, which measures 100 validation rows of each task wherever
the default looks at what training gave it; controls: `replay` (the average of `learned` of the same
seed, as a static mixture), `permuted` (the same with its tasks permuted), `walk` (a random walk as
far as `learned` of the same seed got), `related` (without a task: four times the share for those
whose name begins like its own); and what a search for the best static mixture runs and finds
(`static_search.py`).
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import static_search
import torch
from signal_tables import FILE, Line, lines
from study import Outcome, train
from study_data import Data, data_of
from study_learners import Learning
from study_regimes import TARGETS, WITHOUT

from adapt_axolotl.data.pools import TaskPools

# Of its loss under uniform mixing, what other tasks may end at for `others kept`.
KEPT = 1.1

# Of the mixture in a run, about: log(1 / start_after) / log(growth of an interval), but for the
# first ones, which no line is fitted to.
MOVES = 16

ARMS: dict[str, Learning | None] = {
    "uniform": None,
    "proportional": None,
    "temperature": None,
    "replay": None,
    "permuted": None,
    "walk": Learning(),
    "related": None,
    "learned": Learning(),
    "learned, mean": Learning(objective="mean"),
    "learned, beta 1": Learning(beta=1.0),
    "learned, cvar": Learning(objective="cvar"),
    "learned, alpha_fair": Learning(objective="alpha_fair"),
    "learned, beta 1, lambda 0.1": Learning(beta=1.0, entropy_weight=0.1),
    "learned, targets": Learning(objective="mean"),
    "learned, targets at 12%": Learning(objective="mean", overhead=0.12),
    "learned, targets, others kept": Learning(objective="mean"),
    "oracle": Learning(oracle_rows=100),
    "loss_falls": Learning(measure="loss_falls"),
    "products": Learning(measure="products"),
    "products, steps": Learning(measure="products", rule="steps", objective="relative"),
}
FOUND = {f"searched, {goal}": goal for goal in static_search.GOALS}
STATIC_KEPT = "proposed, targets, others kept"
SEARCH = (*static_search.RANDOM, *static_search.PROPOSED, *FOUND, STATIC_KEPT)
ARMS |= dict.fromkeys(SEARCH)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--regime", default="study")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--budget", type=float, default=0.05, help="share of all supervised tokens")
    parser.add_argument("--bins", type=int, default=1, help="of 512 tokens in an optimizer step")
    parser.add_argument(
        "--uncharged", action="store_true", help="meta tokens come on top of the budget"
    )
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        data = data_of(arguments.folder, arguments.regime)
    except ValueError as error:
        raise SystemExit(f"--regime: {error}") from error
    for seed in arguments.seeds:
        for arm in arguments.arms:
            key = {
                "regime": arguments.regime,
                "arm": arm,
                "seed": seed,
                "budget": arguments.budget,
                "bins": arguments.bins,
                "charged": not arguments.uncharged,
            }
            known = lines(arguments.file)
            if any(key.items() <= line.items() for line in known):
                continue
            outcome = one_run(data, key, known)
            line = {**key, "tasks": list(data.train.pools.tasks), **numbers(outcome)}
            with arguments.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(
                f"{arguments.regime} {arm} {seed}: loss {outcome.losses.mean():.3f}, "
                f"exact {outcome.exact.mean():.3f}, over noise {outcome.over_noise:.2f}",
                flush=True,
            )


def one_run(data: Data, key: Line, known: list[Line]) -> Outcome:
    pools = data.train.pools
    arm, seed = key["arm"], key["seed"]
    return train(
        data,
        seed=seed,
        budget=int(key["budget"] * pools.available_tokens.sum()),
        bins=key["bins"],
        charged=key["charged"],
        initial=(
            from_search(key, known, len(pools.tasks))
            if arm in SEARCH
            else static(key, pools, known)
        ),
        learning=how(key, known),
    )


def from_search(key: Line, known: list[Line], count: int) -> np.ndarray:
    """The shares of an arm of the search, or of what it found."""
    same = {name: key[name] for name in ("regime", "budget", "bins")}
    wanted = {"seed": static_search.SEED, **same}.items()
    runs = [line for line in known if wanted <= line.items() and line["arm"] not in FOUND]
    if key["arm"] == STATIC_KEPT:
        return static_search.proposal("targets", runs, kept=KEPT)
    if key["arm"] in FOUND:
        return np.array(list(static_search.best(FOUND[key["arm"]], runs).values()))
    return static_search.mixture(key["arm"], runs, count)


def how(key: Line, known: list[Line]) -> Learning | None:
    """How the arm learns in this regime."""
    arm, learning = key["arm"], ARMS[key["arm"]]
    if learning is None:
        return None
    if arm == "walk":
        return walk(key, known)
    if not arm.startswith("learned, targets"):
        return learning
    if key["regime"].startswith(WITHOUT):
        target = key["regime"].removeprefix(WITHOUT)
        return replace(learning, measure="products", targets=(target,))
    if arm.endswith("others kept"):
        uniform = other_line(key, "uniform", known)
        bounds = (
            math.nan if task in TARGETS else KEPT * loss
            for task, loss in zip(uniform["tasks"], uniform["losses"], strict=True)
        )
        learning = replace(learning, bounds=tuple(bounds))
    return replace(learning, targets=TARGETS)


def other_line(key: Line, arm: str, known: list[Line]) -> Line:
    """The run of another arm that this one needs, all else being equal."""
    other = {**key, "arm": arm}
    found = [line for line in known if other.items() <= line.items()]
    if not found:
        raise SystemExit(f"{key['arm']}: run the arm {arm} with seed {key['seed']} first")
    return found[0]


def walk(key: Line, known: list[Line]) -> Learning:
    """A random walk that ends as far from uniform as `learned` did."""
    final = np.array(other_line(key, "learned", known)["final"])
    return Learning(walk=float(np.log(final).std() / MOVES**0.5))


def static(key: Line, pools: TaskPools, known: list[Line]) -> np.ndarray | None:
    """The shares of a static arm; None for uniform ones."""
    arm, available = key["arm"], pools.available_tokens
    if arm in ("proportional", "temperature"):
        heated = available ** (1.0 if arm == "proportional" else 1 / 3)
        return np.asarray(heated / heated.sum())
    if arm == "related":
        kind = key["regime"].removeprefix(WITHOUT).split("_")[0]
        shares = (available > 0) * [4.0 if task.startswith(kind) else 1.0 for task in pools.tasks]
        return np.asarray(shares / shares.sum())
    if arm not in ("replay", "permuted"):
        return None
    average = np.array(other_line(key, "learned", known)["average"])
    order = np.random.default_rng(key["seed"]).permutation(len(average))
    return average if arm == "replay" else average[order]


def numbers(outcome: Outcome) -> Line:
    """As JSON has it."""
    line = asdict(outcome)
    del line["row_scores"]  # one for each training row
    for key, value in line.items():
        if isinstance(value, np.ndarray):
            line[key] = [float(f"{number:.6g}") for number in value]
        elif isinstance(value, float):
            line[key] = float(f"{value:.6g}") if np.isfinite(value) else None
    return line


if __name__ == "__main__":
    main()
