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
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
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
    """One benchmark of one run, as read from disk. `content` is the whole JSON."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def task(self) -> str:
        """The suite's name of it."""
        return str(self.content["task"])

    @property
    def samples_file(self) -> Path:
        """Where its items are."""
        return self.folder / str(self.content["samples"]["file"])


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write all or nothing."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_result(
    folder: Path, task: str, content: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write a benchmark: first its samples, then the JSON that makes it count."""
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
    file = folder / f"{task}.samples.parquet"
    data = sink.getvalue().to_pybytes()
    write_atomically(file, data)
    samples = {
        "file": file.name,
        "rows": table.num_rows,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_json(folder / f"{task}.json", {"format": FORMAT, **content, "samples": samples})


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


def read_result(path: Path) -> Result:
    """
    Args:
        path: of a `<task>.json`.

    Raises:
        ValueError: it is damaged, from another format, or its samples are not those it names.
    """
    content = read_json(path)
    wanted = ("format", "task", "family", "score", "settings", "fingerprint", "samples")
    if missing := [key for key in wanted if key not in content]:
        raise ValueError(f"{path}: has no {', '.join(missing)}; run adapt-eval run --force again")
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path}: has format {content['format']}, this version reads {FORMAT}; run adapt-eval "
            "run --force again"
        )
    result = Result(path.parent, content)
    file = result.samples_file
    if not file.is_file():
        raise ValueError(f"{file}: is missing; run adapt-eval run --force again")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != content["samples"]["sha256"]:
        raise ValueError(
            f"{file}: has changed since it was written (its hash is not the one in {path.name}); "
            "restore it, or run adapt-eval run --force again"
        )
    return result


def result_files(folder: Path) -> list[Path]:
    """The benchmarks that a folder of results holds."""
    others = ("manifest.json", "overlap.json")
    return sorted(file for file in folder.glob("*.json") if file.name not in others)


def write_atomically(path: Path, data: bytes) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
