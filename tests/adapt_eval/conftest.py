"""Fixtures of the evaluation tests: a model as small as they come, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.eval_model import write_model

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def command() -> Command:
    """`adapt-eval` in a process of its own, as a user would call it."""

    def run(
        *arguments: object, folder: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "adapt_eval.cli", *map(str, arguments)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ADAPT_EVAL_")}
        return subprocess.run(
            call,
            capture_output=True,
            text=True,
            check=False,
            env={**inherited, **environment},
            cwd=folder,
        )

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of two layers with random weights, and a byte tokenizer with a chat template."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny", seed=0)


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models with results on the tiny suite. Read only."""
    from adapt_eval.progress import Reporter
    from adapt_eval.run import Options, run_suite

    runs = []
    for seed, name in enumerate(("first", "second")):
        run = write_model(tmp_path_factory.mktemp("runs") / name, seed)
        with Reporter() as reporter:
            run_suite(
                Options(str(run), suite="tiny", allow_code_execution=True, unsafe=True), reporter
            )
        runs.append(run)
    return runs


@pytest.fixture(scope="session")
def tiny_run(tiny_runs: list[Path]) -> Path:
    """The first of the two."""
    return tiny_runs[0]
