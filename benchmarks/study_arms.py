"""The arms of the study: each an `adapt:` block, as a recipe would have it.

Some come from another run. A control holds everything but its mixture as that run had it, the
learning rate too; so do other settings of ADAPT, of `learned`. Every other arm is tuned for itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from study_searched import REGIMES, arms


@dataclass(frozen=True)
class Arm:
    """One way of mixing.

    Attributes:
        block: `adapt:`, without the budget and the run that it comes from.
        says: what it is, for the page.
        needs: arm of the run that it comes from, all else being equal; None without one.
        key: of the block, which names that run; None where only its ledger is read.
        rate_of: arm whose learning rate it has; None where its own is tuned.
        counts_targets: whether `targets` are anything to it.
        found_for: what a search made its shares for; None where no search made them.
        regimes: where it is compared; None is everywhere.
        budgets: at which; None is all.
        reported: whether it stands in the tables; a run that only serves others does not.
        static: whether its mixture is fixed before the run.
    """

    block: Mapping[str, Any]
    says: str
    needs: str | None = None
    key: str | None = None
    rate_of: str | None = None
    counts_targets: bool = False
    found_for: str | None = None
    regimes: tuple[str, ...] | None = None
    budgets: tuple[float, ...] | None = None
    reported: bool = True
    static: bool = field(default=False, kw_only=True)


def _searched(goal: str, *regimes: str) -> Arm:
    """What `study_search.py` found, in each regime for itself."""
    return Arm(
        {"mixture": "weights"},
        f"the static mixture of the best {goal} in a search of its own in each regime, of "
        f"{max(len(arms(regime)) for regime in REGIMES)} runs at 5 % with another seed; these runs "
        "are in no bill",
        rate_of="uniform",
        found_for=goal,
        counts_targets=goal == "targets",
        regimes=regimes,
        budgets=(0.05,),
    )


def _form(objective: str, says: str) -> Arm:
    """ADAPT with another objective, at the budget that takes the least time to tell."""
    return Arm(
        {"mixture": "learned", "learned": {"objective": objective}},
        f"ADAPT, which lowers {says}",
        rate_of="learned",
        counts_targets=True,
        budgets=(0.05,),
    )


def _control(replay_as: str, says: str) -> Arm:
    block = {"mixture": "replay", "replay_as": replay_as}
    return Arm(block, says, "learned", "replay", "learned", regimes=("natural",))


ARMS = {
    "uniform": Arm({"mixture": "uniform"}, "equal shares of tokens", static=True),
    "uniform_more": Arm(
        {"mixture": "uniform"},
        "`uniform` with as many more tokens as `learned` of the same seed read to measure",
        "learned",
        rate_of="uniform",
        counts_targets=True,
    ),
    "proportional": Arm({"mixture": "proportional"}, "shares as sizes", static=True),
    "temperature": Arm(
        {"mixture": "temperature", "temperature": 3.0}, "the cube root of sizes", static=True
    ),
    "cooldown": Arm(
        {"mixture": "temperature", "temperature": 5.0, "final_temperature": 1.0},
        "a temperature that falls from 5 to 1",
        static=True,
    ),
    # In natural the search found none better than uniform mixing.
    "searched_mean": _searched("mean", "balanced", "noise", "duplicates"),
    "searched_quarter": _searched("worst quarter", *REGIMES),
    "searched_targets": _searched("targets", "targets"),
    "learned": Arm({"mixture": "learned"}, "ADAPT with its defaults", counts_targets=True),
    "learned_mean": _form("mean", "the mean of the losses, not their worst"),
    "learned_sharp": Arm(
        {"mixture": "learned", "learned": {"beta": 1.0}},
        "ADAPT, whose worst case is twice as sharp as by default",
        rate_of="learned",
        counts_targets=True,
    ),
    "learned_cvar": _form("cvar", "the mean of the worst fifth of the losses"),
    "learned_alpha_fair": _form("alpha_fair", "powers of the losses"),
    "learned_raw": _form("paper", "the paper's worst case of the losses as they are"),
    "odm": Arm({"mixture": "odm"}, "online data mixing"),
    "group_dro": Arm({"mixture": "group_dro"}, "group DRO on training losses"),
    "doremi_proxy": Arm(
        {"mixture": "doremi"},
        "the proxy run of `doremi`; its reference is `uniform`",
        "uniform",
        "reference",
        rate_of="doremi",
        reported=False,
    ),
    "doremi": Arm(
        {"mixture": "replay", "replay_as": "average"},
        "DoReMi: the average mixture of its proxy run",
        "doremi_proxy",
        "replay",
    ),
    "doge": Arm(
        {"mixture": "doge", "charge_meta_tokens": True, "learned": {"mu": 20.0}},
        "DoGE with mu 20, the best of 0.05, 0.2, 1, 5 and 20 with seed 101; the tokens that it "
        "measures are of the budget",
        counts_targets=True,
    ),
    "replay_average": _control("average", "control: the average of `learned`, from start to end"),
    "replay_permuted": _control("permuted", "control: `learned` with its tasks permuted"),
    "replay_reversed": _control("reversed", "control: `learned` with time reversed"),
    "replay_shuffled": _control("shuffled", "control: `learned` with its pieces shuffled"),
    "replay_walk": _control(
        "walk", "control: a random walk, on average as far from where `learned` began as it was"
    ),
}

REPORTED = tuple(name for name, arm in ARMS.items() if arm.reported)
TUNED = tuple(name for name, arm in ARMS.items() if arm.rate_of is None)
# Rules of thumb; the best of them, by the tuning runs, has ten seeds in the main comparison.
STATIC = tuple(name for name, arm in ARMS.items() if arm.static and name != "uniform")
FOUND = tuple(name for name, arm in ARMS.items() if arm.found_for is not None)
# The objectives of ADAPT that are compared.
FORMS = tuple(name for name in ARMS if name.startswith("learned"))
