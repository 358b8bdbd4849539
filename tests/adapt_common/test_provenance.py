"""Versions and the state of a checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from adapt_common.provenance import checkout_of, git_state, package_versions


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one tracked file."""
    (tmp_path / "tracked.py").write_text("x = 1\n")
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_a_package_that_is_not_installed_has_no_version() -> None:
    found = package_versions(["pytest", "no-such-package"])
    assert found["pytest"] == pytest.__version__
    assert found["no-such-package"] is None


def test_a_checkout_is_dirty_once_a_tracked_file_changes(checkout: Path) -> None:
    state = git_state(checkout)
    assert state is not None
    assert len(state["commit"]) == 40
    assert not state["dirty"]
    (checkout / "new.py").touch()
    assert git_state(checkout) == state
    (checkout / "tracked.py").write_text("x = 2\n")
    assert git_state(checkout) == {**state, "dirty": True}


def test_a_file_that_no_repository_tracks_has_no_checkout(checkout: Path, tmp_path: Path) -> None:
    assert checkout_of(checkout / "tracked.py") == git_state(checkout)
    installed = checkout / "environment" / "package.py"
    installed.parent.mkdir()
    installed.touch()
    assert checkout_of(installed) is None


def test_outside_of_a_repository_there_is_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None
