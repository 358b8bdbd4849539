"""What `compare` returns and `adapt-eval compare --json` prints, as types."""

from __future__ import annotations

import math

from pydantic import Field

from adapt_eval.schema import Number, Record


class Figures(Record):
    """A difference: of a benchmark, a family or the suite. `a` is the run, `b` the baseline.

    Attributes:
        n: items.
        difference: mean of a - b.
        df: degrees of freedom of the standard error.
        ci_low, ci_high: interval at 95 %, not corrected for the number of comparisons.
        test: which test the p-value is from.
        p_value: two-sided, not corrected.
        p_equivalence: of two one-sided tests, not corrected: that the true difference is smaller
            than the smallest that matters.
        planning_error: the standard error, or what stands for it where no item differs.
        minimum_detectable_effect: before correction.
        ruled_out_above: larger effects are ruled out, at 95 %.
        note: a remark on it, or empty.
        says_nothing: both sides score no better than guessing.
        too_few: too few independent items for any verdict.
        p_holm: corrected after Holm; it and what follows are filled in once all are known.
        p_equivalence_holm: corrected after Holm.
        detectable_after_holm: minimum detectable effect with that correction.
    """

    run: str
    n: int
    a: float
    b: float
    difference: Number
    standard_error: Number
    df: Number
    ci_low: Number
    ci_high: Number
    test: str
    p_value: Number
    p_equivalence: Number = math.nan
    planning_error: Number = math.nan
    minimum_detectable_effect: Number
    ruled_out_above: Number
    note: str = ""
    says_nothing: bool = False
    too_few: bool = False
    p_holm: Number = math.nan
    p_equivalence_holm: Number = math.nan
    detectable_after_holm: Number = math.nan
    verdict: str = ""


class SeedSpread(Record):
    """Standard deviation of the score over the seeds of each side; None for one seed."""

    a: float | None
    b: float | None


class AtChance(Record):
    """Whether each side scores no better than guessing."""

    a: bool
    b: bool


class BenchmarkComparison(Figures):
    """One benchmark.

    Attributes:
        wins, ties, losses: items that the run got better, alike and worse.
        clusters: how many; None where items are independent.
        unmatched: items that only the run, and only the baseline, has.
        p_exact: exact McNemar; None where items are not right or wrong.
    """

    task: str
    family: str
    metric: str
    chance: float
    floor: float | None
    clustered_by: str
    seed_spread: SeedSpread
    wins: int
    ties: int
    losses: int
    clusters: int | None
    unmatched: tuple[int, int]
    p_exact: float | None = None
    at_chance: AtChance


class WeightedMean(Record):
    """The mean of benchmarks weighted by their precision: beside the primary test, never instead.
    A benchmark of a few items can blur the unweighted mean; it hardly moves this one."""

    difference: Number
    standard_error: Number
    df: Number
    ci_low: Number
    ci_high: Number
    p_value: Number


class SuiteComparison(Figures):
    """The mean over benchmarks.

    Attributes:
        on_guesses: it differs only by benchmarks at chance.
        claim: what the difference is a difference of.
        seeds_paired: whether the seeds of both arms are the same; None where an arm has one.
        weighted: the companion; None where no benchmark has an error.
    """

    on_guesses: bool
    claim: str = ""
    seeds_paired: bool | None = None
    weighted: WeightedMean | None = None


class FamilyComparison(SuiteComparison):
    """The mean over the benchmarks of one family."""

    family: str


class Spent(Record):
    """Training tokens of one arm, means over its seeds, and what they bought. Those spent before
    are of the runs that its mixture comes from."""

    unit: str
    budget: float | None
    used: float
    meta_tokens: float
    tokens_spent_before: float = 0
    score: float
    score_per_million: float | None


class Reallocation(Record):
    """One training task: its share of each arm's tokens, and the change against the baseline."""

    task: str
    shares: dict[str, float]
    change: dict[str, float]


class OverlapPair(Record):
    """A training task and a benchmark. `by_text` and `items` are None where texts were not
    compared."""

    training_task: str
    benchmark: str
    by_name: bool
    by_text: int | None = None
    items: int | None = None


class Rank(Record):
    """Where an arm stands on the suite, best first: 95 % sure of all of them together.

    Attributes:
        best, worst: the ranks that the pairwise comparisons leave it.
        score: mean over benchmarks and seeds.
    """

    run: str
    score: float
    best: int
    worst: int


class PlannedSeeds(Record):
    """How many seeds an arm it takes to find the wanted difference, on the suite or a benchmark.

    Attributes:
        items: at hand.
        seed_deviation: standard deviation of the score over training seeds, without what items add;
            of the difference of two runs where seeds are paired.
        assumed: whether it is not measured, because an arm has one seed.
        item_error: the error that items leave however many seeds there are.
        seeds: times the items at hand -> seeds an arm; None where no number of seeds does.
    """

    run: str
    what: str
    items: int
    seed_deviation: float
    assumed: bool
    paired: bool
    item_error: float
    seeds: dict[str, int | None]


class SeedPlan(Record):
    """What `compare --plan` prints: to find `effect` in 4 of 5 cases by a test at 5 %."""

    effect: float
    lines: list[PlannedSeeds]


class MeasuredOn(Record):
    """The suite."""

    name: str
    note: str


class Comparison(Record):
    """The whole comparison.

    Attributes:
        baseline: name of an arm.
        runs: names of all arms.
        suite: the first of `suites`.
        suites: the primary test, for each arm but the baseline.
        tokens: arm -> what it spent; None without a ledger.
        seeds: arm -> number of seeds.
        seed_scores: arm -> suite score of each seed.
        ranking: of three arms or more, the best score first.
        smallest_effect: smallest difference that would matter.
        notes: what the reader has to know.
    """

    baseline: str
    runs: list[str]
    suite: SuiteComparison
    suites: list[SuiteComparison]
    families: list[FamilyComparison]
    benchmarks: list[BenchmarkComparison]
    tokens: dict[str, Spent | None]
    reallocation: list[Reallocation]
    overlap: list[OverlapPair]
    measured_on: MeasuredOn
    seeds: dict[str, int]
    seed_scores: dict[str, list[float]]
    ranking: list[Rank] = Field(default_factory=list)
    smallest_effect: float
    notes: list[str]
