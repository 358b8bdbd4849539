"""How often comparisons over training seeds reject, where nothing and where something is true.

    python benchmarks/seed_simulation.py
    python benchmarks/seed_simulation.py --seeds 5 --deviations 1 2    # some of the lines only

Two ways of training are drawn, S seeds each, on nine benchmarks of the sizes of the suite's: right
and wrong, graded, and clustered. Each item has a difficulty, each way of training its own deviation
on each item and on each cluster, each seed its own on each item again, and a deviation of its own
that is half common to all benchmarks. Where seeds are shared, half of what a seed does is the same
in both ways. Then the package's own tests are made: the two-level one, and the one over items alone
that takes the mean over seeds for one model. At 5 % one expects 5 of 100 rejections where nothing
is true; power is what is found of a true difference of 1.5 points. A line depends on its own case
alone, so lines of several calls may stand in one table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.paired import estimate, pool
from adapt_eval.statistics.two_level import mean_of, two_level

# items, items of a cluster (1: independent), graded (as F1 is) or right and wrong
SHAPES = [
    (1172, 1, False),
    (1267, 1, False),
    (1319, 1, False),
    (1000, 40, False),
    (1045, 1, False),
    (2000, 16, True),
    (164, 1, False),
    (500, 1, False),
    (541, 1, False),
]
SEEDS, DEVIATIONS, EFFECT = (3, 5, 10), (0.0, 0.005, 0.01, 0.02), 0.015
KINDS = ("apart", "shared")
Drawn = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64] | None]


def seed_effects(
    random: np.random.Generator, seeds: int, deviation: float, shared: bool
) -> NDArray[np.float64]:
    """(2 ways, K benchmarks, S)."""
    shape = (2, len(SHAPES), seeds)
    everywhere = random.normal(size=(2, 1, seeds))
    effects = np.sqrt(0.5) * everywhere + np.sqrt(0.5) * random.normal(size=shape)
    if shared:
        both = np.sqrt(0.5) * random.normal(size=(1, 1, seeds))
        both = both + np.sqrt(0.5) * random.normal(size=(1, *shape[1:]))
        effects = np.sqrt(0.5) * effects + np.sqrt(0.5) * both
    return np.asarray(deviation * effects)


def draw(
    random: np.random.Generator, seeds: int, deviation: float, shared: bool, effect: float
) -> list[Drawn]:
    """All benchmarks, once."""
    own = seed_effects(random, seeds, deviation, shared)
    drawn: list[Drawn] = []
    for number, (items, size, graded) in enumerate(SHAPES):
        clusters = np.arange(items) // size
        ease = random.normal(0, 1, items)
        sides = []
        for way in range(2):
            cluster = random.normal(0, 0.4, clusters[-1] + 1)[clusters] if size > 1 else 0.0
            item = random.normal(0, 0.3, items) + random.normal(0, 0.5, (seeds, items))
            chance = 1 / (1 + np.exp(-(ease + cluster + item)))
            # Graded scores are worth 0.65 of right ones.
            worth = (1 / 0.65 if graded else 1.0) * (
                own[way, number][:, None] + effect * (way == 0)
            )
            right = (random.uniform(size=(seeds, items)) < chance + worth).astype(float)
            if graded:
                right *= np.round(random.uniform(0.3, 1, (seeds, items)), 2)
            sides.append(right)
        drawn.append((sides[0], sides[1], clusters if size > 1 else None))
    return drawn


def rates(
    simulations: int, seeds: int, deviation: float, shared: bool, effect: float
) -> tuple[float, float, float, float]:
    """Rejections in %: suite, any benchmark after Holm, a benchmark, suite over items alone."""
    random = np.random.default_rng([seeds, int(1000 * deviation), shared, int(1000 * effect)])
    suite = some = single = items = 0.0
    for _ in range(simulations):
        drawn = draw(random, seeds, deviation, shared, effect)
        parts = [two_level(a, b, clusters, shared) for a, b, clusters in drawn]
        p_values = [mean_of([part]).p_value for part in parts]
        suite += mean_of(parts).p_value < 0.05
        some += min(holm(p_values)) < 0.05
        single += float(np.mean(np.array(p_values) < 0.05))
        alone = pool([estimate(a.mean(0) - b.mean(0), clusters) for a, b, clusters in drawn])
        items += alone.p_value < 0.05
    return tuple(100 * one / simulations for one in (suite, some, single, items))  # type: ignore[return-value]


def main(
    simulations: int, numbers: Sequence[int], deviations: Sequence[float], kinds: Sequence[str]
) -> None:
    """Print a line for each case.

    Args:
        numbers: of seeds.
        deviations: of a seed's score, 0 to 1.
        kinds: whether the seeds of both ways are the same.
    """
    error = 100 * np.sqrt(0.05 * 0.95 / simulations)
    print(f"{simulations} pairs of ways of training in each line, nominal 5 %")
    print(f"(standard error {error:.1f}); power for {100 * EFFECT:.1f} points, all in %")
    print()
    print(
        "| seeds | deviation | kind | suite | any benchmark | a benchmark | power | items alone |"
    )
    print("| ---: | ---: | :--- | ---: | ---: | ---: | ---: | ---: |")
    for seeds in numbers:
        for deviation in deviations:
            for kind in kinds:
                case = (seeds, deviation, kind == "shared")
                suite, some, single, items = rates(simulations, *case, effect=0.0)
                power = rates(max(1, simulations // 4), *case, effect=EFFECT)[0]
                figures = (suite, some, single, power, items)
                said = " | ".join(f"{one:.1f}" for one in figures)
                print(f"| {seeds} | {100 * deviation:.1f} | {kind} | {said} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000, help="of each line")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="numbers of seeds")
    parser.add_argument(
        "--deviations",
        type=float,
        nargs="+",
        default=[100 * one for one in DEVIATIONS],
        help="standard deviations of a seed's score, in points",
    )
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of seeds")
    asked = parser.parse_args()
    main(asked.simulations, asked.seeds, [one / 100 for one in asked.deviations], asked.kinds)
