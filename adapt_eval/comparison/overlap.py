"""Whether a benchmark is out of domain: what it shares with the training data.

Two ways of looking: the names that training tasks made from the same source carry, and the texts.
An item overlaps with a training task if a 13-word sequence of one of its fields stands in a row of
that task (a field of 8 to 12 words as a whole), case and punctuation aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from adapt_eval.comparison.arms import Arm
from adapt_eval.comparison.items import Scored
from adapt_eval.comparison.run import Run
from adapt_eval.comparison.schema import OverlapPair
from adapt_eval.comparison.training_texts import TrainingTexts, strings
from adapt_eval.parsing import parse
from adapt_eval.results import Result, read_json, write_json
from adapt_eval.schema import BenchmarkOverlap, Overlap

WORDS = 13
_LEAST = 8  # shorter fields are found everywhere and prove nothing
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"[a-z0-9]+")
FILE = "overlap.json"


def overlap_table(arms: Sequence[Arm], tasks: Sequence[str]) -> list[OverlapPair]:
    """Training tasks x benchmarks that share something, over all runs.

    `by_text` is None where the texts were not compared (`adapt-eval overlap RUN` does it), also
    for a training task none of whose rows could be read.
    """
    pairs: dict[tuple[str, str], OverlapPair] = {}
    for arm in arms:
        for run in arm.runs:
            training = list(run.ledger.tasks) if run.ledger else []
            texts = _stored(run)
            file = _file_of(run)
            read = file.training_tasks if file else None
            for task in tasks:
                names = run.results[task].content.names
                compared = texts.get(task)
                by_text = compared.by if compared else {}
                for one in dict.fromkeys([*training, *by_text]):
                    pair = pairs.get((one, task)) or OverlapPair(
                        training_task=one, benchmark=task, by_name=matches(one, names)
                    )
                    if compared and (read is None or one in read):
                        found = max(by_text.get(one, 0), pair.by_text or 0)
                        pair = pair.model_copy(update={"by_text": found, "items": compared.items})
                    pairs[one, task] = pair
    return list(pairs.values())


def not_compared(arms: Sequence[Arm]) -> list[str]:
    """Notes on training data that `adapt-eval overlap` could not read: nothing is known of it."""
    notes = []
    for run in (run for arm in arms for run in arm.runs):
        found = _file_of(run)
        if found is None or not found.not_read or not _stored(run):
            continue
        first, *others = found.not_read
        beside = f" and {len(others)} more" if others else ""
        notes.append(
            f"{run.place}: training data that was not searched for benchmark items: {first.file} "
            f"({first.reason}){beside}; adapt-eval overlap lists all of it"
        )
    return notes


def _file_of(run: Run) -> Overlap | None:
    file = next(iter(run.results.values())).folder / FILE
    if not file.is_file():
        return None
    return parse(Overlap, read_json(file), file, "delete it and run adapt-eval overlap again")


def _stored(run: Run) -> dict[str, BenchmarkOverlap]:
    """What was found for a run's benchmarks, without those that were measured again since."""
    found = _file_of(run)
    return {
        name: one
        for name, one in (found.benchmarks if found else {}).items()
        if name in run.results and one.samples == _samples(run.results[name])
    }


def matches(training_task: str, names: Iterable[str]) -> bool:
    """Whether the name of a training task carries one of a benchmark's names, as whole words:
    `task309_race_questions` carries `race`, `trace_links` does not."""
    words = _NAME.findall(training_task.lower())
    return any(
        list(window) == wanted
        for wanted in (_NAME.findall(name.lower()) for name in names)
        for window in _windows(words, len(wanted))
    )


def sequences(text: str) -> Iterator[tuple[str, ...]]:
    """The 13-word sequences of a field; the whole field if it has 8 to 12 words."""
    words = _WORD.findall(text.lower())
    if len(words) >= _LEAST:
        yield from _windows(words, min(WORDS, len(words)))


def _windows(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


def overlap_of_texts(
    benchmarks: Mapping[str, Sequence[Sequence[str]]], training: Mapping[str, Iterable[str]]
) -> dict[str, BenchmarkOverlap]:
    """
    Args:
        benchmarks: benchmark -> items -> the texts of their fields.
        training: training task -> texts of its rows.

    Returns:
        Benchmark -> number of items, and for each training task how many of them overlap.
    """
    where: dict[int, list[tuple[str, int]]] = {}
    lengths: set[int] = set()
    for name, items in benchmarks.items():
        for number, fields in enumerate(items):
            for one in {sequence for field in fields for sequence in sequences(field)}:
                lengths.add(len(one))
                where.setdefault(hash(one), []).append((name, number))
    found: dict[tuple[str, str], set[int]] = {}
    for task, rows in training.items():
        for row in rows:
            words = _WORD.findall(row.lower())
            for length in lengths:
                for window in _windows(words, length):
                    for name, number in where.get(hash(window), ()):
                        found.setdefault((name, task), set()).add(number)
    return {
        name: BenchmarkOverlap(
            items=len(items),
            by={task: len(hits) for (of, task), hits in found.items() if of == name},
        )
        for name, items in benchmarks.items()
    }


def item_texts(result: Result) -> list[list[str]]:
    """The fields of a benchmark's items, as measured."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(
        result.samples_file, columns=["document"], filters=[("primary", "=", True)]
    )
    return [list(strings(json.loads(one))) for one in table["document"].to_pylist()]


def write_overlap(results: Sequence[Result], training: TrainingTexts) -> Overlap:
    """Compare a run's benchmarks with training rows by text, and keep it beside the results."""
    found = overlap_of_texts({one.task: item_texts(one) for one in results}, training.rows)
    stamped = {
        one.task: found[one.task].model_copy(update={"samples": _samples(one)}) for one in results
    }
    overlap = Overlap(
        words=WORDS,
        benchmarks=stamped,
        training_tasks=list(training.rows),
        not_read=training.not_read,
    )
    write_json(results[0].folder / FILE, overlap)
    return overlap


def _samples(result: Scored | Result) -> str | None:
    """Hash of the items that were compared."""
    return result.content.samples.sha256 if result.content.samples else None
