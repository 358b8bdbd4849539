"""Write docs/results.md from the runs under runs/, so that no figure in it is typed by hand.

make results        trains the tiny and the real recipes (ADAPT_TEST_DATA must be set), then this
"""

from __future__ import annotations

import json
import shutil
import statistics
from pathlib import Path

import yaml

from adapt_axolotl.commands.show import markdown_table
from adapt_common.run_records import read_ledger
from adapt_eval.report.markdown import table

ROOT = Path(__file__).resolve().parent.parent
KINDS = ("adapt", "uniform", "proportional")
SEEDS = (42, 1, 2)  # as in the Makefile; the recipes' own first, shown task by task

TEXT = """\
# Results

The recipes as they are, learned with the default settings. Controls and more seeds, on tasks that
small models learn better, are in [learned_signal.md](learned_signal.md).

Written by `benchmarks/results.py` from finished runs; `make results` makes them again. Tables by
task are of one seed, those by seed of {count}: seeds differ by more than some of the differences
below, so a difference here describes these runs and need not hold for other seeds. Loss is per
supervised token; the last over as many validation rows of each task as take 1 % of the run, the
first, that of the untrained model, over at most 32.

Versions: {versions}. Machine: 2 CPU cores, no GPU, one thread a run.

## The tiny recipe

```bash
export OMP_NUM_THREADS=1
adapt-axolotl tiny data/tiny
axolotl train recipes/adapt_tiny_cpu.yml          # and uniform_, proportional_
adapt-axolotl show --markdown {tiny_runs}
```

{tiny}

{tiny_note}

Mean of the last losses over tasks, by seed (`--seed N --output-dir ...`):

{tiny_seeds}

## Twenty real tasks at a 5 % budget

20 tasks of instruction data, the tiny model from scratch, so losses are those of a model that has
hardly learned English; what the table shows is that budgets, accounts and mixing hold on real data.
Rows beyond 1,024 tokens of the tiny tokenizer are left out: nearly all multi-hop questions, most of
the narrative ones.

```bash
export ADAPT_TEST_DATA=DIR
axolotl train recipes/adapt_real_cpu.yml          # and uniform_, proportional_
adapt-axolotl show --markdown {real_runs}
```

{real}

{real_note}

Mean of the last losses over tasks, by seed:

{real_seeds}
"""

HEADS = ("", "learned", "uniform", "proportional")


def run_folder(kind: str, group: str, seed: int) -> Path:
    suffix = "" if seed == SEEDS[0] else f"_seed{seed}"
    return ROOT / "runs" / f"{kind}_{group}_cpu{suffix}"


def mean_loss(run: Path) -> float:
    """Of the last losses, over all tasks."""
    return statistics.fmean(one["last_validation_loss"] for one in tasks(run))


def tasks(run: Path) -> list[dict[str, float]]:
    return list(read_ledger(run)["tasks"].values())


def over_seeds(kind: str, group: str) -> str:
    """Mean and standard deviation of `mean_loss`."""
    losses = [mean_loss(run_folder(kind, group, seed)) for seed in SEEDS]
    return f"{statistics.fmean(losses):.3f} ± {statistics.stdev(losses):.3f}"


def by_seed(group: str) -> str:
    """A line a seed."""
    rows = [
        (str(seed), *(f"{mean_loss(run_folder(kind, group, seed)):.3f}" for kind in KINDS))
        for seed in SEEDS
    ]
    rows.append(("mean ± standard deviation", *(over_seeds(kind, group) for kind in KINDS)))
    return table(("seed", *HEADS[1:]), rows, {1, 2, 3})


def share_of_meta_steps(run: Path) -> str:
    timing = json.loads((run / "adapt" / "timing.json").read_text())
    return f"{timing['meta_steps'] / timing['training']:.1%}"


def note(runs: list[Path]) -> str:
    """What the learned run spent on meta steps, in a sentence, from the same files."""
    ledger = read_ledger(runs[0])
    history = (runs[0] / "adapt" / "history.jsonl").read_text().splitlines()
    estimators = sorted({json.loads(line)["estimator"] for line in history})
    return (
        f"Within the learned run, {len(history)} meta steps ({', '.join(estimators)}) took "
        f"{share_of_meta_steps(runs[0])} of the time before the training forward; they read "
        f"{ledger['meta_tokens']:,} supervised tokens beside the {ledger['used']:,} trained. The "
        "seconds come from separate processes on a shared machine and cannot be compared; "
        "[cost.md](cost.md) has ratios that can."
    )


def main() -> None:
    runs = {
        group: [run_folder(kind, group, SEEDS[0]) for kind in KINDS] for group in ("tiny", "real")
    }
    config = yaml.safe_load((runs["tiny"][0] / "adapt" / "config.yml").read_text())
    versions = ", ".join(f"{k} {v}" for k, v in config["versions"].items() if v)
    text = TEXT.format(
        versions=versions,
        count=len(SEEDS),
        tiny=markdown_table(runs["tiny"]),
        tiny_note=note(runs["tiny"]),
        tiny_seeds=by_seed("tiny"),
        tiny_runs=" ".join(f"runs/{run.name}" for run in runs["tiny"]),
        real=markdown_table(runs["real"]),
        real_note=note(runs["real"]),
        real_seeds=by_seed("real"),
        real_runs=" ".join(f"runs/{run.name}" for run in runs["real"]),
    )
    (ROOT / "docs" / "results.md").write_text(text, encoding="utf-8")
    for group, paths in runs.items():
        shutil.copy(paths[0] / "adapt" / "mixture.png", ROOT / "docs" / f"mixture_{group}.png")


if __name__ == "__main__":
    main()
