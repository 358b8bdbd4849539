"""What Trainer would refuse with the model loaded is refused before."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler
from transformers.trainer_utils import SchedulerType

from adapt_axolotl.budget.counting_schedules import COUNT_STEPS
from adapt_axolotl.recipe.late_keys import check_late_keys

# What some schedules ask for, beside the numbers of steps.
ASKED = {
    "cosine_with_min_lr": {"min_lr": 1e-5},
    "cosine_warmup_with_min_lr": {"min_lr": 1e-5},
    "warmup_stable_decay": {"num_decay_steps": 5},
}


@pytest.mark.parametrize(
    "name", ["loss", "eval_loss", "worst_loss", "eval_objective", "eval_b_loss", "a_loss", None]
)
def test_a_metric_of_an_evaluation_may_choose_the_best_checkpoint(name: str | None) -> None:
    check_late_keys({"metric_for_best_model": name}, ["a", "b"])


def test_another_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"metric_for_best_model: eval_acc: .* eval_worst_loss"):
        check_late_keys({"metric_for_best_model": "eval_acc"}, ["a", "b"])


@pytest.mark.parametrize("name", [one.value for one in SchedulerType])
def test_schedules_are_refused_that_count_steps_themselves(name: str) -> None:
    """All of Transformers' own; whether they count is what they are, not their name."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    steps = {"num_warmup_steps": 1, "num_training_steps": 10}
    made = get_scheduler(name, optimizer, **steps, scheduler_specific_kwargs=ASKED.get(name, {}))
    assert (name in COUNT_STEPS) != isinstance(made, LambdaLR)


@pytest.mark.parametrize("name", COUNT_STEPS)
def test_the_refusal_names_others(name: str) -> None:
    with pytest.raises(ValueError, match=f"lr_scheduler: {name} cannot follow .* use cosine"):
        check_late_keys({"lr_scheduler": name}, [])
