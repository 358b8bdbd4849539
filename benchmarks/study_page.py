"""Write docs/study.md and its figures from the tables that `collect_study.py` made.

    python benchmarks/study_page.py            write them
    python benchmarks/study_page.py --check    fail where the page would change

What the page says of results is said by `study_words.py` from the same tables, so it is about the
runs that are there, and names them. Figures differ from one version of matplotlib to the next and
are not compared.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from collect_study import CELLS, MEASURED
from signal_tables import put
from static_search import SEED as SEARCH_SEED
from study_arms import ARMS
from study_compare import Group
from study_figures import figures, svg
from study_grid import BUDGETS, RATES, SEEDS, TUNED_ON, TUNING_SEEDS
from study_measured import Measured, read
from study_metrics import NATS, SMALLEST
from study_pretrained import pretrained
from study_readme import MARKS, in_short
from study_searched import REGIMES as SEARCHED
from study_searched import best_mean_said
from study_tables import (
    bill,
    controls,
    forms,
    percent,
    regret,
    results,
    there,
)
from study_words import findings, not_shown, rates_said

from adapt_common.files import write_atomically
from adapt_common.markdown import table

DOCS = MEASURED.parent

TEXT = """\
# When does a learned mixture pay?

Written by `benchmarks/study_page.py` from the runs that are there: no result or verdict is typed by
hand, and none is about other runs than those named here.

{findings}

{not_shown}

## Which runs there are

{there}

The whole grid has {seeds} seeds of every arm; at 5 % and 10 % of the natural regime, ten of uniform
mixing, the default learner and the best static arm (the first {seeds} among them).

{rates}

## What is compared

A Qwen3 of about a million parameters learns twenty tasks of published data from scratch, each with
one right answer (pronunciations and inflections in many languages, SCAN, COGS, SQL). All arms draw
through the same sampler under the same exact budget of supervised tokens; a budget is a share of
those of all tasks as they are ({budgets}), in every regime. Exact match is the share of test rows
whose greedy answer is right, loss is per supervised token of the test rows; both are means over
tasks.

{arms}

{searches} The runs of a search have seed {search_seed}, at 5 %
([study_search.py](../benchmarks/study_search.py)). In `noise` and `duplicates` a search knows
which tasks are reported and takes tokens from the others; no other arm knows, and all twenty tasks
count for the learned ones.

A learning rate is chosen for each arm {grid},
with seeds {tuning_seeds} in the regime `{tuned_regime}`, by the mean validation loss over tasks:
that of uniform mixing, unless another one is better for the arm with every seed. Another budget has
the rates of the nearest one. No such run is in a table. A control has the rate of the run that it
comes from, other objectives of ADAPT that of `learned`, a searched mixture that of `uniform`,
`doremi` its own in all three runs.

ADAPT's own settings were chosen on these twenty tasks with seeds 101 to 104
([learned_signal.md](learned_signal.md)), those of the other methods are their papers' but for DoGE,
whose `mu` was chosen as the table says; so it has been fitted to these tasks more than they were.
Seeds 1 to 5 were seen by earlier versions of it.

Regimes: `natural`, the tasks as they are, whose sizes differ forty-fold; `balanced`, every task cut
to as many training rows as the smallest; `noise`, the answers of four tasks shuffled, which are not
reported; `duplicates`, four tasks have copies of 60 training rows only, which are not reported;
`targets`, four small tasks alone count and are reported (for arms that know no targets these are
the runs of `natural`; controls, which replay those, have none there).

Statistics are those of `adapt-eval compare` ([evaluation.md](evaluation.md)): seeds are paired and
are the unit, intervals at 95 % are over seeds and test rows and not corrected; `better` and `worse`
are at 5 % after correction over all arms of a table, of exact match and of loss apart; a difference
matters from {smallest_exact:g} of exact match and {smallest_loss:g} nats on; ranks are right
together in 95 %. The compared score of loss is 1 - loss / log V, which is linear in it, and is
shown in nats. The worst quarter is the mean loss of the quarter of the tasks with the highest;
which tasks these are differs from run to run, so its intervals are Student's over seeds alone, and
nothing is claimed from them.

## Results

{results}

## Regret

How far an arm ends from the best one of its column, exact match. The best one was found on the
same runs, so it is flattered.

{regret_exact}

The same in loss:

{regret_loss}

## With a model that was trained on text first

Everything above is of a model that starts from random weights. The same tasks, test rows and
statistics, with a Qwen3 that was trained on text before, through `axolotl train`:

{pretrained}

## Figures

{figures}

## Run it

```bash
export ADAPT_TEST_DATA=DIR        # DIR/study has a folder of rows for each task
make study-small                  # {small}
make study                        # the whole grid
```

Both go on where they were stopped. `benchmarks/run_study.py --help` has filters; `--dry-run` says
how many runs there are to do and how long they take. `make study-page` collects what is done and
writes this page.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tables", type=Path, default=MEASURED, help="folder of both tables")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the page")
    parser.add_argument("--readme", type=Path, default=DOCS.parent / "README.md")
    given = parser.parse_args()
    file = given.docs / "study.md"
    if given.check and not file.exists() and not (given.tables / CELLS).exists():
        print("no results of the study are here yet, and no page")
        return
    measured = read(given.tables)
    drawn = list(figures(measured))
    shown = "\n\n".join(f"![{name}](study/{name}.svg)\n\n{filled(says)}" for name, says, _ in drawn)
    text = page(measured, shown, given.tables)
    if given.check:
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{file}: run `python benchmarks/study_page.py`")
        put(given.readme, MARKS, in_short(measured), __file__, check=True)
        return
    for name, _, figure in drawn:
        write_atomically(given.docs / "study" / f"{name}.svg", svg(figure))
    write_atomically(file, text)
    put(given.readme, MARKS, in_short(measured), __file__, check=False)


def page(measured: Measured, shown: str, tables: Path) -> str:
    """The whole page.

    Args:
        measured: both tables.
        shown: its figures.
        tables: their folder; those of the pretrained model are below it.
    """
    return TEXT.format(
        findings="\n\n".join(map(filled, findings(measured))),
        not_shown=filled(f"What this does not show: {not_shown(measured)}"),
        there=there(measured),
        seeds=len(SEEDS),
        rates=filled(rates_said(measured)),
        budgets=", ".join(percent(one) for one in sorted(BUDGETS)),
        searches=" ".join(best_mean_said(regime) for regime in SEARCHED),
        search_seed=SEARCH_SEED,
        arms=table(
            ("arm", "what it is"),
            [(name, arm.says) for name, arm in ARMS.items() if arm.reported],
            set(),
        ),
        grid=" and ".join(
            f"among {', '.join(f'{rate:g}' for rate in tried)} at {percent(budget)}"
            for budget, tried in RATES.items()
        ),
        tuning_seeds=" and ".join(map(str, TUNING_SEEDS)),
        tuned_regime=TUNED_ON,
        smallest_exact=SMALLEST["exact_match"],
        smallest_loss=SMALLEST["loss"] * NATS,
        results="\n\n".join(
            part for group in measured.groups for part in of_group(measured, group)
        ),
        regret_exact=regret(measured, "exact_match"),
        regret_loss=regret(measured, "loss"),
        pretrained=pretrained(tables / "pretrained"),
        figures=shown,
        small="about an hour on two cores: a part of the grid, learning rates not tuned",
    )


def filled(text: str) -> str:
    """In lines of the width of the other pages."""
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def of_group(measured: Measured, group: Group) -> Iterator[str]:
    """Tables of a regime and budget."""
    seeds = [str(cell.seed) for cell in group.cells["uniform"]]
    more = " (the main comparison)" if group.kind == "main" else ""
    yield f"### {group.regime}, {percent(group.budget)}{more}"
    yield f"Seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}."
    if group.unfinished:
        said = ", ".join(f"{arm} ({count})" for arm, count in group.unfinished.items())
        yield f"Not all of these seeds are there yet, so not in the table: {said}."
    yield results(measured, group)
    if group.kind == "all":
        if found := controls(measured, group):
            yield "What did it? Controls against `learned`, corrected among themselves:"
            yield found
        if found := forms(measured, group):
            yield "What ADAPT is to lower, one form of the objective a line:"
            yield found
        yield "What it cost, supervised tokens and processor time, means over seeds:"
        yield bill(measured, group)


if __name__ == "__main__":
    main()
