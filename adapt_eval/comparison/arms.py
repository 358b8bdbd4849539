"""An arm: one way of training, with the results of one or several seeds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapt_eval.comparison.run import Run
from adapt_eval.comparison.stored import StoredResult
from adapt_eval.errors import NotComparable
from adapt_eval.results import read_manifest, read_result, result_files

if TYPE_CHECKING:
    from adapt_eval.logs.log import Log


@dataclass(frozen=True)
class Arm:
    """A name and its runs, one for each seed."""

    name: str
    runs: Sequence[Run]


def read_arms(specifications: Sequence[str], suite: str | None) -> list[Arm]:
    """
    Args:
        specifications: `RUN`, `NAME=RUN`, or `NAME=RUN,RUN` for several seeds of one arm. RUN is a
            run or model directory with results under eval/, a folder of results, or a log of
            another harness.
        suite: which results to take; None where there are those of one suite only. Where there
            are logs alone, the suite as which they are read.

    Raises:
        ValueError: results are missing or damaged, or two arms have one name.
        NotComparable: the runs were measured on different suites or by different harnesses.
    """
    if len(specifications) < 2:
        raise ValueError("give at least two runs to compare")
    named: list[tuple[str, list[Path]]] = []
    for text in specifications:
        name, separator, places = text.partition("=")
        if not separator or Path(text).exists():
            name, places = Path(text).resolve().name, text
        seeds = [Path(place) for place in places.split(",")]
        if len({place.resolve() for place in seeds}) < len(seeds):
            raise ValueError(f"{text}: one run is given twice; seeds are different runs")
        named.append((name, seeds))
    runs = _read_all([place for _, places in named for place in places], suite)
    arms = [Arm(name, [runs[place] for place in places]) for name, places in named]
    names = [arm.name for arm in arms]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two runs are called {', '.join(twice)}; name them: NAME=RUN")
    _check_suites(arms)
    return arms


def _read_all(places: Sequence[Path], suite: str | None) -> Mapping[Path, Run]:
    """Runs of our own first: they tell as which benchmarks logs are read."""
    logs: dict[Path, Log] = {}
    runs: dict[Path, Run] = {}
    for place in places:
        if _is_ours(place):
            runs[place] = read_run(place, suite)
        else:
            logs[place] = _read_log(place)
    _check_harness([*((p, run.harness) for p, run in runs.items())], logs)
    if logs:
        from adapt_eval.comparison.log_suite import suite_named, suite_of_logs, suite_of_runs
        from adapt_eval.comparison.logged import run_of_log

        if runs:
            known = suite_of_runs(list(runs.values()))
        else:
            known = suite_named(suite) if suite else suite_of_logs(list(logs.values()))
        runs |= {place: run_of_log(log, known) for place, log in logs.items()}
    return runs


def _is_ours(place: Path) -> bool:
    return (place / "manifest.json").is_file() or any((place / "eval").glob("*/manifest.json"))


def _read_log(place: Path) -> Log:
    from adapt_eval.logs.formats import KINDS, format_of

    if not place.exists():
        raise ValueError(f"{place}: no such directory; give a run that adapt-eval run has measured")
    log = format_of(place)
    if log is None:
        raise ValueError(
            f"{place}: no results; run adapt-eval run {place} first, or give a log: {KINDS}"
        )
    return log.read(place)


def _check_harness(runs: Sequence[tuple[Path, str]], logs: Mapping[Path, Log]) -> None:
    seen = {harness: place for place, harness in runs}
    seen |= {log.harness: place for place, log in logs.items()}
    if len(seen) > 1:
        said = "; ".join(f"{place}: {harness}" for harness, place in seen.items())
        raise NotComparable(
            f"the runs were measured by different harnesses ({said}), whose items, prompts and "
            "scoring cannot be shown to be the same; measure them with one"
        )


def read_run(place: Path, suite: str | None) -> Run:
    """One run of our own with its results; for the arguments and errors see `read_arms`."""
    folder = _results_folder(place, suite)
    manifest = read_manifest(folder)
    found = [read_result(file) for file in result_files(folder)]
    results = [StoredResult(one.folder, one.content) for one in found]
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
