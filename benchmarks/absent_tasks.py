"""How to score tasks that a training step holds no row of: by the last score that was read off a
backward, or by rows drawn for it. A measurement behind `ROWS_PER_TASK_IN_BACKWARD`.

    python benchmarks/absent_tasks.py [--seeds 3] [--budget 15000]

The nine made tasks on the tiny model, at the default schedule, with steps of fewer rows than tasks
and of more. What counts is the mean validation loss at the end, over all tasks but the one that
cannot be learned; mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from plain_run import PlainRun, Rows
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from adapt_axolotl.commands.tiny import write_tiny
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.metagradient.estimators import estimator as estimator_of

UNLEARNABLE = "noise"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=15_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        write_tiny(Path(place))
        train, validation = read(Path(place), "train"), read(Path(place), "validation")
        count = len(train.pools.tasks)
        print(f"{count} made tasks, {arguments.budget:,} supervised tokens")
        print("| rows a step | a task | task scores | mean last loss |")
        print("| ---: | ---: | --- | ---: |")
        for rows in (4, 16):
            for estimator in (None, "in_backward", "finite_difference"):
                losses = [
                    last_loss(
                        Path(place), train, validation, rows, estimator, arguments.budget, seed
                    )
                    for seed in range(arguments.seeds)
                ]
                print(
                    f"| {rows} | {rows / count:.2f} | {estimator or 'none: uniform'} | "
                    f"{statistics.mean(losses):.3f} ± {statistics.stdev(losses):.3f} |",
                    flush=True,
                )


def read(folder: Path, split: str) -> Rows:
    """Tokenised; the assistant's answer is supervised."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    ids, labels, task_of_row = [], [], []
    names = tuple(sorted(file.name for file in (folder / "data").iterdir()))
    for number, name in enumerate(names):
        text = (folder / "data" / name / f"{split}.jsonl").read_text(encoding="utf-8")
        for line in text.splitlines():
            asked, answer = json.loads(line)["messages"]
            prompt = tokenizer.apply_chat_template(
                [asked], add_generation_prompt=True, return_dict=False
            )
            whole = tokenizer.apply_chat_template([asked, answer], return_dict=False)
            assert whole[: len(prompt)] == prompt
            ids.append(whole)
            labels.append([-100] * len(prompt) + whole[len(prompt) :])
            task_of_row.append(number)
    lengths = np.array([len(row) for row in ids])
    supervised = np.array([sum(label != -100 for label in row) for row in labels])
    pools = TaskPools(names, np.array(task_of_row), supervised, lengths)
    return Rows(Dataset.from_dict({"input_ids": ids, "labels": labels}), pools)


def last_loss(
    folder: Path,
    train: Rows,
    validation: Rows,
    rows_per_step: int,
    estimator: str | None,
    budget: int,
    seed: int,
) -> float:
    """Mean over the tasks that can be learned, at the end."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder / "model"))
    tokens = float(train.pools.supervised_tokens.mean())
    run = PlainRun(
        model,
        train,
        validation,
        budget=budget,
        steps=int(budget / tokens / rows_per_step),
        rows_per_step=rows_per_step,
        estimator=None if estimator is None else estimator_of(estimator),
        learning_rate=3e-3 * (rows_per_step / 32) ** 0.5,
        seed=seed,
    )
    while run.step():
        pass
    run.finish()
    losses = run.run.last_losses
    assert losses is not None
    learnable = [name != UNLEARNABLE for name in train.pools.tasks]
    return float(losses[learnable].mean())


if __name__ == "__main__":
    main()
