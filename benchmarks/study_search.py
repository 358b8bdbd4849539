"""Search for the best static mixture in hindsight in each regime of the study.

    python benchmarks/study_search.py DIR/study [--regimes natural,balanced]

Appends a line for each run to docs/measured/study_search.jsonl and passes over those that stand
there, so it can be stopped, and started twice for two cores (with other regimes). How it searches
is in `static_search.py`; all runs have uniform mixing's learning rate and a seed of their own. The
study runs what was found, with its own seeds, as the arms `searched_*`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from static_search import SEED, mixture
from study import train
from study_data import data_of
from study_searched import FILE, REGIMES, arms, runs_of

BUDGET = 0.05  # the share of the study's tokens at which it says most
# That of uniform mixing in the study (`study_grid.rates`).
LEARNING_RATE = 1.5e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="DIR/study, a folder of rows a task")
    parser.add_argument("--regimes", default=",".join(REGIMES), help="balanced, noise, duplicates")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for regime in given.regimes.split(","):
        search(given.folder, regime)


def search(folder: Path, regime: str) -> None:
    """Run what is not there yet of the search in a regime."""
    data = data_of(folder, regime)
    natural = data if regime == "natural" else data_of(folder, "natural")
    tokens = int(BUDGET * natural.train.pools.available_tokens.sum())
    tasks = data.train.pools.tasks
    for arm in arms(regime):
        known = runs_of(regime)
        if any(run["arm"] == arm for run in known):
            continue
        shares = None if arm == "uniform" else mixture(arm, known, len(tasks))
        outcome = train(
            data,
            seed=SEED,
            budget=tokens,
            bins=1,
            initial=shares,
            learning_rate=LEARNING_RATE,
        )
        line = {
            "regime": regime,
            "arm": arm,
            "learning_rate": LEARNING_RATE,
            "tasks": list(tasks),
            "average": [float(f"{share:.6g}") for share in outcome.average],
            "losses": [float(f"{loss:.6g}") for loss in outcome.losses],
        }
        with FILE.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{regime} {arm}: loss {outcome.losses.mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
