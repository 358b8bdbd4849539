"""What is used of Axolotl is there, and a release that changes it stops a run with a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from adapt_axolotl.integration import installed
from adapt_axolotl.integration import used as tables


def test_everything_that_is_used_is_installed() -> None:
    assert list(installed.changed_names()) == []


def test_the_versions_are_those_that_the_package_asks_for(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [Requirement(one) for one in project["project"]["dependencies"]]
    (axolotl,) = [one.specifier for one in asked if one.name == "axolotl"]
    assert axolotl == installed.MADE_FOR


@pytest.mark.parametrize(
    ("used", "says"),
    [
        (tables.Used("axolotl.nowhere", "thing"), "axolotl.nowhere.thing is gone"),
        (tables.Used("axolotl.utils.dict", "thing"), "axolotl.utils.dict.thing is gone"),
        (
            tables.Used("axolotl.utils.data.utils", "handle_long_seq_in_dataset", ("rows",)),
            "handle_long_seq_in_dataset takes no rows any more, only dataset, sequence_len, cfg",
        ),
        (
            tables.Used("axolotl.integrations.base", "BasePlugin", methods={"start": ()}),
            "axolotl.integrations.base.BasePlugin.start is gone",
        ),
        (
            tables.Used(
                "axolotl.core.trainers.base", "AxolotlTrainer", methods={"log": ("lines",)}
            ),
            "AxolotlTrainer.log takes no lines any more",
        ),
    ],
)
def test_a_change_is_named_with_what_to_install(
    used: tables.Used, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "NAMES", (*tables.NAMES, used))
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        installed.check_environment()
    assert f"install axolotl {installed.MADE_FOR}" in str(error.value)


def test_a_package_that_a_name_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import not_there.at_all\nthing = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tables, "NAMES", (*tables.NAMES, tables.Used("half_installed", "thing")))
    says = "half_installed.thing cannot be imported: the package not_there is not installed"
    with pytest.raises(ValueError, match=says):
        installed.check_environment()


GONE = """
import axolotl.utils.data.shared as shared
del shared.datasets_with_name_generator
import adapt_axolotl
adapt_axolotl.AdaptPlugin
"""


def test_a_name_that_is_gone_stops_the_import_of_the_plugin_with_a_sentence() -> None:
    """An ImportError would be caught by Axolotl, which then trains without the plugin."""
    done = subprocess.run([sys.executable, "-c", GONE], capture_output=True, text=True)
    last = done.stderr.rstrip().splitlines()
    assert done.returncode == 1
    assert any(line.startswith("ValueError: axolotl ") for line in last)
    assert "  - axolotl.utils.data.shared.datasets_with_name_generator is gone" in last
    assert last[-1].startswith(f"install axolotl {installed.MADE_FOR}")


def test_a_package_of_another_version_than_axolotl_pins_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(installed.other_versions()) == []
    monkeypatch.setattr(
        installed, "version", lambda name: "0.0.1" if name == "trl" else metadata.version(name)
    )
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        installed.check_environment()
    (said,) = caplog.messages
    assert "asks for trl==" in said
    assert "0.0.1 is installed" in said


def test_a_recipe_key_that_axolotl_renamed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RECIPE_KEYS", (*tables.RECIPE_KEYS, "micro_batches"))
    with pytest.raises(ValueError, match="the recipe key micro_batches is gone"):
        installed.check_environment()


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("axolotl.integrations.liger.args", "the recipe key liger_fused_loss is gone"),
        ("axolotl.integrations.liger.gone", "axolotl.integrations.liger.gone.LigerArgs is gone"),
    ],
)
def test_a_key_of_a_plugin_that_was_renamed_is_named(
    module: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PLUGIN_KEYS", ((module, "LigerArgs", ("liger_fused_loss",)),))
    assert list(installed.changed_names()) == [says]


def test_what_needs_a_package_that_is_not_there_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = tables.Used("axolotl.nowhere", "thing", needs="a_package_that_is_nowhere")
    monkeypatch.setattr(tables, "NAMES", (*tables.NAMES, used))
    assert list(installed.changed_names()) == []


def test_another_version_that_has_everything_is_told_and_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(installed, "MADE_FOR", SpecifierSet(">=0.1,<0.2"))
    with caplog.at_level("WARNING", logger="axolotl.adapt"):
        installed.check_environment()
    assert "is installed. Everything that is used is there" in caplog.text


def test_a_deepspeed_that_keeps_parameters_otherwise_is_told() -> None:
    parameter: Any = torch.nn.Parameter(torch.zeros(0))
    for name in tables.ZERO3_PARAMETER:
        setattr(parameter, name, None)
    engine = SimpleNamespace(
        parameters=lambda: iter([parameter]),
        optimizer=SimpleNamespace(empty_partition_cache=lambda: None),
    )
    installed.check_zero3(engine)
    del parameter.ds_numel, engine.optimizer.empty_partition_cache
    said = "the optimizer's empty_partition_cache, a parameter's ds_numel is gone; install"
    with pytest.raises(ValueError, match=said):
        installed.check_zero3(engine)
