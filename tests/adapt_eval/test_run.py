"""Running the embedded suite: results, resume, and what is refused before a model is loaded."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml

from adapt_eval.comparison.stored import read_items
from adapt_eval.fetch import save
from adapt_eval.results import read_manifest, read_result
from adapt_eval.run import plan, run_suite
from tests.adapt_eval.conftest import Command
from tests.support.eval_model import write_model
from tests.support.tiny_suite import Quiet, options

TINY = ["--suite", "tiny", "--allow-code-execution", "--unsafe"]
TASKS = ["tiny_sums", "tiny_passages", "tiny_programs", "tiny_instructions"]


@pytest.fixture
def own(model: Path, tmp_path: Path) -> Path:
    """A copy of the model without results."""
    folder = tmp_path / "own"
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("eval"))
    return folder


def test_the_tiny_suite_leaves_results_samples_and_a_manifest(tiny_run: Path) -> None:
    results = tiny_run / "eval" / "tiny"
    manifest = read_manifest(results)
    assert manifest.suite.benchmarks == TASKS
    assert {"lm_eval", "transformers", "torch"} <= set(manifest.versions)
    assert len(manifest.model.hash) == 64
    for task, items in zip(TASKS, (60, 40, 12, 32), strict=True):
        result = read_result(results / f"{task}.json")
        table = pyarrow.parquet.read_table(result.samples_file)
        assert result.content.items == table.num_rows == items
        scores = table["score"].to_pylist()
        assert sum(scores) / len(scores) == pytest.approx(result.content.score, rel=1e-12)
    passages = pyarrow.parquet.read_table(results / "tiny_passages.samples.parquet")
    assert len(set(passages["cluster"].to_pylist())) == 10


def test_a_finished_run_is_not_measured_again_until_forced(own: Path) -> None:
    first, again, forced = Quiet(), Quiet(), Quiet()
    only = ["tiny_sums"]
    run_suite(options(own, only=only), first)  # type: ignore[arg-type]
    run_suite(options(own, only=only), again)  # type: ignore[arg-type]
    run_suite(options(own, only=only, force=True), forced)  # type: ignore[arg-type]
    assert (first.measured, again.measured, forced.measured) == (only, [], only)
    assert first.requests[-1] == (240, 240)


def test_results_of_another_model_or_config_are_never_reused(own: Path) -> None:
    only = ["tiny_sums"]
    run_suite(options(own, only=only), Quiet())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="measured with another limit; --force"):
        run_suite(options(own, only=only, limit=3), Quiet())  # type: ignore[arg-type]
    write_model(own, seed=7)
    with pytest.raises(ValueError, match="measured with another model; --force"):
        run_suite(options(own, only=only), Quiet())  # type: ignore[arg-type]


def test_a_result_belongs_to_what_the_suite_says_of_its_benchmark(
    own: Path, tmp_path: Path
) -> None:
    shipped = yaml.safe_load(files("adapt_eval").joinpath("suites/tiny.yaml").read_text())
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(shipped))
    chosen = {"suite": str(file), "only": ["tiny_sums"], "output": str(tmp_path / "results")}
    run_suite(options(own, **chosen), Quiet())  # type: ignore[arg-type]
    again = Quiet()
    run_suite(options(own, **chosen), again)  # type: ignore[arg-type]
    assert again.measured == []
    for benchmark in shipped["benchmarks"]:
        benchmark["chance"] = 0.6
    file.write_text(yaml.safe_dump(shipped))
    with pytest.raises(ValueError, match="measured with another benchmark; --force"):
        run_suite(options(own, **chosen), Quiet())  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_it_has_and_says_so(own: Path) -> None:
    call = [sys.executable, "-m", "adapt_eval.cli", "run", str(own), *TINY]
    process = subprocess.Popen(call, stderr=subprocess.PIPE, text=True, start_new_session=True)
    first = own / "eval" / "tiny" / "tiny_sums.json"
    while process.poll() is None and not first.exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("adapt-eval: interrupted; finished benchmarks are kept")
    assert "Traceback" not in said
    assert read_result(first).content.items == 60


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(own: Path, command: Command) -> None:
    call = [sys.executable, "-m", "adapt_eval.cli", "run", str(own), *TINY]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, start_new_session=True)
    first = own / "eval" / "tiny" / "tiny_sums.json"
    while process.poll() is None and not first.exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    written = first.stat().st_mtime_ns
    assert not (own / "eval" / "tiny" / "tiny_instructions.json").exists()
    done = command("run", own, *TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert [one["task"] for one in json.loads(done.stdout)["benchmarks"]] == TASKS
    assert first.stat().st_mtime_ns == written
    assert "measuring tiny_sums" not in done.stderr


def test_a_dry_run_names_items_and_detectable_effects_and_writes_nothing(own: Path) -> None:
    planned = plan(options(own), Quiet())  # type: ignore[arg-type]
    assert [one.items for one in planned.benchmarks] == [60, 40, 12, 32]
    assert planned.benchmarks[0].minimum_detectable_effect == pytest.approx(0.1143, abs=1e-4)
    assert not (own / "eval").exists()


def test_code_runs_only_when_allowed(own: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny_programs: .* Add --allow-code-execution"):
        run_suite(options(own, allow_code_execution=False), Quiet())  # type: ignore[arg-type]


def test_code_runs_without_containment_only_where_that_is_asked_for(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapt_eval.sandbox.run.bubblewrap_works", lambda: False)
    with pytest.raises(ValueError, match=r"tiny_programs: nothing here contains .* by --unsafe"):
        plan(options(own, unsafe=False), Quiet())  # type: ignore[arg-type]
    assert plan(options(own), Quiet()).benchmarks  # type: ignore[arg-type]


def test_the_chat_profile_templates_generated_answers_only(own: Path) -> None:
    only = ["tiny_sums", "tiny_instructions"]
    run_suite(options(own, only=only, profile="chat", limit=2), Quiet())  # type: ignore[arg-type]

    def prompt(task: str) -> str:
        table = pyarrow.parquet.read_table(own / "eval" / "tiny" / f"{task}.samples.parquet")
        return str(table["prompt"][0])

    assert "<|im_start|>" not in prompt("tiny_sums")
    assert prompt("tiny_instructions").endswith("<|im_start|>assistant\n")


def test_race_is_read_from_a_mirror_of_its_form(own: Path, tmp_path: Path) -> None:
    # Its licence forbids a copy, so the parity test has no data for it: four rows made here.
    import datasets

    problem = {"question": "Who came ?", "answer": "B", "options": ["Ada", "Ben", "Cleo", "Dan"]}
    rows = [
        {"article": f"Ben came {n} times.", "problems": str([problem, problem])} for n in "1234"
    ]
    save(
        tmp_path / "EleutherAI" / "race",
        "race",
        {"high": {"test": datasets.Dataset.from_list(rows)}},
    )
    run_suite(
        options(own, suite="ood11", only=["race"], data_roots=[str(tmp_path)]),
        Quiet(),  # type: ignore[arg-type]
    )
    result = read_result(own / "eval" / "ood11" / "race.json")
    assert result.content.items == 4
    assert len(set(read_items(result).clusters)) == 4


def test_an_adapter_is_measured_on_its_base(own: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(own)
    lora = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    adapter = tmp_path / "adapter"
    get_peft_model(base, lora).save_pretrained(str(adapter))
    limits: dict[str, Any] = {"only": ["tiny_sums"], "limit": 4}
    run_suite(options(own, **limits), Quiet())  # type: ignore[arg-type]
    run_suite(options(adapter, **limits), Quiet())  # type: ignore[arg-type]

    def said(run: Path) -> list[str]:
        table = pyarrow.parquet.read_table(run / "eval" / "tiny" / "tiny_sums.samples.parquet")
        return list(table["responses"].to_pylist())

    assert said(adapter) != said(own)


@pytest.mark.slow
def test_options_come_from_flag_then_environment_then_file(
    own: Path, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("run: {suite: tiny, limit: 5, allow_code_execution: true}")
    call = ["--config", file, "run", own, "--dry-run", "--json"]

    def items(*flags: str, **environment: str) -> int:
        done = command(*call, *flags, **environment)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["benchmarks"][0]["items"])

    assert items() == 5
    assert items(ADAPT_EVAL_RUN_LIMIT="4") == 4
    assert items("--limit", "3", ADAPT_EVAL_RUN_LIMIT="4") == 3
