"""What is measured of a target that no task trains on, and which weights its arms have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import absent_tables
import numpy as np
import pytest
import study_model
import torch
from absent_targets import TARGETS, arm_weights, asked
from study_calibration import TEMPERATURES, by_temperature
from study_data import StudyRows

TASKS = ("g2p_italian", "inflect_turkish", "inflect_welsh", "cogs")


class Letters:
    """A token a letter."""

    def encode(self, text: str) -> Any:
        return SimpleNamespace(ids=[4 + ord(letter) % 60 for letter in text])


def test_losses_by_temperature_are_those_of_the_study_at_one() -> None:
    answers = {"a": ("to be", "or not"), "b": ("that is", "the question", "whether")}
    examples = [(task, "say it", text) for task, texts in answers.items() for text in texts]
    rows = StudyRows(examples, Letters(), ("a", "b"))  # type: ignore[arg-type]
    model = study_model.make_model(0)
    losses, right = by_temperature(model, rows)
    assert losses[:, TEMPERATURES.index(1.0)] == pytest.approx(
        study_model.tested(model, rows)[0], rel=1e-5
    )
    # An untrained model is sure of much that is wrong: less so is better.
    assert (losses[:, -1] < losses[:, 0]).all()
    expected: list[list[bool]] = [[], []]
    for number, task in enumerate(rows.pools.task_of_row):
        row = rows[[number]]
        ids, labels = (torch.tensor(row[name]) for name in ("input_ids", "labels"))
        likeliest = model(ids).logits[0, :-1].argmax(-1)
        learned = labels[0, 1:] != -100
        expected[task] += (likeliest == labels[0, 1:])[learned].tolist()
    assert right == pytest.approx([np.mean(one) for one in expected])


def made(seed: int, kin: float) -> dict[str, Any]:
    """A first run in which two tasks help the first target by so much."""
    rng = np.random.default_rng(seed)
    effects = {name: rng.standard_normal((20, len(TASKS))).tolist() for name in TARGETS}
    effects[TARGETS[0]] = (np.array(effects[TARGETS[0]]) + kin * np.array([0, 1, 1, 0])).tolist()
    every = dict.fromkeys((*TASKS, *TARGETS), 1.0)
    return {"seed": seed, "arm": "uniform", "target": None, "effects": effects} | {
        name: dict(every) for name in ("losses", "calibrated", "right", "exact")
    }


def test_the_permuted_arm_has_the_same_weights_at_other_tasks() -> None:
    first = made(2, kin=5.0)
    weights = arm_weights("weights", TARGETS[0], first, TASKS)
    assert weights[1:3].min() > 1 > weights[[0, 3]].max()
    permuted = arm_weights("permuted", TARGETS[0], first, TASKS)
    assert sorted(permuted) == sorted(weights)
    assert list(permuted) != list(weights)


def test_kin_are_tasks_of_the_same_kind_and_run_once_for_all_targets() -> None:
    assert asked("kin", TARGETS) == ["inflect", "g2p", "scan"]
    assert list(arm_weights("kin", "inflect", made(1, 0.0), TASKS)) == [1, 4, 4, 1]


def test_the_tables_set_each_run_beside_the_first_one_of_its_seed() -> None:
    known = []
    for seed in (1, 2, 3):
        first = made(seed, kin=5.0)
        first["losses"][TARGETS[0]] = float(seed)
        second = made(seed, 0.0) | {"arm": "weights", "target": TARGETS[0]}
        second["losses"][TARGETS[0]] = seed - 0.5
        known += [first, second]
    assert "| 3 of 3 |" in absent_tables.told(known).splitlines()[2]
    line = absent_tables.arms(known).splitlines()[3]
    assert line.startswith(f"| {TARGETS[0]} | weights | 3 | 1.500 | -0.500 ± 0.000 (below in 3) |")
