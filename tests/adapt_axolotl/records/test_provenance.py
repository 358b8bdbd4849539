"""The source of the plugin is told where it is known, and never guessed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapt_axolotl.records import provenance
from adapt_axolotl.records.provenance import plugin_source


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@host"]
    call = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def installed_from(monkeypatch: pytest.MonkeyPatch, record: dict | None) -> None:
    """Stands in for what pip wrote when it installed the package."""
    text = None if record is None else json.dumps(record)
    found = SimpleNamespace(read_text=lambda name: text)
    monkeypatch.setattr(provenance, "distribution", lambda name: found)


def test_a_checkout_is_known_by_its_commit_and_tells_no_address(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.touch()
    git(tmp_path, "init")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@host/it.git")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert plugin_source(file) == {"commit": commit, "dirty": False, "url": None}
    file.write_text("changed")
    assert plugin_source(file) == {"commit": commit, "dirty": True, "url": None}


def test_a_package_that_lies_in_somebody_elses_repository_is_not_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init")
    file = tmp_path / "site.py"
    file.touch()
    installed_from(monkeypatch, None)
    assert plugin_source(file) is None
    installed_from(monkeypatch, {"url": "file:///here", "dir_info": {}})
    assert plugin_source(file) is None
    origin = {"url": "https://host/it.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    installed_from(monkeypatch, origin)
    assert plugin_source(file) == {"commit": "abc", "dirty": False, "url": "https://host/it.git"}
