"""The list of recipes is made from the recipes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

RECIPES = Path(__file__).resolve().parent.parent.parent / "recipes"


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    spec = importlib.util.spec_from_file_location("catalogue", RECIPES / "catalogue.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_shipped_recipe_is_listed_and_those_that_were_run_come_first(
    catalogue: ModuleType,
) -> None:
    lines = [line for line in catalogue.catalogue(RECIPES).splitlines() if line.startswith("| [")]
    assert len(lines) == len(list(RECIPES.glob("*.yml")))
    ran = ["run here" in line for line in lines]
    assert ran == sorted(ran, reverse=True)
    (line,) = (line for line in lines if "(adapt_qwen_5pct.yml)" in line)
    assert "| Qwen/Qwen3-0.6B | 5% | learned | 20 | one GPU with 24 GB or more |" in line


def test_a_recipe_that_does_not_say_whether_it_was_run_is_an_error(
    catalogue: ModuleType, tmp_path: Path
) -> None:
    text = (RECIPES / "adapt_tiny_cpu.yml").read_text()
    (tmp_path / "mine.yml").write_text(text.replace("# Status:", "# State:"))
    with pytest.raises(ValueError, match=r"mine.yml: .* `# Status:`; add one"):
        catalogue.catalogue(tmp_path)
