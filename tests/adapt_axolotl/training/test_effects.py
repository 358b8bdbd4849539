"""`adapt-axolotl effects` of a run that `axolotl train` made."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapt_axolotl.commands.effects import measure_effects
from adapt_axolotl.mixture.checkpoint_signs import LEAST_CHECKPOINTS
from tests.support.launch import TASKS, recipe, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    learned = {"start_after": "5%", "targets": ["constant", "reverse"]}
    adapt = {"learned": learned, "token_budget": 2500}
    train(
        recipe(tiny, folder, adapt=adapt, save_strategy="steps", save_steps=3, save_total_limit=9),
        folder,
    )
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def effects(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "adapt" / "effects.json").read_text())
    return found


def test_effects_of_a_finished_run(run: Path) -> None:
    before = digests(run)
    measure_effects(run, [], 32)
    after = digests(run)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"adapt/effects.json", "adapt/mixture.html"}
    found = effects(run)
    assert list(found["tasks"]) == list(TASKS)
    assert list(found["mixture"]) == ["constant", "reverse"]
    assert sum(one["share"] for one in found["checkpoints"]) == pytest.approx(1)
    assert len(found["checkpoints"]) >= LEAST_CHECKPOINTS
    # Its own rows help it most at each checkpoint.
    assert found["mixture"]["constant"]["chance_over_checkpoints"] < 0.05
    # What one word always answers is learned from its own rows first of all.
    constant = {task: of["constant"] for task, of in found["tasks"].items()}
    assert constant["constant"]["told"]
    assert constant["constant"]["above_mixture_told"]
    assert max(constant, key=lambda task: constant[task]["fall"]) == "constant"
    # The same rows and weights give the same numbers.
    measure_effects(run, [], 32)
    assert effects(run) == found


def test_any_task_may_be_asked_about(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    measure_effects(copy, ["copy"], 16)
    assert list(effects(copy)["mixture"]) == ["copy"]
    with pytest.raises(ValueError, match="--target none: no task of the run; choose from constant"):
        measure_effects(copy, ["none"], 16)


def test_a_run_without_checkpoints_says_how_to_keep_them(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "adapt", tmp_path / "adapt")
    with pytest.raises(ValueError, match=r"save_steps: 0\.1 .* save_total_limit: 20"):
        measure_effects(tmp_path, [], 16)


def test_an_optimizer_in_parts_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    for file in copy.glob("checkpoint-*/optimizer.pt"):
        file.unlink()
    with pytest.raises(ValueError, match=r"no optimizer\.pt, as where FSDP or DeepSpeed"):
        measure_effects(copy, [], 16)
