"""Write the types of a clone as training and validation files, a manifest and a `datasets:` block.

OUT/<type>/train.jsonl, validation.jsonl   chat rows
OUT/<type>/manifest.json                   written last: a type that has it is whole
OUT/manifest.json                          the same of all types, and what was left out
OUT/datasets.yml                           to paste into a recipe
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapt_axolotl.commands.prepare.selection import (
    Limits,
    choose_types,
    split,
    without_benchmarks,
)
from adapt_axolotl.commands.prepare.source import (
    Instance,
    TaskFile,
    find_task_files,
    read_header,
    read_instances,
)
from adapt_common.files import write_atomically
from adapt_common.provenance import git

Progress = Callable[[str, int, int], None]
"""(what is being done, how many are done, how many there are)."""

_FORMAT = 1
LEAST_ROWS = 2  # of either side
_ENTRY = """\
  - path: {path}
    task: {task}
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn
    split: train
"""


@dataclass(frozen=True)
class Prepared:
    """What was written.

    Attributes:
        manifest: as in OUT/manifest.json.
        block: file with the `datasets:` block.
        kept: types that were there already.
    """

    manifest: dict[str, Any]
    block: Path
    kept: list[str]


def prepare(
    clone: Path,
    out: Path,
    *,
    types: Sequence[str] = (),
    largest: int = 20,
    limits: Limits,
    overlaps: Callable[[str], bool] = lambda name: False,
    progress: Progress = lambda what, done, count: None,
) -> Prepared:
    """Go through a clone twice: once for what is there, once for the chosen types. Types that an
    earlier call wrote with the same settings from the same files are kept.

    Args:
        types: instead of the `largest`.
        overlaps: whether a task file of this name is made from a benchmark; it is left out.

    Raises:
        ValueError: no clone, a damaged file, or a type that is not there.
    """
    paths = find_task_files(clone)
    headers = []
    for number, path in enumerate(paths):
        progress("reading the clone", number, len(paths))
        headers.append(read_header(path))
    english = [file for file in headers if file.english]
    usable, excluded = without_benchmarks(english, overlaps)
    groups = choose_types(usable, types)
    wanted = len(groups) if types else largest
    described: dict[str, Any] = {}
    kept: list[str] = []
    small: list[str] = []
    for name, files in groups.items():
        if len(described) == wanted:
            break
        progress(f"writing {name}", len(described), wanted)
        settings = {
            "format": _FORMAT,
            **asdict(limits),
            "files": {file.name: file.sha256 for file in files},
        }
        found = _finished(out / name, settings)
        if found is not None:
            kept.append(name)
        elif (found := _write_type(out / name, files, limits, settings, named=bool(types))) is None:
            small.append(name)
            continue
        described[name] = found
    progress("done", wanted, wanted)
    manifest = {
        "source": {
            "repository": "allenai/natural-instructions",
            "commit": git(clone, "rev-parse", "HEAD"),
        },
        "types": described,
        "excluded": sorted(file.name for file in excluded),
        "not_english": len(headers) - len(english),
        "too_small": small,
    }
    write_atomically(out / "manifest.json", json.dumps(manifest, indent=2) + "\n")
    write_atomically(out / "datasets.yml", block(out, list(described)))
    return Prepared(manifest, out / "datasets.yml", kept)


def block(out: Path, types: Sequence[str]) -> str:
    """`datasets:` and `test_datasets:` of a recipe over the types."""
    lines = []
    for key, file in (("datasets", "train"), ("test_datasets", "validation")):
        lines.append(f"{key}:\n")
        lines += [_ENTRY.format(path=out / name / f"{file}.jsonl", task=name) for name in types]
    return "".join(lines)


def _write_type(
    folder: Path,
    files: Sequence[TaskFile],
    limits: Limits,
    settings: dict[str, Any],
    *,
    named: bool,
) -> dict[str, Any] | None:
    """Its manifest; None, and nothing written, if it is too small for a task and not named."""
    training, validation = split(_all_instances(files), limits)
    if len(training) < LEAST_ROWS or len(validation) < LEAST_ROWS:
        if not named:
            return None
        raise ValueError(
            f"type {folder.name}: {len(training)} training and {len(validation)} validation rows "
            f"are too few for a task, which needs {LEAST_ROWS} of each; leave it out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    sides = {}
    for name, rows in (("train", training), ("validation", validation)):
        text = "".join(json.dumps(_chat(row), ensure_ascii=False) + "\n" for row in rows)
        write_atomically(folder / f"{name}.jsonl", text)
        sides[name] = {"rows": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    licences = sorted({licence for file in files for licence in file.licences or ("not stated",)})
    described = {**sides, "licences": licences, "settings": settings}
    write_atomically(folder / "manifest.json", json.dumps(described, indent=2) + "\n")
    return described


def _all_instances(files: Sequence[TaskFile]) -> Iterator[Instance]:
    for file in files:
        yield from read_instances(file.path)


def _chat(instance: Instance) -> dict[str, Any]:
    asked = f"{instance.instruction}\n\n{instance.input}"
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": instance.output},
        ]
    }


def _finished(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a type that is whole, from the same files and settings, and unchanged."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    described: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if described["settings"] != settings:
        return None
    for name in ("train", "validation"):
        file = folder / f"{name}.jsonl"
        if not file.is_file():
            return None
        if hashlib.sha256(file.read_bytes()).hexdigest() != described[name]["sha256"]:
            return None
    return described
