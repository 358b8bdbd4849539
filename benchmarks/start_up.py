"""How long `axolotl train` takes to its first optimizer step, with the plugin and without.

    adapt-axolotl tiny data/tiny
    ADAPT_TEST_DATA=DIR python benchmarks/start_up.py [--repeats 3]

The recipe is `recipes/adapt_real_cpu.yml` with its 20 tasks; without the plugin it is the same file
less what belongs to ADAPT. Both find their data prepared. Runs alternate, each is stopped after its
first step; median [least, most].
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recipes = {kind: write(folder, kind) for kind in ("alone", "uniform", "adapt")}
        for recipe in recipes.values():  # fills the caches
            seconds_to_first_step(recipe)
        times: dict[str, list[float]] = {kind: [] for kind in recipes}
        for _ in range(repeats):
            for kind, recipe in recipes.items():
                times[kind].append(seconds_to_first_step(recipe))
    for kind, seconds in times.items():
        ratios = [mine / base for mine, base in zip(seconds, times["alone"], strict=True)]
        print(
            f"{kind}: {statistics.median(seconds):.1f} s [{min(seconds):.1f}, {max(seconds):.1f}],"
            f" {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] of Axolotl"
        )


def write(folder: Path, kind: str) -> Path:
    """The recipe as `kind`: with a learned mixture, a uniform one, or for Axolotl alone."""
    source = ROOT / "recipes" / "adapt_real_cpu.yml"
    text = os.path.expandvars(source.read_text(encoding="utf-8"))
    config: dict[str, Any] = yaml.safe_load(text)
    config["output_dir"] = str(folder / kind)
    config["dataset_prepared_path"] = str(folder / f"{kind}_prepared")
    config["logging_steps"] = 1
    if kind == "uniform":
        config["adapt"] = {**config["adapt"], "mixture": "uniform"}
    if kind == "alone":
        for key in ("plugins", "trainer_cls", "adapt"):
            del config[key]
        for entry in config["datasets"] + config["test_datasets"]:
            entry.pop("task")
        config["max_steps"] = 200
    path = folder / f"{kind}.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def seconds_to_first_step(recipe: Path) -> float:
    command = [str(Path(sys.executable).with_name("axolotl")), "train", str(recipe)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--launcher", "python"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    output = []
    for line in process.stdout:  # with universal newlines, a progress bar's updates are lines
        output.append(line)
        if "'grad_norm'" in line:
            taken = time.perf_counter() - started
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return taken
    raise SystemExit("the run ended before its first step:\n" + "".join(output[-40:]))


if __name__ == "__main__":
    main()
