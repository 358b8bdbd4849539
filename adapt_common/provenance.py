"""What makes a result traceable: versions of packages and the state of a git checkout."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def package_versions(names: Iterable[str]) -> dict[str, str | None]:
    """Installed version of each package; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def git_state(folder: Path) -> dict[str, Any] | None:
    """`{"commit": ..., "dirty": ...}` of the repository around a folder; None outside of one.

    Dirty are changes to tracked files only: data and the outputs of runs often lie beside them.

    Args:
        folder: any folder of the repository.
    """
    commit = git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def checkout_of(file: Path) -> dict[str, Any] | None:
    """`git_state` of the repository that tracks a file.

    None where none does: a package that is installed below somebody's repository is not a checkout
    of it.
    """
    file = file.resolve()
    if git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    return git_state(file.parent)


def git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None if it fails or git is not installed."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(folder), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None
