"""Checkpoints that a run can go on from: reading their state, setting half-written ones aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STATE_FILE = "adapt_state.json"


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The run's state in a checkpoint.

    Raises:
        ValueError: the folder is no checkpoint of an ADAPT run, or has the model only.
    """
    file = folder / STATE_FILE
    if not file.is_file():
        raise ValueError(
            f"resume_from_checkpoint: {folder} has no {STATE_FILE}, so the mixture and the budget "
            "cannot go on from it; give a checkpoint that this plugin wrote, or start in a new "
            "output_dir"
        )
    state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if _has_model_only(folder, state["ranks"]):
        raise ValueError(
            f"resume_from_checkpoint: {folder} has no optimizer and random state, because it was "
            "saved with save_only_model: true, so the run cannot go on from it as if nothing had "
            "happened; give a checkpoint that has them, or start in a new output_dir"
        )
    return state


def set_incomplete_checkpoints_aside(output_dir: Path) -> list[Path]:
    """Rename checkpoints that a kill left half-written, so that an automatic resume takes the last
    whole one. Trainer writes trainer_state.json last and in place, so a checkpoint is whole when
    that file parses, the run's state is there, and so are all ranks' random states. One that was
    saved without the optimizer (`save_only_model`) is whole without random states.

    Returns:
        The new names, `checkpoint-N.incomplete`.
    """
    renamed = []
    for folder in sorted(output_dir.glob("checkpoint-*")):
        if folder.name.removeprefix("checkpoint-").isdigit() and not _is_whole(folder):
            aside = folder.with_name(f"{folder.name}.incomplete")
            number = 1
            while aside.exists():
                number += 1
                aside = folder.with_name(f"{folder.name}.incomplete.{number}")
            folder.rename(aside)
            renamed.append(aside)
    return renamed


def last_checkpoint(output_dir: Path) -> Path | None:
    """The last one that a run can go on from."""
    return next(reversed(whole_checkpoints(output_dir)), None)


def whole_checkpoints(output_dir: Path) -> list[Path]:
    """Those that a run can go on from, the first one first."""
    numbered = {
        int(number): folder
        for folder in output_dir.glob("checkpoint-*")
        if (number := folder.name.removeprefix("checkpoint-")).isdigit()
    }
    return [folder for _, folder in sorted(numbered.items()) if _goes_on(folder)]


def _goes_on(folder: Path) -> bool:
    if not _is_whole(folder):
        return False
    ranks = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))["ranks"]
    return not _has_model_only(folder, ranks)


def _is_whole(folder: Path) -> bool:
    state = folder / STATE_FILE
    if not (state.is_file() and _ended(folder)):
        return False
    try:
        ranks = json.loads(state.read_text(encoding="utf-8"))["ranks"]
    except json.JSONDecodeError:
        return False
    if _has_model_only(folder, ranks):
        return True
    return all((folder / name).is_file() for name in _random_states(ranks))


def _has_model_only(folder: Path, ranks: int) -> bool:
    """The first rank writes its random state before trainer_state.json, or never."""
    return _ended(folder) and not (folder / _random_states(ranks)[0]).is_file()


def _ended(folder: Path) -> bool:
    """Whether trainer_state.json is there to its end."""
    file = folder / "trainer_state.json"
    if not file.is_file():
        return False
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return False
    return True


def _random_states(ranks: int) -> list[str]:
    if ranks == 1:
        return ["rng_state.pth"]
    return [f"rng_state_{rank}.pth" for rank in range(ranks)]
