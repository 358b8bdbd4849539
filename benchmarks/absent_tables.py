"""What the runs of `absent_targets.py` say: the tables of docs/learned_signal.md.

python benchmarks/absent_tables.py            write them
python benchmarks/absent_tables.py --check    fail where they would change
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
from absent_targets import ARMS, TARGETS, Line, asked, lines, trained
from next_weights import next_weights
from scipy import stats
from signal_tables import PAGE, put

from adapt_axolotl.mixture.checkpoint_signs import across_checkpoints

START, END = (
    "<!-- absent targets: written by benchmarks/absent_tables.py -->",
    "<!-- end of absent targets -->",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    known = lines()
    text = f"{told(known)}\n\n{arms(known)}"
    put(PAGE, (START, END), text, __file__, check=parser.parse_args().check)


def told(known: list[Line]) -> str:
    """How far effects stand out between checkpoints, and whether another seed finds them again."""
    rows = [
        "| target | stands out in | chance, from seed to seed | seeds alike |",
        "| --- | ---: | --- | ---: |",
    ]
    first = [line for line in known if line["arm"] == "uniform"]
    for target in TARGETS:
        effects = [np.array(line["effects"][target]) for line in first]
        even = np.full(effects[0].shape[1], 1 / effects[0].shape[1])
        found = [next_weights(one, even) for one in effects]
        chances = ", ".join(f"{one.chance:.3f}" for one in found)
        over = [across_checkpoints(one, even) for one in effects]
        means = [one.mean for one in over if one is not None]
        alike = [np.corrcoef(a, b)[0, 1] for a, b in combinations(means, 2)]
        rows.append(
            f"| {target} | {sum(one.kept > 0 for one in found)} of {len(found)} | {chances} | "
            f"{np.mean(alike):.2f} |"
        )
    return "\n".join(rows)


def arms(known: list[Line]) -> str:
    """Over the uniform run of the same seed; mean and 95 % interval over seeds (t)."""
    rows = [
        "| target | arm | seeds | loss | over uniform | calibrated, over uniform | right tokens | "
        "over uniform | exact match, over uniform | trained tasks, over uniform |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    first = {line["seed"]: line for line in known if line["arm"] == "uniform"}
    for target in TARGETS:
        for arm in ARMS:
            ours = [
                line
                for line in known
                if line["arm"] == arm and line["target"] in asked(arm, [target])
            ]
            if not ours:
                continue
            theirs = [first[line["seed"]] for line in ours]
            values = {
                name: [line[name][target] for line in ours]
                for name in ("losses", "calibrated", "right", "exact")
            }
            over = {
                name: [one - line[name][target] for one, line in zip(of, theirs, strict=True)]
                for name, of in values.items()
            }
            rest = [trained(a) - trained(b) for a, b in zip(ours, theirs, strict=True)]
            cells = [
                f"{np.mean(values['losses']):.3f}",
                below(over["losses"]),
                below(over["calibrated"]),
                f"{np.mean(values['right']):.3f}",
                above(over["right"]),
                above(over["exact"]),
                spread(rest),
            ]
            if arm == "uniform":
                cells = [cell if place in (0, 3) else "" for place, cell in enumerate(cells)]
            rows.append(f"| {target} | {arm} | {len(ours)} | {' | '.join(cells)} |")
    return "\n".join(rows)


def below(values: list[float]) -> str:
    return f"{spread(values)} (below in {sum(one < 0 for one in values)})"


def above(values: list[float]) -> str:
    return f"{spread(values)} (above in {sum(one > 0 for one in values)})"


def spread(values: list[float]) -> str:
    mean = f"{np.mean(values):+.3f}"
    if len(values) < 2:
        return mean
    error = np.std(values, ddof=1) / len(values) ** 0.5 * stats.t.ppf(0.975, len(values) - 1)
    return f"{mean} ± {error:.3f}"


if __name__ == "__main__":
    main()
