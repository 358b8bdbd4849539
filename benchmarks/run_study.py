"""Train the grid of the study, two runs at a time; stop it and start it again as you like.

    python benchmarks/run_study.py DIR/study --out runs/study               # all of it
    python benchmarks/run_study.py DIR/study --out runs/study --small       # about an hour
    python benchmarks/run_study.py DIR/study --out runs/trial \\
        --only uniform,learned --seeds 1 --budgets 1%                       # two runs

The whole grid begins with the runs that choose learning rates (`study_grid.py` says on what). With
--small, --seeds or --budgets they are left out, and an arm has the rate that such runs in FOLDER
have chosen, or 0.003. `collect_study.py` makes a table of what is done, at any time.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console
from study_arms import ARMS, STATIC
from study_cost import Costs, said
from study_done import seconds_taken, validation_losses
from study_grid import (
    REGIMES,
    Cell,
    Filter,
    Rates,
    before,
    best_static,
    grid,
    in_order,
    rates,
    small,
    tuned_at,
    tuning,
)
from study_progress import Display, log_of
from study_queue import Queue, started

from adapt_common.run_records import read_ledger

HERE = Path(__file__).parent


def main() -> None:
    given = arguments()
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; start it again to go on"))
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"{given.out}: another process runs this study")
        shutil.rmtree(given.out / ".running", ignore_errors=True)
        try:
            run(given, console)
        except KeyboardInterrupt:
            sys.exit("stopped; start it again to go on")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="DIR/study, a folder of rows a task")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--small", action="store_true", help="about an hour on two cores")
    parser.add_argument("--only", type=names(ARMS), metavar="ARM,ARM")
    parser.add_argument(
        "--regimes",
        type=names(REGIMES),
        metavar="REGIME,REGIME",
        help="targets are compared with uniform runs of natural: give both",
    )
    parser.add_argument("--budgets", type=shares, metavar="1%,5%")
    parser.add_argument("--seeds", type=numbers, metavar="1,2")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, of a thread each")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to do, and end")
    return parser.parse_args()


def names(known: Sequence[str] | Mapping[str, Any]) -> Any:
    """Reads names with commas between them."""

    def read(text: str) -> list[str]:
        found = [name.strip() for name in text.split(",")]
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(
                f"{unknown[0]}: there is none; choose from {', '.join(known)}"
            )
        return found

    return read


def shares(text: str) -> list[float]:
    """`1%,5%`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.endswith("%") for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: write percentages, as in 1%,5%")
    return [float(part.removesuffix("%")) / 100 for part in parts]


def numbers(text: str) -> list[int]:
    """`1,2,3`."""
    return [int(part) for part in text.split(",")]


def run(given: argparse.Namespace, console: Console) -> None:
    """Both stages."""
    wanted = Filter(given.only, given.regimes, given.budgets, given.seeds)
    whole = not (given.small or given.budgets or given.seeds)
    about = prepare(given, wanted)
    if whole:
        chosen = rates({})
        first = in_order(tuning(wanted), chosen)
        # Which arm is the best static one is not known yet; they all take as long.
        rest = in_order(grid(wanted, chosen, STATIC[0]), chosen)
        costs = Costs(about["tokens"], seconds_taken(given.out))
        both = said(costs.left(to_do(given.out, [*first, *rest]), given.workers))
        console.print(f"both stages: about {both}", highlight=False)
        stage(given, about, first, chosen, console, "learning rates")
    losses = validation_losses(given.out)
    chosen = rates(losses)
    if given.small:
        cells = small(wanted, chosen)
    else:
        cells = grid(wanted, chosen, best_static(losses, chosen) if whole else None)
    if not cells:
        sys.exit("no cell of the grid is left by these filters")
    budgets = dict.fromkeys(tuned_at(cell.budget) for cell in cells)
    for budget, rate in product(budgets, sorted(set(chosen.values()))):
        own = ", ".join(arm for arm in ARMS if chosen[arm, budget] == rate)
        if own:
            console.print(f"learning rate {rate:g} at {budget:.0%}: {own}", highlight=False)
    stage(given, about, in_order(cells, chosen), chosen, console, "the grid")


def prepare(given: argparse.Namespace, wanted: Filter) -> dict[str, Any]:
    """Tokenise the rows where that is not done; returns what `study_prepare.py` says of them."""
    regimes = wanted.regimes or (("natural", "balanced") if given.small else REGIMES)
    file = given.out / "data.json"
    if file.exists():
        known = json.loads(file.read_text(encoding="utf-8"))["folder"]
        if known != str(given.folder.resolve()):
            sys.exit(f"{given.out}: holds runs on {known}; give another --out")
    places = [given.out / "data" / f"{regime}.pickle" for regime in ("natural", *regimes)]
    if not file.exists() or not all(place.exists() for place in places):
        command = [sys.executable, str(HERE / "study_prepare.py"), str(given.folder)]
        command += ["--out", str(given.out), "--regimes", *regimes]
        subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def stage(
    given: argparse.Namespace,
    about: dict[str, Any],
    cells: list[Cell],
    chosen: Rates,
    console: Console,
    what: str,
) -> None:
    """Train the cells that are not done, or say which these are.

    Raises:
        SystemExit: some failed; the rest of the stage is done.
    """
    costs = Costs(about["tokens"], seconds_taken(given.out))
    left = to_do(given.out, cells)
    console.print(
        f"{what}: {len(cells)} cells, {len(left)} to do, about "
        f"{said(costs.left(left, given.workers))} by {given.workers} at a time",
        highlight=False,
    )
    if given.dry_run:
        return
    needed = partial(before, chosen=chosen)
    with Display(given.out, cells, costs, given.workers, console) as watch:
        start = partial(start_cell, given.out, about["tokens"], chosen)
        queue = Queue(given.out, needed, start, watch, given.workers)
        queue.run(cells)
    if queue.failed:
        sys.exit(
            f"{len(queue.failed)} cells failed, the first {queue.failed[0]}: see "
            f"{log_of(given.out, queue.failed[0])}; start the study again to try them again"
        )


def to_do(out: Path, cells: Sequence[Cell]) -> list[Cell]:
    """Those without a folder."""
    return [cell for cell in cells if not (out / cell.name).is_dir()]


def start_cell(
    out: Path, natural_tokens: int, chosen: Rates, cell: Cell
) -> subprocess.Popen[bytes]:
    """A process that trains a cell; the one that it needs is done."""
    needed = before(cell, chosen)
    tokens = int(cell.budget * natural_tokens)
    earlier = []
    if needed is not None and ARMS[cell.arm].key:
        earlier = ["--earlier", str(out / needed.name)]
    elif needed is not None:
        tokens += int(read_ledger(out / needed.name)["meta_tokens"])
    command = [sys.executable, str(HERE / "study_run.py"), "--out", str(out)]
    command += ["--cell", json.dumps(asdict(cell)), "--tokens", str(tokens), *earlier]
    command += ["--begun", str(time.time())]
    return started(command, log_of(out, cell))


if __name__ == "__main__":
    main()
