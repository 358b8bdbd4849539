"""A suite: which benchmarks, each with its metric, shots, size and chance level."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

CODE_EXECUTION = "code execution"
PUNKT = "nltk punkt_tab"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of a suite.

    Attributes:
        task: lm-eval's name of a task or of a group.
        family: what it is a test of.
        metric: lm-eval's key of the primary metric, `name,filter`. Higher must be better, and the
            score must be the mean over items.
        shots: examples in the prompt.
        items: how many (of the whole benchmark).
        chance: expected score of guessing at random, 0 to 1.
        floor: score of the best answer that does not read the question; `chance` when not given.
        needs: what it takes beyond the data.
        cluster: column of the document whose equal values go together (items about one passage),
            or `subtask`; empty where items are independent.
        chat_task: lm-eval's name of the variant for `--profile chat`; `task` when not given.
        folder: where under lm_eval/tasks the task lies. Without it all of lm-eval's tasks are
            indexed, which takes seconds.
        names: parts of the names that training tasks made from the same source carry.
    """

    task: str
    family: str
    metric: str
    shots: int
    items: int
    chance: float
    floor: float | None = None
    needs: tuple[str, ...] = ()
    cluster: str = ""
    chat_task: str = ""
    folder: str = ""
    names: tuple[str, ...] = ()

    @property
    def runs_code(self) -> bool:
        """Whether scoring runs programs that the model wrote."""
        return CODE_EXECUTION in self.needs


@dataclass(frozen=True)
class Suite:
    """Named benchmarks. `note` is printed wherever the suite's results are."""

    name: str
    note: str
    benchmarks: tuple[Benchmark, ...]

    def select(self, only: Collection[str] = (), skip: Collection[str] = ()) -> Suite:
        """The suite with some of its benchmarks.

        Raises:
            ValueError: a name is no benchmark of the suite, or nothing is left.
        """
        known = {one.task for one in self.benchmarks}
        if unknown := (set(only) | set(skip)) - known:
            raise ValueError(
                f"suite {self.name} has no benchmark {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(known))}"
            )
        kept = tuple(
            one
            for one in self.benchmarks
            if (not only or one.task in only) and one.task not in skip
        )
        if not kept:
            raise ValueError(f"suite {self.name}: no benchmark is left; skip fewer")
        return replace(self, benchmarks=kept)


def suite_names() -> list[str]:
    """The suites that the package ships."""
    return sorted(
        file.name.removesuffix(".yaml")
        for file in files("adapt_eval").joinpath("suites").iterdir()
        if file.name.endswith(".yaml")
    )


def load_suite(name_or_file: str) -> Suite:
    """A shipped suite by name, or one's own by the path of its YAML.

    Raises:
        ValueError: there is no such suite, or its file has a mistake.
    """
    if name_or_file in suite_names():
        text = files("adapt_eval").joinpath("suites", f"{name_or_file}.yaml").read_text("utf-8")
    elif Path(name_or_file).is_file():
        text = Path(name_or_file).read_text(encoding="utf-8")
    else:
        raise ValueError(
            f"no suite {name_or_file!r}; shipped are {', '.join(suite_names())}, or give the path "
            "of a YAML file of your own"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name_or_file}: not YAML: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("benchmarks"), list):
        raise ValueError(f"{name_or_file}: a suite needs a list under benchmarks:")
    benchmarks = tuple(_benchmark(entry, name_or_file) for entry in content["benchmarks"])
    names = [one.task for one in benchmarks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{name_or_file}: listed twice: {', '.join(twice)}; keep one of each")
    name = str(content.get("name") or Path(name_or_file).stem)
    return Suite(name, str(content.get("note", "")), benchmarks)


def suite_hash(suite: Suite) -> str:
    """SHA-256 of what the suite says of its benchmarks; the note and comments do not count."""
    return hashlib.sha256(repr([asdict(one) for one in suite.benchmarks]).encode()).hexdigest()


def _benchmark(entry: Any, where: str) -> Benchmark:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: each benchmark is a mapping with a task:, not {entry!r}")
    known = {field.name for field in fields(Benchmark)}
    required = {"task", "family", "metric", "shots", "items", "chance"}
    missing, unknown = required - set(entry), set(entry) - known
    if missing or unknown:
        raise ValueError(
            f"{where}: benchmark {entry.get('task', entry)!r}: missing keys "
            f"{sorted(missing) or 'none'}, unknown keys {sorted(unknown) or 'none'}"
        )
    name = f"{where}: benchmark {entry['task']!r}"
    for key in ("chance", "floor"):
        value = entry.get(key)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ValueError(f"{name}: {key} is a score from 0 to 1, not {value!r}")
    if "," not in str(entry["metric"]):
        raise ValueError(
            f"{name}: metric is lm-eval's key with its filter, as in 'acc,none', "
            f"not {entry['metric']!r}"
        )
    for key in ("shots", "items"):
        if not isinstance(entry[key], int) or entry[key] < 0:
            raise ValueError(f"{name}: {key} is a whole number, not {entry[key]!r}")
    for key in ("needs", "names"):
        if not isinstance(entry.get(key) or [], list):
            raise ValueError(f"{name}: {key} is a list, as in [{entry[key]}], not {entry[key]!r}")
    lists = {key: tuple(entry.get(key) or ()) for key in ("needs", "names")}
    return Benchmark(**{**entry, **lists})
