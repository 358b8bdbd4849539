"""Run `axolotl train` on the tiny model, as a user would.

A run on one process is forked from a server that has done its imports (see fork_server.py), unless
it asks for a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.chat_entries import entries
from tests.support import fork_server

TASKS = ("constant", "copy", "yes_no", "reverse", "noise")


# The paper's measure and rule: gradient products, read off the training backward.
PRODUCTS = {"measure": "products", "rule": "steps"}
# Falls of the losses of validation rows.
FALLS = {"measure": "loss_falls", "update_every": 3, "start_after": "5%", "rows_per_task": 8}


def recipe(tiny: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A short run over five tasks of the tiny mixture; `changes` replace top-level keys, and
    those in `adapt` are merged into the block."""
    adapt = {
        "token_budget": 2500,
        "mixture": "learned",
        "learned": {"start_after": "5%"},
        **changes.pop("adapt", {}),
    }

    return {
        "base_model": str(tiny / "model"),
        "reinit_weights": True,
        "plugins": ["adapt_axolotl.AdaptPlugin"],
        "trainer_cls": "adapt_axolotl.trainer.AdaptTrainer",
        "adapt": adapt,
        "datasets": entries(tiny / "data", TASKS, "train"),
        "test_datasets": entries(tiny / "data", TASKS, "validation"),
        "dataset_prepared_path": str(tiny / "prepared"),
        "output_dir": str(folder),
        "sequence_len": 64,
        "micro_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "optimizer": "adamw_torch",
        "learning_rate": 3e-3,
        "lr_scheduler": "cosine",
        "warmup_ratio": 0.1,
        "seed": 7,
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "attn_implementation": "sdpa",
        "dataset_num_proc": 1,
        "pad_to_multiple_of": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        **changes,
    }


def start(
    config: dict[str, Any],
    folder: Path,
    *,
    processes: int = 1,
    together: bool = True,
    shim: str | None = None,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    as_typed: bool = False,
) -> subprocess.Popen[str] | fork_server.Run:
    """Start a run; its output is one stream of lines.

    Args:
        together: the processes form one run.
        shim: a file beside this one that is launched instead of `axolotl train`.
        environment: is added to this process's.
        options: are added to the command line.
        as_typed: the command is what a user types, `axolotl train RECIPE`, so that accelerate
            launches it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    launcher = [] if as_typed else ["--launcher", "python"]
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # axolotl finds torchrun by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **(environment or {}),
    }
    if processes > 1:
        launcher = ["--launcher", "torchrun", "--", f"--nproc_per_node={processes}"]
        if together:
            variables |= {"ACCELERATE_USE_CPU": "1", "ACCELERATE_TORCH_DEVICE": "cpu"}
    arguments = ["train", str(file), *options, *launcher]
    if not (processes > 1 or shim or as_typed or torch.cuda.is_available()):
        server = fork_server.server(frozenset((environment or {}).items()))
        return server.run(arguments, variables)
    command = [str(Path(sys.executable).with_name("axolotl")), *arguments]
    if shim is not None:
        command = [
            str(Path(sys.executable).with_name("torchrun")),
            "--standalone",
            f"--nproc_per_node={processes}",
            str(Path(__file__).with_name(shim)),
            str(file),
        ]
        for name in ("ACCELERATE_USE_CPU", "ACCELERATE_TORCH_DEVICE"):
            variables.pop(name, None)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=variables,
        start_new_session=True,
    )


def train(
    config: dict[str, Any],
    folder: Path,
    *,
    processes: int = 1,
    fails: bool = False,
    shim: str | None = None,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    as_typed: bool = False,
) -> str:
    """Run to the end; gives the output. Asserts the exit code."""
    process = start(
        config,
        folder,
        processes=processes,
        shim=shim,
        environment=environment,
        options=options,
        as_typed=as_typed,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    assert (process.wait() != 0) == fails, output[-6000:]
    return output


def train_until(
    config: dict[str, Any],
    folder: Path,
    stop: Callable[[str], bool],
    *,
    processes: int = 1,
    shim: str | None = None,
) -> bool:
    """Kill the run (SIGKILL) at the first output line that `stop` accepts: the whole group, or one
    of several processes, after which their launcher ends the others.

    Returns:
        Whether it was killed; False if it ended before.
    """
    process = start(config, folder, processes=processes, shim=shim)
    assert process.stdout is not None
    for line in process.stdout:
        if stop(line):
            if processes > 1:
                os.kill(process_of_rank(str(folder), 1), signal.SIGKILL)
                process.stdout.read()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
    assert process.wait() == 0
    return False


def process_of_rank(recipe_folder: str, rank: int) -> int:
    """The process that trains the folder's recipe as `rank`."""
    for folder in Path("/proc").iterdir():
        if not (folder / "cmdline").exists():
            continue
        if recipe_folder.encode() not in (folder / "cmdline").read_bytes():
            continue
        if f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
            return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


def ledger(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "adapt" / "ledger.json").read_text())


def history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "adapt" / "history.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """What Trainer logged, from the last checkpoint, without what depends on the clock and without
    Axolotl's own token counters, which start again with each process."""
    last = max(folder.glob("checkpoint-*[0-9]"), key=lambda p: int(p.name.split("-")[1]))
    lines = json.loads((last / "trainer_state.json").read_text())["log_history"]
    left_out = ("memory/", "runtime", "per_second")
    return [
        {
            key: value
            for key, value in line.items()
            if not key.startswith("tokens/") and not any(word in key for word in left_out)
        }
        for line in lines
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
