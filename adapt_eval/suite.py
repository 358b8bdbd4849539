"""A suite: which benchmarks, each with its metric, shots, size and chance level."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of a suite.

    Attributes:
        task: lm-eval's name.
        family: what it is a test of.
        metric: lm-eval's key of the primary metric.
        shots: examples in the prompt.
        items: how many.
        chance: score of guessing, 0 to 1 (of the majority answer, where that is better).
        needs: what it takes beyond the data.
    """

    task: str
    family: str
    metric: str
    shots: int
    items: int
    chance: float
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Named benchmarks. `note` is printed wherever the suite's results are."""

    name: str
    note: str
    benchmarks: tuple[Benchmark, ...]


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
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or not content.get("benchmarks"):
        raise ValueError(f"{name_or_file}: a suite needs a list under benchmarks:")
    benchmarks = tuple(_benchmark(entry, name_or_file) for entry in content["benchmarks"])
    return Suite(str(content.get("name", name_or_file)), content.get("note", ""), benchmarks)


def _benchmark(entry: dict[str, Any], where: str) -> Benchmark:
    known = {field.name for field in fields(Benchmark)}
    required = known - {"needs"}
    missing, unknown = required - set(entry), set(entry) - known
    if missing or unknown:
        raise ValueError(
            f"{where}: benchmark {entry.get('task', entry)!r}: missing keys "
            f"{sorted(missing) or 'none'}, unknown keys {sorted(unknown) or 'none'}"
        )
    if not 0 <= entry["chance"] <= 1:
        raise ValueError(f"{where}: benchmark {entry['task']!r}: chance is a score from 0 to 1")
    return Benchmark(**{**entry, "needs": tuple(entry.get("needs", ()))})
