"""A recipe read for `adapt-axolotl plan`: what Axolotl would pass over stops it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from axolotl.integrations.base import PluginManager

from adapt_axolotl.integration.recipe_config import planned_run, resolved_config
from tests.support.launch import recipe

BROKEN = """
import no_such_package
class Plugin: pass
"""
ENDS = """
class Plugin:
    def __init__(self):
        raise ImportError("no such kernel")
"""


@pytest.fixture(autouse=True)
def no_plugins_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PluginManager, "_instance", None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "their_missing.Plugin",
            "plugins: their_missing.Plugin cannot be imported (No module named 'their_missing'); "
            "correct its name, install the package that it comes from, or remove it",
        ),
        ("their_broken.Plugin", "cannot be imported (No module named 'no_such_package')"),
        ("their_ends.Other", "cannot be imported (their_ends has no Other)"),
        ("axolotl.integrations.ligger.LigerPlugin", "No module named 'axolotl.integrations.ligg"),
        ("liger", "plugins: liger is no plugin; write its module and its class, as in"),
    ],
)
def test_a_plugin_that_cannot_be_imported_stops_it_without_a_traceback(
    name: str,
    says: str,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "their_broken.py").write_text(BROKEN)
    (tmp_path / "their_ends.py").write_text(ENDS)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "recipe.yml"
    plugins = [name, "adapt_axolotl.AdaptPlugin"]
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path / "run", plugins=plugins)))
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (its words are compared)
        resolved_config(file)
    assert says in str(refused.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_plugin_that_ends_with_an_import_error_stops_it_too(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_ends.py").write_text(ENDS)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "recipe.yml"
    plugins = ["their_ends.Plugin", "adapt_axolotl.AdaptPlugin"]
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path / "run", plugins=plugins)))
    with pytest.raises(ValueError, match="Plugin cannot be imported"):
        resolved_config(file)


def test_axolotls_own_plugins_are_found_by_their_short_names_as_well(
    tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.yml"
    plugins = ["liger.LigerPlugin", "adapt_axolotl.AdaptPlugin"]
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path / "run", plugins=plugins)))
    assert list(PluginManager.get_instance().plugins) == []
    resolved_config(file)
    assert list(PluginManager.get_instance().plugins) == plugins


@pytest.mark.parametrize("folder", ["./nowhere", "data/tiny/nowhere"])
def test_a_base_model_whose_folder_is_not_there_is_told_as_validate_does(
    folder: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path / "run", base_model=folder)))
    with pytest.raises(ValueError, match=f"recipe.yml: base_model: there is no folder {folder}; "):
        resolved_config(file)


@pytest.mark.parametrize(("kernel", "told"), [(None, True), (False, False)])
def test_plan_tells_a_lora_kernel_that_needs_cuda(
    kernel: bool | None, told: bool, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    lora = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}
    keys = lora if kernel is None else {**lora, "lora_mlp_kernel": kernel}
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path / "run", **keys)))
    here = planned_run(file, 1).here
    assert len(here) == told
    assert all(line.startswith("lora_mlp_kernel") for line in here)
