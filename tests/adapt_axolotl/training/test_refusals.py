"""Through `axolotl train`: a run never trains silently without the plugin, and mistakes stop it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.launch import recipe, start, train

pytestmark = pytest.mark.slow


def test_a_mistake_is_the_last_thing_that_the_default_launcher_leaves(
    tiny: Path, tmp_path: Path
) -> None:
    config = recipe(tiny, tmp_path)
    config["adapts"] = config.pop("adapt")
    process = start(config, tmp_path, as_typed=True)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.wait() == 1
    first, _, last = output.partition("Traceback (most recent call last)")
    assert "subprocess.CalledProcessError" in last  # of the launcher
    assert "Traceback" not in last
    message = first[first.index("adapt-axolotl: adapt: this block is missing") :]
    assert last.endswith(f"\n\n{message}")
    assert "Loading model" not in output


def test_without_the_plugin_its_trainer_stops_the_run(tiny: Path, tmp_path: Path) -> None:
    config = recipe(tiny, tmp_path, plugins=[], num_epochs=1)
    output = train(config, tmp_path, fails=True)
    assert "the plugin is not loaded, so this run would train without ADAPT" in output
    assert "Traceback" not in output


def test_processes_that_do_not_train_together_stop_the_run(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    config = recipe(tiny, tmp_path)
    process = start(config, tmp_path, processes=2, together=False)
    assert process.stdout is not None
    output = process.stdout.read()
    assert process.wait() != 0
    # torchrun prints what the processes reported, the first of them last.
    said = "they would be independent runs into one output_dir"
    assert said in output.rpartition("Root Cause (first observed failure)")[2]
    assert "check_processes" not in output  # no traceback of a process


def test_a_budget_below_one_batch_stops_before_the_model_is_loaded(
    tiny: Path, tmp_path: Path
) -> None:
    output = train(recipe(tiny, tmp_path, adapt={"token_budget": 20}), tmp_path, fails=True)
    last = output.rstrip().splitlines()[-1]
    says = (
        "adapt-axolotl: adapt.token_budget: 20 supervised tokens are fewer than one optimizer step"
    )
    assert last.startswith(says)
    assert output.count("are fewer than one optimizer step") == 1
    assert "Traceback" not in output
    assert "Loading model" not in output


def test_an_option_that_axolotl_drops_stops_the_run(tiny: Path, tmp_path: Path) -> None:
    options = ["--adapt.token_budget", "10%"]
    output = train(recipe(tiny, tmp_path), tmp_path, fails=True, options=options)
    assert "--adapt.token_budget: Axolotl drops options of the adapt: block" in output
    assert "Loading model" not in output


@pytest.mark.skipif(torch.cuda.is_available(), reason="has the CUDA that the kernel needs")
def test_lora_kernels_without_cuda_are_told_before_the_model_is_loaded(
    tiny: Path, tmp_path: Path
) -> None:
    lora = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}
    output = train(recipe(tiny, tmp_path, **lora), tmp_path, fails=True)
    last = output.rstrip().splitlines()[-1]
    assert last.startswith("adapt-axolotl: lora_mlp_kernel: it is on")
    assert "set lora_mlp_kernel: false" in last
    assert "Loading model" not in output
    config = recipe(tiny, tmp_path, **lora, lora_mlp_kernel=False, max_steps=2)
    train(config, tmp_path)
