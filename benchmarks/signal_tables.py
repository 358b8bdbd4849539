"""What the runs of `learned_signal.py` say: tables for docs/learned_signal.md and the README.

python benchmarks/signal_tables.py            write them
python benchmarks/signal_tables.py --check    fail where they would change
python benchmarks/signal_tables.py --print FILE
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import static_search
from scipy import stats
from study_regimes import SPOILED, TARGETS, counted

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "measured" / "learned_signal.jsonl"
PAGE = DOCS / "learned_signal.md"
README = DOCS.parent / "README.md"
START, END = (
    "<!-- tables: written by benchmarks/signal_tables.py -->",
    "<!-- end of tables -->",
)

# Arms whose objective is over the targets alone.
TARGET_ARMS = ("learned, targets", "learned, targets, others kept")

# Static mixtures that runs of a search say are the best for the targets.
STATIC_TARGETS = ("searched, targets", "proposed, targets, others kept")

# Those of which the other tasks have bounds.
KEPT_ARMS = (TARGET_ARMS[1], STATIC_TARGETS[1])

# On these lambda and beta were chosen; they are in no other table.
CHOICE = (101, 102, 103, 104)

Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--print", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.print:
        print(tables(lines(arguments.print)))
    else:
        write_page(check=arguments.check)


def write_page(*, check: bool) -> None:
    """Put the tables where the page and the README have them."""
    known = lines(FILE)
    for file, text in ((PAGE, tables(known)), (README, summary(known))):
        put(file, (START, END), text, __file__, check=check)


def put(file: Path, marks: tuple[str, str], text: str, script: str, *, check: bool) -> None:
    """Put a text between two marks of a file.

    Raises:
        SystemExit: `check`, and it would change.
    """
    start, end = marks
    old = file.read_text(encoding="utf-8")
    before, _, rest = old.partition(start)
    _, _, after = rest.partition(end)
    new = f"{before}{start}\n\n{text.strip()}\n\n{end}{after}"
    if check and new != old:
        raise SystemExit(f"{file}: run `python benchmarks/{Path(script).name}`")
    file.write_text(new, encoding="utf-8")


def summary(known: list[Line]) -> str:
    """The default beside uniform mixing, by budget, over the seeds that both have."""
    known = [line for line in known if line["seed"] not in (*CHOICE, static_search.SEED)]
    out = [
        "| twenty tasks | seeds | learned | uniform | difference |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for budget in sorted({line["budget"] for line in known if line["regime"] == "study"}):
        arms = {
            arm: {
                line["seed"]: line
                for line in known
                if (line["regime"], line["arm"], line["budget"]) == ("study", arm, budget)
            }
            for arm in ("learned", "uniform")
        }
        seeds = sorted(arms["learned"].keys() & arms["uniform"].keys())
        if not seeds:
            continue
        values = {
            arm: np.array([[*reached(runs[s]), np.mean(runs[s]["exact"])] for s in seeds])
            for arm, runs in arms.items()
        }
        for place, what in enumerate(
            ("mean loss", "mean loss of the worst quarter of tasks", "exact match")
        ):
            learned, uniform = values["learned"][:, place], values["uniform"][:, place]
            out.append(
                f"| {what}, {budget:.0%} of the tokens | {len(seeds)} | {learned.mean():.3f} | "
                f"{uniform.mean():.3f} | {difference(learned - uniform)} |"
            )
    out += targets_in_short(known)
    return "\n".join(out)


def targets_in_short(known: list[Line]) -> Iterator[str]:
    """The same for runs in which four tasks alone count."""
    losses = target_losses(
        [line for line in known if line["regime"] == "study" and line["budget"] == 0.05]
    )
    seeds = [seed for arm, seed in losses if arm == "learned, targets"]
    if not seeds:
        return
    learned, uniform = (
        np.array([losses[arm, seed] for seed in seeds]) for arm in ("learned, targets", "uniform")
    )
    yield (
        f"| mean loss of four small tasks as `targets`, 5% of the tokens | {len(seeds)} | "
        f"{learned.mean():.3f} | {uniform.mean():.3f} | {difference(learned - uniform)} |"
    )


def target_losses(runs: list[Line]) -> dict[tuple[str, int], float]:
    """Mean loss of the targets, by arm and seed."""
    return {(run["arm"], run["seed"]): static_search.reached("targets", run) for run in runs}


def lines(file: Path) -> list[Line]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def tables(known: list[Line]) -> str:
    """A table for each regime and budget: what the arms reached, and how alike seeds are."""
    out = []
    search = [line for line in known if line["seed"] == static_search.SEED]
    known = [line for line in known if line["seed"] != static_search.SEED]
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in known:
        key = (line["seed"] in CHOICE, line["regime"], line["budget"], line["bins"])
        groups.setdefault(key, []).append(line)
    for (choice, name, budget, _), group in sorted(groups.items(), key=lambda item: item[0][0]):
        chosen_on = f": seeds {CHOICE[0]} to {CHOICE[-1]}, on which lambda and beta were chosen"
        out.append(f"### {name}, {budget:.0%}{chosen_on if choice else ''}\n")
        out.append(
            "| arm | seeds | loss | worst quarter | exact match | loss over uniform | "
            "worst quarter over uniform | over noise | seeds alike | like the oracle | "
            "meta tokens | time |"
        )
        out.append("| --- " + "| ---: " * 11 + "|")
        out += [row(arm, group) for arm in dict.fromkeys(map(named, group))]
        out += ["", *([] if choice else special(name, group)), ""]
        if search and not choice and name == "study" and budget == search[0]["budget"]:
            out += [searched(search), ""]
    return "\n".join(out)


def named(line: Line) -> str:
    """The arm; meta tokens count against the budget unless it says otherwise."""
    free = not line["charged"] and line["meta_tokens"]
    return f"{line['arm']}, meta tokens on top" if free else line["arm"]


def learns(line: Line) -> bool:
    """Whether the arm's mixture is a learned one."""
    kind: str = line["arm"].partition(",")[0]
    return kind in ("learned", "oracle", "loss_falls", "products")


def reached(line: Line) -> tuple[float, float]:
    """(mean loss, mean of the worst quarter) over the tasks that can be learned."""
    kept = counted(line["regime"], line["tasks"])
    losses = np.array(line["losses"])[[task in kept for task in line["tasks"]]]
    return float(losses.mean()), static_search.quarter(losses)


def row(arm: str, group: list[Line]) -> str:
    runs = sorted((line for line in group if named(line) == arm), key=lambda line: line["seed"])
    losses, quarters = np.array([reached(line) for line in runs]).T
    exact = np.mean([line["exact"] for line in runs])
    over = [line["over_noise"] for line in runs if line["over_noise"] is not None]
    time = np.mean([line["meta_seconds"] / line["seconds"] for line in runs])
    alike = alike_by_pairs((one["final"], other["final"]) for one, other in combinations(runs, 2))
    uniform = {line["seed"]: reached(line) for line in group if line["arm"] == "uniform"}
    pairs = [line for line in runs if line["seed"] in uniform and arm != "uniform"]
    over_uniform = np.array(
        [np.subtract(reached(line), uniform[line["seed"]]) for line in pairs]
    ).reshape(-1, 2)
    cells = (
        arm,
        str(len(runs)),
        f"{losses.mean():.3f}",
        f"{quarters.mean():.3f}",
        f"{exact:.3f}",
        difference(over_uniform[:, 0]),
        difference(over_uniform[:, 1]),
        f"{np.mean(over):.1f}" if over else "",
        alike if learns(runs[0]) else "",
        like_the_oracle(runs, group),
        f"{np.mean([line['meta_tokens'] for line in runs]):,.0f}",
        f"{time:.1%}",
    )
    return f"| {' | '.join(cells)} |"


def like_the_oracle(runs: list[Line], group: list[Line]) -> str:
    """Mean correlation of the last log shares with those of the oracle of the same seed."""
    oracle = {line["seed"]: line["final"] for line in group if line["arm"] == "oracle"}
    if not learns(runs[0]) or runs[0]["arm"] == "oracle":
        return ""
    return alike_by_pairs(
        (line["final"], oracle[line["seed"]]) for line in runs if line["seed"] in oracle
    )


def alike_by_pairs(pairs: Iterable[tuple[list[float], list[float]]]) -> str:
    """Mean correlation of log shares over pairs of mixtures; those that are uniform tell none."""
    found = [
        np.corrcoef(np.log(one), np.log(other))[0, 1]
        for one, other in pairs
        if np.ptp(one) > 1e-9 and np.ptp(other) > 1e-9
    ]
    return f"{np.mean(found):.2f}" if found else ""


def difference(values: np.ndarray) -> str:
    """Mean over seeds, with a 95 % interval of t and how many are below 0."""
    if not len(values):
        return ""
    if len(values) == 1:
        return f"{values[0]:+.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} ± {half:.3f} (below in {(values < 0).sum()})"


def special(name: str, group: list[Line]) -> Iterator[str]:
    """What a regime is there for."""
    for arm in dict.fromkeys(line["arm"] for line in group if learns(line)):
        final = np.array([line["final"] for line in group if line["arm"] == arm])
        relative = final * final.shape[1]
        if name == "clones":
            pairs = np.abs(np.log(final[:, 0::2] / final[:, 1::2]))
            yield (
                f"{arm}: clones differ by {np.median(np.expm1(pairs)):.1%} (median), "
                f"{np.expm1(pairs).max():.1%} at most; tasks by a standard deviation of "
                f"{np.log(final).std(axis=1).mean():.2f} nats."
            )
        elif name == "null":
            yield f"{arm}: shares from {relative.min():.2f} to {relative.max():.2f} of uniform."
        elif name in ("noise", "duplicates"):
            spoiled = relative[:, [task in SPOILED for task in group[0]["tasks"]]]
            yield f"{arm}: the spoiled tasks end at {spoiled.mean():.2f} of their uniform share."
    if name == "study":
        yield from regret(group)
        if any(line["arm"].endswith("targets") for line in group):
            yield from targets(group)


def searched(search: list[Line]) -> str:
    """What the runs of the search for a static mixture say, random ones and proposed ones."""
    uniform = next(reached(line) for line in search if line["arm"] == "uniform")
    over = {
        line["arm"]: np.subtract(reached(line), uniform)
        for line in search
        if line["arm"] != "uniform"
    }
    random = np.array([over[arm] for arm in over if arm in static_search.RANDOM])
    proposed = [
        f"`{arm}` {over[arm][0]:+.3f} and {over[arm][1]:+.3f}"
        for arm in static_search.PROPOSED
        if arm in over
    ]
    return (
        f"The search (seed {static_search.SEED}): over uniform mixing, the mean loss and the worst "
        f"quarter of {len(random)} random mixtures end {difference(random[:, 0])} and "
        f"{difference(random[:, 1])}; {', '.join(proposed)}."
    )


def regret(group: list[Line]) -> Iterator[str]:
    """How far the learned arms end above what a search found, by seed."""
    runs = {(line["arm"], line["seed"]): reached(line) for line in group}
    for place, (arm, goal) in enumerate((("learned, mean", "mean"), ("learned", "worst quarter"))):
        searched = f"searched, {goal}"
        over = np.array(
            [
                runs[arm, seed][place] - runs[searched, seed][place]
                for name, seed in runs
                if name == arm and (searched, seed) in runs
            ]
        )
        if len(over):
            level = np.mean(
                [runs[searched, seed][place] for name, seed in runs if name == searched]
            )
            what = "mean loss" if goal == "mean" else goal
            yield (
                f"Over `{searched}`, `{arm}` ends {difference(over)} in the {what}, "
                f"{over.mean() / level:+.1%}.\n"
            )


def targets(group: list[Line]) -> Iterator[str]:
    """Of the runs for which four tasks are all that counts."""
    yield "Where the mean loss of four small tasks is all that counts:\n"
    yield (
        "| arm | seeds | loss of the four | over uniform | their exact match | their share at the "
        "end | other tasks over uniform | most of one |"
    )
    yield "| --- " + "| ---: " * 7 + "|"
    four = np.array([task in TARGETS for task in group[0]["tasks"]])
    values = target_losses(group)
    uniform = {line["seed"]: line for line in group if line["arm"] == "uniform"}
    for arm in ("uniform", "learned", *TARGET_ARMS, *STATIC_TARGETS):
        runs = [line for line in group if line["arm"] == arm and line["seed"] in uniform]
        if not runs:
            continue
        over = [values[arm, run["seed"]] - values["uniform", run["seed"]] for run in runs]
        ratios = np.array(
            [np.divide(run["losses"], uniform[run["seed"]]["losses"]) for run in runs]
        )
        cells = (
            arm,
            str(len(runs)),
            f"{np.mean([values[arm, run['seed']] for run in runs]):.3f}",
            difference(np.array(over)) if arm != "uniform" else "",
            f"{np.mean([np.array(run['exact'])[four] for run in runs]):.3f}",
            f"{np.mean([np.array(run['final'])[four].sum() for run in runs]):.2f}",
            f"{ratios[:, ~four].mean() - 1:+.0%}" if arm != "uniform" else "",
            f"{ratios[:, ~four].max() - 1:+.0%}" if arm != "uniform" else "",
        )
        yield f"| {' | '.join(cells)} |"
    said = [kept_said(arm, values) for arm in KEPT_ARMS if any(one == arm for one, _ in values)]
    if said:
        yield f"\nWith bounds on the other tasks: {'; '.join(said)}."


def kept_said(arm: str, losses: dict[tuple[str, int], float]) -> str:
    """How much of what the targets gain without bounds they gain with them, and how unlike seeds
    are.

    Args:
        arm: with bounds.
        losses: `target_losses`.
    """
    seeds = [seed for one, seed in losses if one == arm]
    gained, free = (
        np.mean([losses["uniform", seed] - losses[one, seed] for seed in seeds])
        for one in (arm, TARGET_ARMS[0])
    )
    ends = [losses[arm, seed] for seed in seeds]
    return (
        f"the four gain {gained / free:.0%} as much by `{arm}` as by `{TARGET_ARMS[0]}` with the "
        f"same seeds, and end at {min(ends):.2f} to {max(ends):.2f}"
    )


if __name__ == "__main__":
    main()
