"""Twenty tasks with one right answer each, tokenised: what the runs of `study.py` read. K tasks.

They lie in `DIR/study/<task>/{train,validation,test}.jsonl` (chat format).
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from study_metrics import VOCABULARY
from study_regimes import Example, changed
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_common.files import write_atomically

BIN = 512


class StudyRows:
    """Tokenised rows of these tasks, indexable as `datasets.Dataset` is, and their pools."""

    def __init__(
        self, examples: list[Example], tokenizer: Tokenizer, names: tuple[str, ...]
    ) -> None:
        number = {name: k for k, name in enumerate(names)}
        self._ids: list[list[int]] = []
        self._labels: list[list[int]] = []
        tasks = []
        for task, question, answer in examples:
            asked = [1, *tokenizer.encode(question).ids, 2]
            said = [*tokenizer.encode(answer).ids, 3]
            if len(asked) + len(said) <= BIN:
                self._ids.append(asked + said)
                self._labels.append([-100] * len(asked) + said)
                tasks.append(number[task])
        supervised = np.array([sum(label != -100 for label in row) for row in self._labels])
        lengths = np.array([len(row) for row in self._ids])
        self.pools = TaskPools(names, np.array(tasks), supervised, lengths)

    def __getitem__(self, rows: list[int]) -> dict[str, list[list[int]]]:
        return {
            "input_ids": [self._ids[row] for row in rows],
            "labels": [self._labels[row] for row in rows],
        }

    def digest(self) -> str:
        """Of tokens and labels, in their order."""
        found = hashlib.sha256()
        for ids, labels in zip(self._ids, self._labels, strict=True):
            found.update(np.array([len(ids), *ids, *labels]).tobytes())
        return found.hexdigest()

    def measuring(self, device: torch.device | None = None) -> MeasuringRows:
        return MeasuringRows(
            self,
            self.pools,
            pad_token_id=0,
            micro_batch_tokens=2 * BIN,
            device=device or torch.device("cpu"),
        )


def read(folder: Path, split: str) -> list[Example]:
    """All examples of a split, task by task."""
    examples = []
    for task in sorted(place.name for place in folder.iterdir() if place.is_dir()):
        text = (folder / task / f"{split}.jsonl").read_text(encoding="utf-8")
        for line in text.splitlines():
            question, answer = (message["content"] for message in json.loads(line)["messages"])
            examples.append((task, question, answer))
    return examples


@cache
def tokenizer_of(folder: Path) -> Tokenizer:
    """A byte-level BPE of the first 3,000 training rows of each task."""
    seen: dict[str, int] = {}
    texts = []
    for task, question, answer in read(folder, "train"):
        seen[task] = seen.get(task, 0) + 1
        if seen[task] <= 3000:
            texts += [question, answer]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<user>", "<assistant>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True)
class Data:
    """Rows of one regime; test rows only where its tasks are those of the study."""

    train: StudyRows
    validation: StudyRows
    test: StudyRows

    def digest(self) -> str:
        """Of the tokens and labels of training and validation rows, 16 letters."""
        return hashlib.sha256(
            (self.train.digest() + self.validation.digest()).encode()
        ).hexdigest()[:16]


def prepare(folder: Path, regimes: Sequence[str], place: Path) -> None:
    """Tokenise the rows of these regimes once, for all runs: `place/REGIME.pickle`."""
    for regime in regimes:
        file = place / f"{regime}.pickle"
        if not file.exists():
            write_atomically(file, pickle.dumps(data_of(folder, regime)))


def prepared(place: Path, regime: str) -> Data:
    """What `prepare` has left, which are files of our own."""
    data = pickle.loads((place / f"{regime}.pickle").read_bytes())
    assert isinstance(data, Data)
    return data


def data_of(folder: Path, regime: str) -> Data:
    """The rows of a regime (`study_regimes.py`).

    Raises:
        ValueError: there is no such regime.
    """
    splits = [
        changed(read(folder, split), regime, split) for split in ("train", "validation", "test")
    ]
    tasks = tuple(sorted({task for task, _, _ in splits[1]}))
    return Data(*(StudyRows(rows, tokenizer_of(folder), tasks) for rows in splits))
