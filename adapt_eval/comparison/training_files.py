"""Which local files hold training rows, and with which loader of `datasets` each is read.

The rules are Axolotl's: an entry's `ds_type` decides, else the ending of the file, else it is JSON;
in a folder the endings decide. A file is either listed or named as not read; only hidden files and
those that describe a data set are left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

from adapt_eval.parsing import parse
from adapt_eval.schema import NotRead, Record

# Ending -> loader of `datasets`.
LOADERS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".txt": "text",
}
_PACKED = {".gz", ".bz2", ".xz", ".zst"}
# Files that describe a data set and hold no rows.
_DESCRIBING = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}
_ABOUT = {"readme", "license", "licence"}


@dataclass(frozen=True)
class TrainingFile:
    """A file of one training task and the loader that reads it."""

    task: str
    path: Path
    loader: str


@dataclass
class Listing:
    """Files that can be read, and what cannot, with the reason."""

    files: list[TrainingFile] = field(default_factory=list)
    not_read: list[NotRead] = field(default_factory=list)

    def add(self, task: str, path: Path, loader: str | None) -> None:
        """List a file, or name it as not read where no loader is known."""
        if loader in LOADERS.values():
            self.files.append(TrainingFile(task, path, str(loader)))
        elif loader is None:
            self.miss(path, f"is no kind of data file that is known ({', '.join(LOADERS)})")
        else:
            known = ", ".join(dict.fromkeys(LOADERS.values()))
            self.miss(path, f"ds_type {loader} is not known here, only {known}")

    def miss(self, what: object, reason: str) -> None:
        """Name something as not read."""
        self.not_read.append(NotRead(file=str(what), reason=reason))


class _Entry(Record):
    path: str
    task: str | None = None
    ds_type: str | None = None
    data_files: Any = None


class _AdaptBlock(Record):
    train_tasks: list[str] | None = None


class _Recipe(Record):
    datasets: list[_Entry] | None = None
    adapt: _AdaptBlock | None = None


class _Config(Record):
    recipe: _Recipe | None = None


def files_of_run(run: Path) -> Listing:
    """The files that the recipe of an ADAPT run names.

    Raises:
        ValueError: the run has no recipe, or it is damaged.
    """
    import yaml

    config = run / "adapt" / "config.yml"
    remedy = "name the training data with --train DIR"
    if not config.is_file():
        raise ValueError(f"{run}: no adapt/config.yml; {remedy}")
    try:
        content = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{config}: is not YAML ({said}); restore it, or {remedy}") from error
    recipe = parse(_Config, content or {}, config, f"restore it, or {remedy}").recipe or _Recipe()
    entries = recipe.datasets or []
    # Axolotl drops keys that it does not know, so the resolved recipe keeps the names apart.
    named: Sequence[str | None] | None = recipe.adapt.train_tasks if recipe.adapt else None
    names = named or [entry.task for entry in entries]
    if len(names) != len(entries):
        raise ValueError(
            f"{config}: has {len(names)} adapt.train_tasks for {len(entries)} datasets; "
            f"restore it, or {remedy}"
        )
    listing = Listing()
    for entry, name in zip(entries, names, strict=True):
        _list_entry(listing, str(name or entry.path), entry)
    return listing


def files_below(folder: Path) -> Listing:
    """The files of DIR/<task>/** and DIR/<task>.*, with validation rows, if there are any."""
    listing = Listing()
    for file in _below(folder):
        inside = file.relative_to(folder).parts
        task = inside[0] if len(inside) > 1 else _plain_name(file)
        listing.add(task, file, LOADERS.get(_ending(file)))
    return listing


def is_packed(file: Path) -> bool:
    """Whether a file is compressed."""
    return file.suffix in _PACKED


def _list_entry(listing: Listing, task: str, entry: _Entry) -> None:
    place = Path(entry.path)
    if entry.data_files:
        for pattern in _patterns(entry.data_files):
            found = _matching(pattern, place)
            if not found:
                listing.miss(pattern, _nothing("data_files matches no file here"))
            for file in found:
                listing.add(task, file, _loader(entry, file))
    elif place.is_dir():
        found = list(_below(place))
        if not found:
            listing.miss(place, "is a folder without data files")
        for file in found:
            listing.add(task, file, LOADERS.get(_ending(file)))
    elif place.is_file():
        listing.add(task, place, _loader(entry, place))
    else:
        listing.miss(entry.path, _nothing("is no file or folder here"))


def _nothing(what: str) -> str:
    return f"{what} (relative paths count from where adapt-eval is called)"


def _loader(entry: _Entry, file: Path) -> str:
    return entry.ds_type or LOADERS.get(_ending(file), "json")


def _patterns(named: Any) -> Iterator[str]:
    """`data_files` is a path or pattern, a list of them, or a mapping of splits to them."""
    if isinstance(named, dict):
        named = list(named.values())
    if isinstance(named, list):
        for one in named:
            yield from _patterns(one)
    else:
        yield str(named)


def _matching(pattern: str, folder: Path) -> Sequence[Path]:
    """Files that a path or pattern means, from here or else from the entry's folder."""
    for start in (Path(pattern), folder / pattern):
        if start.is_dir():
            return list(_below(start))
        if start.is_file():
            return [start]
        found = sorted(Path(one) for one in glob(str(start), recursive=True))
        if files := [one for one in found if one.is_file()]:
            return files
    return []


def _below(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        about = file.stem.lower() in _ABOUT and _ending(file) not in LOADERS
        if file.is_file() and not hidden and not about and file.name not in _DESCRIBING:
            yield file


def _ending(file: Path) -> str:
    """The ending that tells the kind of data."""
    return Path(file.stem).suffix if is_packed(file) else file.suffix


def _plain_name(file: Path) -> str:
    return Path(file.stem).stem if is_packed(file) else file.stem
