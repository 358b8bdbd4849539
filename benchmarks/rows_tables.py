"""What the runs of `learned_rows.py` say: the table of docs/learned_rows.md.

python benchmarks/rows_tables.py            write it
python benchmarks/rows_tables.py --check    fail where it would change
"""

from __future__ import annotations

import argparse

import numpy as np
from learned_rows import ARMS, FILE, REGIMES
from signal_tables import DOCS, Line, difference, lines, put
from static_search import quarter

PAGE = DOCS / "learned_rows.md"
START, END = "<!-- table: written by benchmarks/rows_tables.py -->", "<!-- end of table -->"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    put(PAGE, (START, END), table(lines(FILE)), __file__, check=parser.parse_args().check)


def table(known: list[Line]) -> str:
    """A line for each regime, number of passes and arm; differences are paired by seed."""
    out = [
        "| regime | passes | rows | seeds | loss | worst quarter | exact match | "
        "loss over uniform | "
        "exact match over uniform | wrong rows found |",
        "| --- | ---: | --- | " + "---: | " * 7,
    ]
    for passes in sorted({line["passes"] for line in known}):
        for regime in REGIMES:
            group = [line for line in known if (line["regime"], line["passes"]) == (regime, passes)]
            runs = {(line["arm"], line["seed"]): line for line in group}
            for arm in ARMS:
                out += row(arm, [line for line in group if line["arm"] == arm], runs)
    return "\n".join(line.strip() for line in out)


def row(arm: str, own: list[Line], runs: dict[tuple[str, int], Line]) -> list[str]:
    if not own:
        return []
    losses, exact = (np.array([np.mean(line[key]) for line in own]) for key in ("losses", "exact"))
    uniform = [runs["uniform", line["seed"]] for line in own]
    found = [line["found"] for line in own if line["found"] is not None]
    over = {
        key: difference(np.array([np.mean(line[key]) for line in own]) - baseline)
        for key in ("losses", "exact")
        for baseline in [np.array([np.mean(line[key]) for line in uniform])]
    }
    cells = (
        own[0]["regime"],
        f"{own[0]['passes']:g}",
        arm,
        str(len(own)),
        f"{losses.mean():.3f}",
        f"{np.mean([quarter(np.array(line['losses'])) for line in own]):.3f}",
        f"{exact.mean():.3f}",
        "" if arm == "uniform" else over["losses"],
        "" if arm == "uniform" else over["exact"],
        f"{np.mean(found):.0%}" if found else "",
    )
    return [f"| {' | '.join(cells)} |"]


if __name__ == "__main__":
    main()
