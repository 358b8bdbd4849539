"""What processes do together is done by all of them, in any mode of Python."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from adapt_axolotl.meta_step.choice import EstimatorChoice
from adapt_axolotl.meta_step.step import MetaStep
from adapt_axolotl.metagradient.per_task import PER_TASK
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.scores import TaskScores
from adapt_axolotl.mixture.learned import LearnedMixture
from adapt_axolotl.mixture.objectives.named import objective
from tests.support.measuring_rows import TASKS, make_measuring_rows
from tests.support.models import make_model

OF_RANKS = {"sum", "any", "agree"}
BY_ANY_NAME = {"barrier", "reduce", "all_reduce", "all_gather", "broadcast"}


class Disagreeing(Ranks):
    """Another process holds other bits."""

    def agree(self, tensor: torch.Tensor) -> bool:
        return False


@pytest.mark.parametrize("ranks", [Ranks(), Disagreeing()])
def test_processes_with_different_mixtures_end_the_run(ranks: Ranks) -> None:
    mixture = LearnedMixture(TASKS, objective("relative"))
    mixture.observe(np.array([2.0, 1.0, 3.0]))
    model = make_model("llama")
    choice = EstimatorChoice(
        [PER_TASK],
        model,
        make_measuring_rows(1),
        len(TASKS),
        ranks,
        seed=0,
        half_precision=False,
    )
    values = torch.tensor([0.3, -0.1, 0.2], dtype=torch.float64)
    scores = TaskScores(values, torch.full_like(values, torch.nan), torch.ones(3).long())
    step = MetaStep(7, mixture, choice, ranks, torch.device("cpu"), scores=scores)
    if isinstance(ranks, Disagreeing):
        with pytest.raises(RuntimeError, match="hold different mixtures after step 7"):
            step.finish()
    else:
        assert step.finish().proportions.sum() == pytest.approx(1)


def collectives(tree: ast.AST) -> list[ast.Call]:
    """Calls that every process must make: of torch.distributed, of `Ranks`, of a `Reduce`."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        owner, _, method = name.rpartition(".")
        of_ranks = method in OF_RANKS and owner.rpartition(".")[2].strip("_") == "ranks"
        if of_ranks or method in BY_ANY_NAME or name.startswith("torch.distributed."):
            found.append(node)
    return found


def in_assertions(source: str) -> list[int]:
    """Lines with a collective inside an assertion, which `python -O` leaves out."""
    return [
        call.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assert)
        for call in collectives(node)
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "assert self._ranks.agree(p)",
        "assert not ranks.any(bad, device), 'x'",
        "assert torch.equal(self.ranks.sum(p), p)",
        "assert torch.distributed.all_reduce(p) is None",
        "assert reduce(p) > 0",
        "assert ok, ranks.any(bad, device)",
    ],
)
def test_a_collective_in_an_assertion_is_found(statement: str) -> None:
    assert in_assertions(statement) == [1]


@pytest.mark.parametrize("statement", ["assert p.sum() == 1", "assert any(p)", "ranks.agree(p)"])
def test_other_assertions_are_left_alone(statement: str) -> None:
    assert in_assertions(statement) == []


def test_no_collective_stands_in_an_assertion(repository: Path) -> None:
    files = sorted((repository / "adapt_axolotl").rglob("*.py"))
    sources = {file: file.read_text(encoding="utf-8") for file in files}
    # So that the search finds anything at all in this package.
    assert sum(len(collectives(ast.parse(source))) for source in sources.values()) > 10
    found = [
        f"{file.relative_to(repository)}:{line}"
        for file, source in sources.items()
        for line in in_assertions(source)
    ]
    assert found == []
