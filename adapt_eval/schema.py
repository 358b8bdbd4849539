"""What `adapt-eval` writes, to disk and to stdout, as types.

The names of the keys are a contract: keys are added, never renamed. Keys that this version does not
know are kept, so files of other versions can be read.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat

FORMAT = 1  # of a benchmark's result

# JSON has no NaN: null says that a number does not exist, as the error of a single item.
Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Record(BaseModel):
    """Base of all of them; `model_dump_json` writes NaN as null."""

    model_config = ConfigDict(
        extra="allow", frozen=True, ser_json_inf_nan="null", protected_namespaces=()
    )


# Training


class TaskTokens(Record):
    """What training spent on one task: `tokens` that changed the weights."""

    tokens: int


class Ledger(Record):
    """`adapt/ledger.json` of a training run: what it spent, by task, and what was spent on the runs
    that its mixture comes from."""

    unit: str
    budget: float | None
    used: float
    meta_tokens: float = 0
    tokens_spent_before: float = 0
    tasks: dict[str, TaskTokens]


class MixtureLine(Record):
    """A line of `adapt/history.jsonl`: the mixture after an update, at `tokens` trained tokens."""

    tokens: FiniteFloat
    proportions: dict[str, FiniteFloat]


# manifest.json


class MeasuredModel(Record):
    """The model: its name as the user gave it, where it lay, and the hash of its files."""

    name: str
    folders: list[str] = []
    hash: str
    weight_bytes: int | None = None


class MeasuredSuite(Record):
    """The whole suite, also where only some of its benchmarks were measured."""

    name: str
    note: str
    source: str | None = None
    hash: str
    benchmarks: list[str]


class Manifest(Record):
    """What the results in a folder are results of.

    Attributes:
        made: time of the measurement, ISO 8601.
        options: of `adapt-eval run`, resolved.
        sandbox: which one held the programs; None where no benchmark runs code.
        checkout: commit of this package and whether it was changed; None outside of a repository.
        ledger: of training; None for a model that no ADAPT run made.
    """

    format: int = 1
    made: str = ""
    model: MeasuredModel
    suite: MeasuredSuite
    options: dict[str, Any] = {}
    seeds: dict[str, int] = {}
    sandbox: str | None = None
    versions: dict[str, str] = {}
    checkout: dict[str, Any] | None = None
    hardware: dict[str, Any] = {}
    ledger: Ledger | None = None


# <task>.json


class Identity(Record):
    """What a score depends on besides its benchmark: hash of the model, settings, versions.
    `model_args` is what else lm-eval's model was given, as sorted `key=value`."""

    model: str
    limit: int | None = None
    profile: str | None = None
    batch_size: str | None = None
    device: str | None = None
    dtype: str | None = None
    backend: str | None = None
    model_args: str | None = None
    versions: dict[str, str] = {}


class Fingerprint(Identity):
    """All that the score of one benchmark depends on, and a hash over it.

    Attributes:
        data: hub path -> hash of the mirror's files, or where else it was read from.
        benchmark: what the suite says of it.
        sandbox: only where programs were run.
    """

    data: dict[str, str] = {}
    settings: dict[str, Any] = {}
    benchmark: dict[str, Any] = {}
    sandbox: str | None = None
    hash: str = ""

    def differences(self, other: Fingerprint) -> list[str]:
        """Keys that differ, but for the hash."""
        ours, theirs = (one.model_dump(exclude_unset=True) for one in (self, other))
        keys = (ours.keys() | theirs.keys()) - {"hash"}
        return sorted(key for key in keys if ours.get(key) != theirs.get(key))


class Samples(Record):
    """The file of a benchmark's items, beside its result."""

    file: str
    rows: int
    sha256: str


class Score(Record):
    """One line of what `adapt-eval run` prints; `seconds` is how long the benchmark took."""

    task: str
    family: str
    metric: str
    score: float
    items: int
    chance: float
    floor: float | None = None
    seconds: float | None = None


class BenchmarkResult(Score):
    """The score of one benchmark and everything that it depends on.

    Attributes:
        names: parts of the names of training tasks made from the same source.
        clustered_by: column of the documents, `subtask`, or empty.
        metrics: all that lm-eval reports; for a group also `subtask/key`.
        settings: what two results must share to be comparable; compared key by key.
        data: hub path -> where it was read from.
        samples: None until they are written.
    """

    format: int = FORMAT
    names: list[str] = []
    clustered_by: str = ""
    metrics: dict[str, float] = {}
    settings: dict[str, Any]
    data: dict[str, str] = {}
    fingerprint: Fingerprint
    samples: Samples | None = None


# What `adapt-eval run` prints


class Scores(Record):
    """The scores of a run on a suite."""

    suite: str
    note: str
    folder: str
    benchmarks: list[Score]


class PlannedBenchmark(Record):
    """What `--dry-run` says of one benchmark; `done` if it is measured already."""

    task: str
    items: int
    data: dict[str, str]
    done: bool
    minimum_detectable_effect: float


class Plan(Record):
    """What `--dry-run` prints."""

    suite: str
    folder: str
    minimum_detectable_effect_for: str
    benchmarks: list[PlannedBenchmark]


# overlap.json


class BenchmarkOverlap(Record):
    """How many of a benchmark's items overlap with each training task that shares any.

    Attributes:
        items: all of them.
        by: training task -> items that overlap with it.
        samples: hash of the file of items that were compared.
    """

    items: int
    by: dict[str, int]
    samples: str | None = None


class NotRead(Record):
    """Training data that was not compared, and why."""

    file: str
    reason: str


class Overlap(Record):
    """What `adapt-eval overlap` found.

    Attributes:
        words: length of the sequences.
        training_tasks: those of which rows were read; None in files of earlier versions.
    """

    words: int
    benchmarks: dict[str, BenchmarkOverlap]
    training_tasks: list[str] | None = None
    not_read: list[NotRead] = []
