"""An arm: one way of training, with the results of one or several seeds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt_eval.errors import NotComparable
from adapt_eval.results import Result, read_manifest, read_result, result_files
from adapt_eval.schema import Ledger, Manifest


@dataclass(frozen=True)
class Run:
    """Results of one seed.

    Attributes:
        place: as the user gave it.
        results: benchmark -> its result.
    """

    place: Path
    manifest: Manifest
    results: Mapping[str, Result]

    @property
    def ledger(self) -> Ledger | None:
        """What its training spent; None for a model that no ADAPT run made."""
        return self.manifest.ledger


@dataclass(frozen=True)
class Arm:
    """A name and its runs, one for each seed."""

    name: str
    runs: Sequence[Run]


def read_arms(specifications: Sequence[str], suite: str | None) -> list[Arm]:
    """
    Args:
        specifications: `RUN`, `NAME=RUN`, or `NAME=RUN,RUN` for several seeds of one arm. RUN is a
            run or model directory with results under eval/, or a folder of results.
        suite: which results to take; None where there are those of one suite only.

    Raises:
        ValueError: results are missing or damaged, or two arms have one name.
        NotComparable: the runs were measured on different suites.
    """
    if len(specifications) < 2:
        raise ValueError("give at least two runs to compare")
    arms = []
    for text in specifications:
        name, separator, places = text.partition("=")
        if not separator or Path(text).exists():
            name, places = Path(text).resolve().name, text
        seeds = [Path(place) for place in places.split(",")]
        if len({place.resolve() for place in seeds}) < len(seeds):
            raise ValueError(f"{text}: one run is given twice; seeds are different runs")
        runs = [read_run(place, suite) for place in seeds]
        arms.append(Arm(name, runs))
    names = [arm.name for arm in arms]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs are called {', '.join(twice)}; name them: NAME=RUN")
    _check_suites(arms)
    return arms


def read_run(place: Path, suite: str | None) -> Run:
    """One run with its results; for the arguments and errors see `read_arms`."""
    folder = _results_folder(place, suite)
    manifest = read_manifest(folder)
    results = [read_result(file) for file in result_files(folder)]
    if not results:
        raise ValueError(f"{folder}: no benchmark is finished; run adapt-eval run {place} again")
    models = {one.content.fingerprint.model for one in results}
    if models != {manifest.model.hash}:
        raise ValueError(
            f"{folder}: holds results of different models; run adapt-eval run --force {place}"
        )
    return Run(place, manifest, {one.task: one for one in results})


def _results_folder(place: Path, suite: str | None) -> Path:
    if not place.is_dir():
        raise ValueError(f"{place}: no such directory; give a run that adapt-eval run has measured")
    if (place / "manifest.json").is_file():
        return place
    found = sorted(file.parent for file in (place / "eval").glob("*/manifest.json"))
    if suite is not None:
        found = [folder for folder in found if folder.name == suite]
    if not found:
        which = f" of suite {suite}" if suite else ""
        raise ValueError(f"{place}: no results{which}; run adapt-eval run {place} first")
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise ValueError(f"{place}: has results of {names}; say which with --suite NAME")
    return found[0]


def _check_suites(arms: Sequence[Arm]) -> None:
    seen = {
        (run.manifest.suite.name, run.manifest.suite.hash): run for arm in arms for run in arm.runs
    }
    if len(seen) > 1:
        said = "; ".join(f"{run.place}: {name} ({mark[:8]})" for (name, mark), run in seen.items())
        raise NotComparable(f"the runs were measured on different suites: {said}")
