"""A smooth worst case over groups of tasks. K tasks, U = V / V0, G groups.

    U_g      = mean of U_k over the tasks k of group g, by their weights p_k
    value(U) = (1/beta) log( (1/G) sum_g exp(beta U_g) )

The worst group as in group DRO (Sagawa et al., 2020, arXiv 1911.08731, section 2), made smooth as
in ADAPT (arXiv 2512.04555), with the sharpness over the spread and the cap of our default: beta
stands for beta / sd(U_g), and no group counts more than twice its equal share. So ten tasks of one
kind weigh as much together as one task of another kind. The derivative is q_g p_k / (p_g V0_k) for
the tasks of group g, with q = softmax(beta U_g), capped, and p_g the sum of its p_k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adapt_axolotl.mixture.objectives.objective import Objective
from adapt_axolotl.mixture.objectives.smooth_worst_case import BETA, over_the_spread, smooth_maximum
from adapt_axolotl.mixture.simplex import cap_weights, softmax

# Largest weight of a group, in units of 1/G.
CAP = 2.0


@dataclass(frozen=True, kw_only=True)
class WorstGroup(Objective):
    """A smooth worst case over groups.

    Attributes:
        groups: (K,) int, the group of each task.
        beta: sharpness, in units of the standard deviation of U_g over groups.
    """

    groups: np.ndarray
    beta: float = BETA

    def over(self, tasks: np.ndarray) -> WorstGroup:
        return replace(super().over(tasks), groups=self.groups[tasks])

    def value(self, losses: np.ndarray, first_losses: np.ndarray) -> float:
        """The smooth worst case of U_g, without the cap."""
        means, _, _ = self._means(losses / first_losses)
        alike = np.full(len(means), 1 / len(means))
        return smooth_maximum(means, over_the_spread(self.beta, means, alike), alike)

    def derivative(self, losses: np.ndarray, first_losses: np.ndarray) -> np.ndarray:
        """(K,): below the cap the derivative of `value`, the spread taken as a constant."""
        means, shares, group = self._means(losses / first_losses)
        alike = np.full(len(means), 1 / len(means))
        weights = softmax(over_the_spread(self.beta, means, alike) * means)
        return cap_weights(weights, CAP * alike)[group] * shares / first_losses

    def _means(self, utilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(G,) U_g, (K,) each task's part of its group, (K,) the group of each task, from 0; groups
        without a task among these are none."""
        _, group = np.unique(self.groups, return_inverse=True)
        parts = self.parts(len(utilities))
        shares = parts / np.bincount(group, weights=parts)[group]
        return np.bincount(group, weights=shares * utilities), shares, group

    def settings(self) -> dict[str, Any]:
        return {"adapt.learned.groups": self.groups.tolist(), "adapt.learned.beta": self.beta}


def groups_of_tasks(groups: Mapping[str, Sequence[str]], tasks: Sequence[str]) -> Sequence[int]:
    """K numbers, one for each task's group; a task in none of them is one by itself.

    Args:
        groups: the tasks of each, by name.
        tasks: the K names.
    """
    names = {task: group for group, members in groups.items() for task in members}
    # A task and a group may have the same name.
    keys = [(1, names[task]) if task in names else (0, task) for task in tasks]
    order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [order[key] for key in keys]
