"""A suite: which benchmarks, each with its metric, shots, size and chance level."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

CODE_EXECUTION = "code execution"
PUNKT = "nltk punkt_tab"


# An int stays one: the suite's hash is over what was written.
Fraction = Annotated[int | float, Field(ge=0, le=1, description="a score from 0 to 1")]
Count = Annotated[int, Field(ge=0, strict=True, description="a whole number of 0 or more")]


class Benchmark(BaseModel):
    """One benchmark of a suite. A field's description completes the message "KEY is ...".

    Attributes:
        task: lm-eval's name of a task or of a group.
        family: what it is a test of.
        metric: lm-eval's key of the primary metric, `name,filter`. Higher must be better, and the
            score must be the mean over items.
        scale: the score of a perfect answer, such as 100 for ROUGE; scores are divided by it.
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(description="lm-eval's name of a task or of a group")
    family: str = Field(description="the name of what it tests")
    metric: str = Field(
        pattern=".,.", description="lm-eval's key with its filter, as in 'acc,none'"
    )
    shots: Count
    items: Count
    chance: Fraction
    scale: float = Field(1, gt=0, description="the score of a perfect answer, above 0")
    floor: Fraction | None = Field(None, description="a score from 0 to 1")
    needs: tuple[str, ...] = Field((), description="a list, as in [code execution]")
    cluster: str = Field("", description="a column of the documents, or subtask")
    chat_task: str = Field("", description="lm-eval's name of a task or of a group")
    folder: str = Field("", description="a folder below lm_eval/tasks")
    names: tuple[str, ...] = Field((), description="a list, as in [boolq]")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_given(cls, entry: Any) -> Any:
        """`floor:` without a value is how YAML leaves a key out."""
        return {key: value for key, value in entry.items() if value is not None}

    def described(self) -> dict[str, Any]:
        """What results of it depend on. A scale of 1 is not named, as before there was one."""
        return self.model_dump(exclude={"scale"} if self.scale == 1 else None)

    @property
    def runs_code(self) -> bool:
        """Whether scoring runs programs that the model wrote."""
        return CODE_EXECUTION in self.needs


class Suite(BaseModel):
    """Named benchmarks. `note` is printed wherever the suite's results are."""

    model_config = ConfigDict(frozen=True)

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
        return self.model_copy(update={"benchmarks": kept})


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
    return Suite(name=name, note=str(content.get("note", "")), benchmarks=benchmarks)


def suite_hash(suite: Suite) -> str:
    """SHA-256 of what the suite says of its benchmarks; the note and comments do not count."""
    said = repr([one.described() for one in suite.benchmarks])
    return hashlib.sha256(said.encode()).hexdigest()


def _benchmark(entry: Any, where: str) -> Benchmark:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: each benchmark is a mapping with a task:, not {entry!r}")
    try:
        return Benchmark.model_validate(entry)
    except ValidationError as error:
        raise ValueError(
            f"{where}: benchmark {entry.get('task', entry)!r}: {_mistakes(entry, error)}"
        ) from error


def _mistakes(entry: dict[str, Any], error: ValidationError) -> str:
    """All that is wrong with an entry, each with its key and what it should be."""
    keys: dict[str, dict[str, None]] = {}
    for one in error.errors():
        kind = one["type"] if one["type"] in ("missing", "extra_forbidden") else "value"
        keys.setdefault(kind, {})[str(one["loc"][0])] = None
    said = []
    if missing := keys.get("missing"):
        said.append(f"missing keys {sorted(missing)}")
    if unknown := keys.get("extra_forbidden"):
        known = ", ".join(Benchmark.model_fields)
        said.append(f"unknown keys {sorted(unknown)}; there are {known}")
    for key in keys.get("value", ()):
        said.append(f"{key} is {Benchmark.model_fields[key].description}, not {entry[key]!r}")
    return "; ".join(said)
