"""Results on disk: what `run` leaves and everything else reads.

    <run>/eval/<suite>/
      manifest.json           what was measured, with what, and how
      <task>.json             score and settings of a benchmark, written when it ends
      <task>.samples.parquet  a row for each item and filter

A benchmark's JSON is written last, so a benchmark that has one is whole; it names the hash of its
samples, so that changed or swapped files are noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapt_common.files import write_atomically
from adapt_eval.parsing import parse
from adapt_eval.schema import FORMAT, BenchmarkResult, Manifest, Record, Samples

MANIFEST = "manifest.json"
TEXT_COLUMNS = (
    "subtask",
    "filter",
    "doc_hash",
    "target_hash",
    "prompt_hash",
    "cluster",
    "metrics",
    "document",
    "target",
    "prompt",
    "responses",
    "filtered",
)


@dataclass(frozen=True)
class Result:
    """One benchmark of one run, as read from disk: the folder and the content of its JSON."""

    folder: Path
    content: BenchmarkResult

    @property
    def task(self) -> str:
        """The suite's name of it."""
        return self.content.task

    @property
    def samples_file(self) -> Path:
        """The file of its items."""
        assert self.content.samples is not None  # read_result sees to it
        return self.folder / self.content.samples.file


def write_json(path: Path, content: Record) -> None:
    """Write all or nothing."""
    text = json.dumps(content.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_atomically(path, text + "\n")


def write_result(
    folder: Path, content: BenchmarkResult, rows: Sequence[Mapping[str, Any]]
) -> BenchmarkResult:
    """Write a benchmark: first its samples, then the JSON that makes it count.

    Args:
        content: without `samples`, which is filled in.
        rows: one mapping for each item and filter.
    """
    import pyarrow
    import pyarrow.parquet

    columns = {
        **{name: pyarrow.string() for name in TEXT_COLUMNS},
        "doc_id": pyarrow.int64(),
        "primary": pyarrow.bool_(),
        "score": pyarrow.float64(),
    }
    table = pyarrow.Table.from_pylist(list(rows), schema=pyarrow.schema(list(columns.items())))
    sink = pyarrow.BufferOutputStream()
    # Pages stay small, so that a reader of the scores does not hold the texts.
    pyarrow.parquet.write_table(table, sink, compression="zstd", row_group_size=10_000)
    file = folder / f"{content.task}.samples.parquet"
    data = sink.getvalue().to_pybytes()
    write_atomically(file, data)
    digest = hashlib.sha256(data).hexdigest()
    samples = Samples(file=file.name, rows=table.num_rows, sha256=digest)
    content = content.model_copy(update={"samples": samples})
    write_json(folder / f"{content.task}.json", content)
    return content


def read_json(path: Path) -> dict[str, Any]:
    """
    Raises:
        ValueError: it is missing or not a whole JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path}: is missing; run adapt-eval run first") from error
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path}: cannot be read ({error}); it is half-written or damaged: delete it and run "
            "adapt-eval run again, which does only what is missing"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is not a JSON object; delete it and run adapt-eval run again")
    return content


def read_manifest(folder: Path) -> Manifest:
    """
    Args:
        folder: of results.

    Raises:
        ValueError: it is missing or damaged.
    """
    path = folder / MANIFEST
    remedy = "run adapt-eval run again, which writes it anew and measures only what is missing"
    return parse(Manifest, read_json(path), path, remedy)


def has_manifest(folder: Path) -> bool:
    """Whether a folder of results has a manifest that can be read."""
    try:
        read_manifest(folder)
    except ValueError:
        return False
    return True


def read_result(path: Path) -> Result:
    """
    Args:
        path: of a `<task>.json`.

    Raises:
        ValueError: it is damaged, from another format, or its samples are not those it names.
    """
    remedy = "run adapt-eval run --force again"
    raw = read_json(path)
    found_format = raw.get("format")
    if found_format != FORMAT:
        raise ValueError(
            f"{path}: has format {found_format}, this version reads {FORMAT}; {remedy}"
        )
    result = Result(path.parent, parse(BenchmarkResult, raw, path, remedy))
    samples = result.content.samples
    if samples is None:
        raise ValueError(f"{path}: samples is missing; {remedy}")
    file = result.samples_file
    if not file.is_file():
        raise ValueError(f"{file}: is missing; {remedy}")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != samples.sha256:
        raise ValueError(
            f"{file}: has changed since it was written (its hash is not the one in {path.name}); "
            f"restore it, or {remedy}"
        )
    return result


def result_files(folder: Path) -> list[Path]:
    """The benchmarks that a folder of results holds."""
    others = (MANIFEST, "overlap.json")
    return sorted(file for file in folder.glob("*.json") if file.name not in others)
