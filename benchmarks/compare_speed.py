"""How long `adapt-eval compare` takes and how much memory, and how long `--help`.

    python benchmarks/compare_speed.py

Makes two runs of 40,000 items over the benchmarks of ood11 and two of 100,000 rows in one file,
with texts of about a kilobyte for each item, and times the command in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from adapt_eval.results import MANIFEST, write_json, write_result
from adapt_eval.schema import (
    BenchmarkResult,
    Fingerprint,
    Manifest,
    MeasuredModel,
    MeasuredSuite,
)
from adapt_eval.suite import Benchmark, load_suite, suite_hash

TEXT = "The quick brown fox jumps over the lazy dog while {} others look on. " * 14


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # Made in another process: the memory of a child counts from that of its parent.
        subprocess.run([sys.executable, __file__, place], check=True)
        compared = ["compare", str(folder / "a"), str(folder / "b"), "--json"]
        large = ["compare", str(folder / "a100k"), str(folder / "b100k"), "--json"]
        report("adapt-eval --help", ["--help"])
        report(f"compare two runs of 40,000 items ({size(folder / 'a')} MB each)", compared)
        report(f"compare two files of 100,000 rows ({size(folder / 'a100k')} MB each)", large)


def make(folder: Path) -> None:
    """All runs."""
    suite = load_suite("ood11")
    whole = sum(one.items for one in suite.benchmarks)
    for seed, name in enumerate(("a", "b")):
        for one in suite.benchmarks:
            made_run(folder / name, one, round(one.items * 40_000 / whole), seed)
        made_run(folder / f"{name}100k", suite.benchmarks[1], 100_000, seed)


def made_run(folder: Path, benchmark: Benchmark, items: int, seed: int) -> None:
    """Results as a real run leaves them, with random scores."""
    import numpy as np

    random = np.random.default_rng(seed)
    scores = (random.uniform(size=items) < 0.4).astype(float)
    rows: list[dict[str, Any]] = [
        {
            "subtask": benchmark.task,
            "filter": "none",
            "doc_id": number,
            "doc_hash": f"{number:064x}",
            "target_hash": f"{number + 1:064x}",
            "prompt_hash": f"{number + 2:064x}",
            "cluster": f"passage {number // 16}" if benchmark.cluster else "",
            "primary": True,
            "score": float(score),
            "metrics": "{}",
            "document": TEXT.replace("{}", str(number)),
            "target": "yes",
            "prompt": TEXT.replace("{}", str(-number)),
            "responses": str(random.integers(0, 1 << 62, 20).tolist()),
            "filtered": "[]",
        }
        for number, score in enumerate(scores)
    ]
    content = BenchmarkResult(
        task=benchmark.task,
        family=benchmark.family,
        metric=benchmark.metric,
        score=float(scores.mean()),
        items=items,
        chance=benchmark.chance,
        floor=benchmark.floor,
        clustered_by=benchmark.cluster,
        settings={"shots": benchmark.shots},
        fingerprint=Fingerprint(model=folder.name),
    )
    results = folder / "eval" / "ood11"
    suite = load_suite("ood11")
    manifest = Manifest(
        model=MeasuredModel(name=folder.name, hash=folder.name),
        suite=MeasuredSuite(
            name="ood11",
            note=suite.note,
            hash=suite_hash(suite),
            benchmarks=[one.task for one in suite.benchmarks],
        ),
    )
    write_json(results / MANIFEST, manifest)
    write_result(results, content, rows)


def report(what: str, arguments: list[str]) -> None:
    """Run it three times; the best time, the largest memory."""
    times, memory = [], 0
    for _ in range(3):
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "adapt_eval.cli", *arguments], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, f"{what} failed"
        times.append(time.monotonic() - started)
        memory = max(memory, usage.ru_maxrss)
    print(f"{what}: {min(times):.2f} s, {memory / 1024:.0f} MiB at most")


def size(folder: Path) -> int:
    """Megabytes below a folder."""
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        make(Path(sys.argv[1]))
