"""Is a learned mixture more than noise? Runs on the study's data, and what they say.

    python benchmarks/learned_signal.py run DIR/study --arms uniform learned --seeds 1 2 3 4 5
    python benchmarks/learned_signal.py run DIR/study --regime clones --arms learned --seeds 1 2 3
    python benchmarks/learned_signal.py page

`run` appends a line for each run to docs/measured/learned_signal.jsonl and passes over those that
stand there, so that it can be stopped, and started twice for two cores (with other seeds). `table`
prints what stands there, `page` writes it into docs/learned_signal.md.

Regimes: `study` (20 tasks), `clones` (each of them split in two of one distribution), `null` (all
rows dealt out to 20 tasks at random), `noise` (the answers of four tasks shuffled).

Arms: `uniform`, `proportional`, `temperature` (3); `learned` (the defaults), and by other measures,
rules and objectives (`ARMS`); `oracle`, which measures 100 validation rows of each task wherever
the default looks at what training gave it; controls: `replay` (the average of `learned` of the same
seed, as a static mixture), `permuted` (the same with its tasks permuted); and what a search for the
best static mixture runs and finds (`static_search.py`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import static_search
import torch
from scipy import stats
from study import Data, Example, Learning, Outcome, StudyRows, read, tokenizer_of, train

DOCS = Path(__file__).parents[1] / "docs"
FILE = DOCS / "measured" / "learned_signal.jsonl"
PAGE = DOCS / "learned_signal.md"
README = DOCS.parent / "README.md"
START, END = (
    "<!-- tables: written by benchmarks/learned_signal.py page -->",
    "<!-- end of tables -->",
)

REGIMES = ("study", "clones", "null", "noise")
# In the regime `noise`; of all sizes.
NOISE = ("g2p_greek", "g2p_hungarian", "inflect_finnish", "inflect_maltese")

ARMS: dict[str, Learning | None] = {
    "uniform": None,
    "proportional": None,
    "temperature": None,
    "replay": None,
    "permuted": None,
    "learned": Learning(),
    "learned, mean": Learning(objective="mean"),
    "oracle": Learning(oracle_rows=100),
    "loss_falls": Learning(measure="loss_falls"),
    "products": Learning(measure="products"),
    "products, steps": Learning(measure="products", rule="steps", objective="relative"),
}
SEARCH = (*static_search.RANDOM, *static_search.PROPOSED, *static_search.FOUND)
ARMS |= dict.fromkeys(SEARCH)

Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("folder", type=Path)
    run.add_argument("--regime", choices=REGIMES, default="study")
    run.add_argument("--arms", nargs="+", choices=list(ARMS), required=True)
    run.add_argument("--seeds", nargs="+", type=int, required=True)
    run.add_argument("--budget", type=float, default=0.05, help="share of all supervised tokens")
    run.add_argument("--bins", type=int, default=1, help="of 512 tokens in an optimizer step")
    run.add_argument(
        "--uncharged", action="store_true", help="meta tokens come on top of the budget"
    )
    run.add_argument("--file", type=Path, default=FILE)
    table = commands.add_parser("table")
    table.add_argument("--file", type=Path, default=FILE)
    page = commands.add_parser("page")
    page.add_argument("--check", action="store_true", help="fail where it would change")
    arguments = parser.parse_args()
    if arguments.command == "table":
        print(tables(lines(arguments.file)))
        return
    if arguments.command == "page":
        write_page(check=arguments.check)
        return
    torch.set_num_threads(1)
    data = regime(arguments.folder, arguments.regime)
    for seed in arguments.seeds:
        for arm in arguments.arms:
            key = {
                "regime": arguments.regime,
                "arm": arm,
                "seed": seed,
                "budget": arguments.budget,
                "bins": arguments.bins,
                "charged": not arguments.uncharged,
            }
            known = lines(arguments.file)
            if any(key.items() <= line.items() for line in known):
                continue
            outcome = one_run(data, key, known)
            line = {**key, "tasks": list(data.train.pools.tasks), **numbers(outcome)}
            with arguments.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(
                f"{arguments.regime} {arm} {seed}: loss {outcome.losses.mean():.3f}, "
                f"exact {outcome.exact.mean():.3f}, over noise {outcome.over_noise:.2f}",
                flush=True,
            )


def write_page(*, check: bool) -> None:
    """Put the tables where the page and the README have them."""
    known = lines(FILE)
    for file, text in ((PAGE, tables(known)), (README, summary(known))):
        old = file.read_text(encoding="utf-8")
        before, _, rest = old.partition(START)
        _, _, after = rest.partition(END)
        new = f"{before}{START}\n\n{text.strip()}\n\n{END}{after}"
        if check and new != old:
            raise SystemExit(f"{file}: run `python benchmarks/learned_signal.py page`")
        file.write_text(new, encoding="utf-8")


def summary(known: list[Line]) -> str:
    """The default beside uniform mixing, by budget, over the seeds that both have."""
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
    return "\n".join(out)


def one_run(data: Data, key: Line, known: list[Line]) -> Outcome:
    pools = data.train.pools
    arm, seed = key["arm"], key["seed"]
    return train(
        data,
        seed=seed,
        budget=int(key["budget"] * pools.available_tokens.sum()),
        bins=key["bins"],
        charged=key["charged"],
        initial=(
            static_search.mixture(arm, key, known, len(pools.tasks))
            if arm in SEARCH
            else static(arm, pools.available_tokens, {**key, "arm": "learned"}, known)
        ),
        learning=ARMS[arm],
    )


def static(arm: str, available: np.ndarray, learned: Line, known: list[Line]) -> np.ndarray | None:
    """The shares of a static arm; None for uniform ones."""
    if arm in ("proportional", "temperature"):
        heated = available ** (1.0 if arm == "proportional" else 1 / 3)
        return np.asarray(heated / heated.sum())
    if arm not in ("replay", "permuted"):
        return None
    found = [line for line in known if learned.items() <= line.items()]
    if not found:
        raise SystemExit(f"{arm}: run the arm learned with seed {learned['seed']} first")
    average = np.array(found[0]["average"])
    order = np.random.default_rng(learned["seed"]).permutation(len(average))
    return average if arm == "replay" else average[order]


def regime(folder: Path, name: str) -> Data:
    tokenizer = tokenizer_of(folder)
    return Data(
        *(
            StudyRows(changed(read(folder, split), name, split), tokenizer)
            for split in ("train", "validation", "test")
        )
    )


def changed(examples: list[Example], name: str, split: str) -> list[Example]:
    """The examples of a split as the regime has them."""
    rng = np.random.default_rng(0)
    if name == "clones":
        return [
            (f"{task} {'ab'[number % 2]}", question, answer)
            for number, (task, question, answer) in enumerate(examples)
        ]
    if name == "null":
        dealt = rng.integers(0, 20, len(examples))
        return [
            (f"part {part:02}", question, answer)
            for part, (_, question, answer) in zip(dealt, examples, strict=True)
        ]
    if name == "noise":
        result = []
        for task in dict.fromkeys(task for task, _, _ in examples):
            own = [example for example in examples if example[0] == task]
            answers = [answer for _, _, answer in own]
            if task in NOISE:
                answers = [answers[place] for place in rng.permutation(len(answers))]
            result += [(task, own[i][1], answer) for i, answer in enumerate(answers)]
        return result
    return examples


def numbers(outcome: Outcome) -> Line:
    """As JSON has it."""
    line = asdict(outcome)
    for key, value in line.items():
        if isinstance(value, np.ndarray):
            line[key] = [float(f"{number:.6g}") for number in value]
        elif isinstance(value, float):
            line[key] = float(f"{value:.6g}") if np.isfinite(value) else None
    return line


def lines(file: Path) -> list[Line]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def tables(known: list[Line]) -> str:
    """A table for each regime and budget: what the arms reached, and how alike seeds are."""
    out = []
    known = [line for line in known if line["seed"] != static_search.SEED]
    groups = dict.fromkeys((line["regime"], line["budget"], line["bins"]) for line in known)
    for name, budget, bins in groups:
        group = [
            line
            for line in known
            if (line["regime"], line["budget"], line["bins"]) == (name, budget, bins)
        ]
        out.append(f"### {name}, {budget:.0%}\n")
        out.append(
            "| arm | seeds | loss | worst quarter | exact match | loss over uniform | "
            "worst quarter over uniform | over noise | seeds alike | like the oracle | "
            "meta tokens | time |"
        )
        out.append("| --- " + "| ---: " * 11 + "|")
        out += [row(arm, group) for arm in dict.fromkeys(map(named, group))]
        out += ["", *special(name, group), ""]
    return "\n".join(out)


def named(line: Line) -> str:
    """The arm; meta tokens count against the budget unless it says otherwise."""
    free = not line["charged"] and line["meta_tokens"]
    return f"{line['arm']}, meta tokens on top" if free else line["arm"]


def reached(line: Line) -> tuple[float, float]:
    """(mean loss, mean of the worst quarter) over the tasks that can be learned."""
    losses = np.array(line["losses"])
    if line["regime"] == "noise":
        losses = losses[[task not in NOISE for task in line["tasks"]]]
    return float(losses.mean()), static_search.quarter(losses)


def row(arm: str, group: list[Line]) -> str:
    runs = sorted((line for line in group if named(line) == arm), key=lambda line: line["seed"])
    losses, quarters = np.array([reached(line) for line in runs]).T
    exact = np.mean([line["exact"] for line in runs])
    over = [line["over_noise"] for line in runs if line["over_noise"] is not None]
    time = np.mean([line["meta_seconds"] / line["seconds"] for line in runs])
    alike = [
        np.corrcoef(np.log(one["final"]), np.log(other["final"]))[0, 1]
        for one, other in combinations(runs, 2)
        if np.ptp(one["final"]) > 1e-9 and np.ptp(other["final"]) > 1e-9
    ]
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
        f"{np.mean(alike):.2f}" if alike and ARMS[runs[0]["arm"]] is not None else "",
        like_the_oracle(runs, group),
        f"{np.mean([line['meta_tokens'] for line in runs]):,.0f}",
        f"{time:.1%}",
    )
    return f"| {' | '.join(cells)} |"


def like_the_oracle(runs: list[Line], group: list[Line]) -> str:
    """Mean correlation of the last log shares with those of the oracle of the same seed."""
    oracle = {line["seed"]: line["final"] for line in group if line["arm"] == "oracle"}
    if ARMS[runs[0]["arm"]] is None or runs[0]["arm"] == "oracle":
        return ""
    found = [
        np.corrcoef(np.log(line["final"]), np.log(oracle[line["seed"]]))[0, 1]
        for line in runs
        if line["seed"] in oracle and np.ptp(line["final"]) > 1e-9
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
    for arm in dict.fromkeys(line["arm"] for line in group if ARMS[line["arm"]] is not None):
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
        elif name == "noise":
            tasks = group[0]["tasks"]
            noise = relative[:, [task in NOISE for task in tasks]]
            yield f"{arm}: tasks of noise end at {noise.mean():.2f} of their uniform share."


if __name__ == "__main__":
    main()
