"""What `adapt-eval run` takes over lm-eval's own command for the same work.

    python benchmarks/eval_overhead.py [--repeats 5]

A small model of random weights, the benchmarks of `tiny` that run no code, without examples; one
call of `lm_eval run --log_samples` with all of them against one `adapt-eval run`. Both load the
model, ask the same requests in the same batches and write all samples. They take turns, so that a
spell in which the machine is slow falls on both alike. Processor time and wall time, as ratios of
neighbours: median [least, most]. Scores have to be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

TASKS = ("tiny_sums", "tiny_passages", "tiny_instructions")
# Both commands with one batch size, on the CPU.
ALIKE = ("8", "cpu")


class Taken(NamedTuple):
    """Seconds."""

    processor: float
    wall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with contextlib.redirect_stdout(sys.stderr):  # for what libraries say when imported
            model = write_model(folder)
        suite = folder / "same.yaml"
        suite.write_text(yaml.safe_dump({"benchmarks": entries()}))
        pairs = [both(folder, model, suite, number) for number in range(repeats)]
    print(f"Qwen3, 8 layers of 256, on one core; {', '.join(TASKS)}, {repeats} pairs in turn")
    print()
    print("| | lm_eval run | adapt-eval run | ratio |")
    print("| --- | ---: | ---: | ---: |")
    for name in Taken._fields:
        theirs, ours = ([getattr(one, name) for one in side] for side in zip(*pairs, strict=True))
        ratios = [b / a for a, b in zip(theirs, ours, strict=True)]
        print(
            f"| {name} time, s | {statistics.median(theirs):.1f} | {statistics.median(ours):.1f} | "
            f"{statistics.median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}] |"
        )


def write_model(folder: Path) -> Path:
    """Random weights with the tokenizer of the project's tiny model."""
    from transformers import AutoConfig, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from adapt_axolotl.commands.tiny import write_tiny

    write_tiny(folder / "tiny")
    source = next((folder / "tiny").rglob("tokenizer_config.json")).parent
    tiny, model = AutoConfig.from_pretrained(source), folder / "model"
    config = Qwen3Config(
        vocab_size=tiny.vocab_size,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=8,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=tiny.eos_token_id,
        pad_token_id=tiny.pad_token_id,
    )
    torch.manual_seed(0)
    Qwen3ForCausalLM(config).save_pretrained(str(model))
    AutoTokenizer.from_pretrained(source).save_pretrained(str(model))
    return model


def entries() -> list[dict[str, object]]:
    """Of `tiny`, without examples: one call of lm-eval has one number for all."""
    text = files("adapt_eval").joinpath("suites", "tiny.yaml").read_text(encoding="utf-8")
    known = {one["task"]: one for one in yaml.safe_load(text)["benchmarks"]}
    return [{**known[task], "shots": 0} for task in TASKS]


def both(folder: Path, model: Path, suite: Path, number: int) -> tuple[Taken, Taken]:
    """One after the other, each first in half of the pairs."""
    size, device = ALIKE
    theirs, ours = folder / f"theirs{number}", folder / f"ours{number}"
    own = str(files("adapt_eval").joinpath("tasks"))
    call = ["-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model}"]
    call += ["--tasks", *TASKS, "--num_fewshot", "0", "--include_path", own, "--log_samples"]
    call += ["--batch_size", size, "--device", device, "--output_path", str(theirs)]
    run = ["-m", "adapt_eval.cli", "run", str(model), "--suite", str(suite), "--output", str(ours)]
    run += ["--batch-size", size, "--device", device]
    taken = {}
    for name in ("theirs", "ours")[:: 1 if number % 2 else -1]:
        taken[name] = timed(call if name == "theirs" else run)
    check_equal(theirs, ours)
    return taken["theirs"], taken["ours"]


def timed(call: list[str]) -> Taken:
    """One command, in a process of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *call], env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(spent, wall)


def check_equal(theirs: Path, ours: Path) -> None:
    """The same scores, or the work was not the same."""
    results = json.loads(next(theirs.rglob("results_*.json")).read_text())["results"]
    for task in TASKS:
        content = json.loads((ours / f"{task}.json").read_text())
        assert content["score"] == results[task][content["metric"]], task


if __name__ == "__main__":
    main()
