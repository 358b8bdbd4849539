"""Which benchmarks can be compared, and what the reader must know about how they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.run import Run
from adapt_eval.errors import NotComparable
from adapt_eval.model import Model
from adapt_eval.schema import BenchmarkResult

# What may differ between comparable runs, but should be known: each moves a few answers.
_CIRCUMSTANCES = (
    "backend",
    "batch_size",
    "data",
    "device",
    "dtype",
    "limit",
    "model_args",
    "versions",
)


def common_tasks(arms: Sequence[Arm]) -> tuple[list[str], list[str]]:
    """Benchmarks that all runs have, in the suite's order, and notes on the others.

    Raises:
        NotComparable: there are none.
    """
    runs = [run for arm in arms for run in arm.runs]
    order = runs[0].manifest.suite.benchmarks
    common = [task for task in order if all(task in run.results for run in runs)]
    if not common:
        raise NotComparable("no benchmark was measured in all of the runs")
    notes = []
    for task in order:
        without = [str(run.place) for run in runs if task not in run.results]
        if len(without) == len(runs):
            notes.append(f"{task} was measured in none of the runs: the suite is not whole")
        elif without:
            notes.append(f"{task} is left out: not measured in {', '.join(without)}")
    return common, notes


def changed_weights(arms: Sequence[Arm]) -> list[str]:
    """Notes on models that were replaced after they were measured."""
    return [
        f"{run.place}: the model in {run.manifest.model.folders[0]} is another than the one that "
        "was measured; its scores are those of the old one (adapt-eval run --force measures again)"
        for arm in arms
        for run in arm.runs
        if _replaced(run)
    ]


def _replaced(run: Run) -> bool:
    """Weights are hashed only if a file of the model is younger than its scores: reading them all
    for every comparison would take longer than the comparison."""
    measured, made = run.manifest.model, run.manifest.made
    folders = [Path(one) for one in measured.folders]
    if not folders or not made or not all(folder.is_dir() for folder in folders):
        return False
    model = Model(measured.name, *folders)
    # The time of change, too: a file that was copied with its old date has a new one of these.
    youngest = max(
        (
            max(file.stat().st_mtime, file.stat().st_ctime)
            for folder in folders
            for file in folder.iterdir()
            if file.is_file()
        ),
        default=0.0,
    )
    # The manifest's time is in whole seconds.
    return youngest >= datetime.fromisoformat(made).timestamp() and model.hash() != measured.hash


def check_alike(arms: Sequence[Arm], tasks: Sequence[str], allow: bool) -> list[str]:
    """Notes on how the measurements differ.

    Args:
        allow: note different settings instead of refusing them.

    Raises:
        NotComparable: settings differ.
    """
    runs = [run for arm in arms for run in arm.runs]
    first = runs[0]
    differ = [
        difference
        for task in tasks
        for run in runs[1:]
        for difference in _settings(
            first.results[task].content, run.results[task].content, f"{task}, {run.place}"
        )
    ]
    if differ and not allow:
        raise NotComparable(
            "the runs were not measured the same way: "
            + "; ".join(differ[:5])
            + (f"; and {len(differ) - 5} more" if len(differ) > 5 else "")
            + ". Measure them again alike, or compare them all the same with --allow-differences"
        )
    notes = [f"compared in spite of a difference: {one}" for one in differ]
    limits = {task: first.results[task].content.fingerprint.limit for task in tasks}
    if any(limits.values()):
        said = ", ".join(f"{task} {limit}" for task, limit in limits.items() if limit)
        notes.append(f"not whole benchmarks but the first items of each task: {said}")
    for run in runs[1:]:
        others = {key for task in tasks for key in _circumstances(first, run, task)}
        if others:
            notes.append(
                f"{run.place} was measured with another {', '.join(sorted(others))} than "
                f"{first.place}"
            )
    if logs := [str(run.place) for run in runs if run.logged]:
        notes.append(
            f"logs tell less than runs of adapt-eval: nothing is known of weights, data and most "
            f"versions behind {', '.join(logs)}"
        )
    return notes


def _circumstances(a: Run, b: Run, task: str) -> list[str]:
    """Circumstances that differ. A log tells only some of them; of what it does not tell
    nothing is said."""
    ours, theirs = (run.results[task].content.fingerprint for run in (a, b))
    differ = [key for key in ours.differences(theirs) if key in _CIRCUMSTANCES]
    if not a.logged and not b.logged:
        return differ
    told = ours.model_fields_set & theirs.model_fields_set
    both = ours.versions.keys() & theirs.versions.keys()
    versions = any(ours.versions[name] != theirs.versions[name] for name in both)
    return [key for key in differ if key in told and (key != "versions" or versions)]


def _settings(a: BenchmarkResult, b: BenchmarkResult, where: str) -> list[str]:
    """What differs between two results that would make their scores mean different things."""
    ours, theirs = _flat(a.settings), _flat(b.settings)
    return [
        f"{where}: {key} is {ours.get(key)!r} in one, {theirs.get(key)!r} in the other"
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
