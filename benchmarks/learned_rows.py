"""Does drawing rows by their losses help, and does it find the wrong ones? On the study's data.

    python benchmarks/learned_rows.py DIR/study --seeds 1 2 3 4 5

Each task is cut to rows of so many supervised tokens, which a run passes over several times, as
fine-tuning on little data does. Regimes: `wrong answers` (the answers of a tenth of each task's
training rows shuffled among them; validation and test rows are right) and `clean`. Arms: rows drawn
uniformly or learned, tasks mixed uniformly. Appends a line for each run to
docs/measured/learned_rows.jsonl and passes over those that stand there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from learned_signal import lines, numbers
from study import train
from study_data import BIN, Data, StudyRows, read, tokenizer_of
from study_regimes import Example
from tokenizers import Tokenizer

FILE = Path(__file__).parents[1] / "docs" / "measured" / "learned_rows.jsonl"
REGIMES = ("wrong answers", "clean")
ARMS = ("uniform", "learned")
WRONG = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=REGIMES)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--tokens", type=int, default=4000, help="supervised ones of each task")
    parser.add_argument("--passes", type=float, default=4.0)
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed in arguments.seeds:
        for name in arguments.regimes:
            data, wrong = regime(arguments.folder, name, arguments.tokens, seed)
            for arm in arguments.arms:
                key = {
                    "regime": name,
                    "arm": arm,
                    "seed": seed,
                    "tokens": arguments.tokens,
                    "passes": arguments.passes,
                }
                if any(key.items() <= line.items() for line in lines(arguments.file)):
                    continue
                pools = data.train.pools
                outcome = train(
                    data,
                    seed=seed,
                    budget=int(arguments.passes * pools.available_tokens.sum()),
                    bins=1,
                    learn_rows=arm == "learned",
                )
                scores = outcome.row_scores
                found = None if scores is None or not wrong.any() else found_of(scores, wrong)
                line = {**key, "found": found, **numbers(outcome)}
                with arguments.file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(
                    f"{name} {arm} {seed}: loss {outcome.losses.mean():.4f}, "
                    f"exact {outcome.exact.mean():.4f}, found {found}",
                    flush=True,
                )


def found_of(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Share of the wrong rows that are in the tenth of the highest scores."""
    highest = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    return float(wrong[highest[: len(scores) // 10]].sum() / wrong.sum())


def regime(folder: Path, name: str, tokens: int, seed: int) -> tuple[Data, np.ndarray]:
    """The data, and (N,) which training rows have a wrong answer."""
    tokenizer = tokenizer_of(folder)
    rng = np.random.default_rng(seed)
    training = cut(read(folder, "train"), tokenizer, tokens, rng)
    wrong = np.zeros(len(training), dtype=bool)
    if name == "wrong answers":
        training, wrong = with_wrong_answers(training, rng)
    validation, test = (read(folder, split) for split in ("validation", "test"))
    names = tuple(sorted({task for task, _, _ in validation}))
    rows = [StudyRows(examples, tokenizer, names) for examples in (training, validation, test)]
    assert len(rows[0].pools.lengths) == len(training)
    return Data(*rows), wrong


def cut(
    examples: list[Example], tokenizer: Tokenizer, tokens: int, rng: np.random.Generator
) -> list[Example]:
    """Rows of each task drawn at random up to so many supervised tokens."""
    kept = []
    for task in dict.fromkeys(task for task, _, _ in examples):
        own = [example for example in examples if example[0] == task]
        left = tokens
        for place in rng.permutation(len(own)).tolist():
            _, question, answer = own[place]
            supervised = len(tokenizer.encode(answer).ids) + 1
            if len(tokenizer.encode(question).ids) + 2 + supervised > BIN:
                continue
            left -= supervised
            if left < 0:
                break
            kept.append(own[place])
    return kept


def with_wrong_answers(
    examples: list[Example], rng: np.random.Generator
) -> tuple[list[Example], np.ndarray]:
    """The answers of a tenth of each task's rows go round among them; a row whose answer is the
    same after that is not wrong."""
    answers = np.array([answer for _, _, answer in examples], dtype=object)
    moved = answers.copy()
    for task in dict.fromkeys(task for task, _, _ in examples):
        own = np.flatnonzero([one == task for one, _, _ in examples])
        some = rng.choice(own, round(WRONG * len(own)), replace=False)
        moved[some] = answers[np.roll(some, 1)]
    changed = [
        (task, question, answer)
        for (task, question, _), answer in zip(examples, moved.tolist(), strict=True)
    ]
    return changed, moved != answers


if __name__ == "__main__":
    main()
