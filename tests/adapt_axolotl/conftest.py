"""Fixtures of the plugin's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.written_recipe import good_recipe


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe that is fine, beside its data."""
    monkeypatch.chdir(tmp_path)
    return good_recipe()
