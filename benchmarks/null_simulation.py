"""How often the tests reject when there is nothing to find.

    python benchmarks/null_simulation.py [simulations]

Two runs are drawn that are equally good: each item has its own difficulty, each passage or subtask
its own effect on each run, independent and of mean zero. Then the package's own comparison is made.
At 5 % one expects 5 of 100 rejections; an exact test rejects less often, an unclustered one more.
"""

from __future__ import annotations

import sys

import numpy as np

from adapt_eval.comparison.benchmark import compare_pairs
from adapt_eval.comparison.pairing import Pairs
from adapt_eval.statistics.multiplicity import holm
from adapt_eval.statistics.paired import Estimate, estimate, pool

# name, items, items of a cluster (1: independent), graded (as F1 is) or right and wrong
SHAPES = [
    ("arc_challenge", 1172, 1, False),
    ("hellaswag", 2000, 1, False),
    ("winogrande", 1267, 1, False),
    ("gsm8k", 1319, 1, False),
    ("bbh", 6511, 241, False),
    ("boolq", 3270, 1, False),
    ("race", 1045, 1, False),
    ("drop", 9536, 16, True),
    ("humaneval", 164, 1, False),
    ("mbpp", 500, 1, False),
    ("ifeval", 541, 1, False),
]


def draw(random: np.random.Generator, items: int, size: int, graded: bool, effect: float) -> Pairs:
    """One benchmark of two equally good runs."""
    clusters = np.arange(items) // size
    ease = random.normal(-0.5, 1.2, items)
    sides = []
    for _ in range(2):
        own = random.normal(0, effect, clusters[-1] + 1)[clusters] if size > 1 else 0.0
        chance = 1 / (1 + np.exp(-(ease + own + random.normal(0, 0.3, items))))
        right = (random.uniform(size=items) < chance).astype(float)
        sides.append(right * np.round(random.uniform(0.3, 1, items), 2) if graded else right)
    return Pairs(sides[0], sides[1], clusters if size > 1 else None, (0, 0))


def main(simulations: int = 2000) -> None:
    random = np.random.default_rng(0)
    primary, family_wise, any_raw = 0, 0, 0
    rejected = {name: 0 for name, *_ in SHAPES}
    naive = {name: 0 for name, _, size, _ in SHAPES if size > 1}
    exact = {name: 0 for name, _, size, _ in SHAPES if size == 1}
    for _ in range(simulations):
        parts: list[Estimate] = []
        p_values = []
        for name, items, size, graded in SHAPES:
            pairs = draw(random, items, size, graded, effect=0.4)
            one = compare_pairs(pairs, 0.0)
            parts.append(one.difference)
            p_values.append(one.p_value)
            rejected[name] += one.p_value < 0.05
            if size > 1:
                naive[name] += estimate(pairs.a - pairs.b).p_value < 0.05
            else:
                assert one.p_exact is not None  # items are right or wrong
                exact[name] += one.p_exact < 0.05
        primary += pool(parts).p_value < 0.05
        family_wise += min(holm(p_values)) < 0.05
        any_raw += min(p_values) < 0.05
    error = 100 * np.sqrt(0.05 * 0.95 / simulations)
    print(f"{simulations} pairs of equal runs, nominal 5 % (standard error {error:.1f})")
    print(f"primary test of the suite: {100 * primary / simulations:.1f} %")
    print(f"any benchmark after Holm: {100 * family_wise / simulations:.1f} %")
    print(f"any benchmark without correction: {100 * any_raw / simulations:.1f} %")
    for name, count in rejected.items():
        beside = f"unclustered {100 * naive[name] / simulations:.1f}" if name in naive else ""
        beside = beside or f"exact McNemar {100 * exact[name] / simulations:.1f}"
        print(f"{name}: {100 * count / simulations:.1f} % ({beside} %)")


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:2]))
