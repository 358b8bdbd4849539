"""Parts of lm-eval's own tasks that the task files under `adapt_eval/tasks` keep."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks.drop.utils import process_docs as drop_documents
from lm_eval.tasks.drop.utils import process_results as drop_scores

__all__ = ["FOLDER", "drop_documents", "drop_scores", "mbpp_shots"]

FOLDER = Path(lm_eval.__file__).parent / "tasks"


def mbpp_shots() -> list[dict[str, Any]]:
    """The three examples of lm-eval's mbpp, read from its source, which cannot be imported."""
    source = FOLDER / "mbpp" / "utils.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "list_fewshot_samples":
            answer = node.body[-1]
            assert isinstance(answer, ast.Return)
            assert answer.value is not None
            shots: list[dict[str, Any]] = ast.literal_eval(answer.value)
            return shots
    raise AssertionError("this lm-eval has no list_fewshot_samples in mbpp/utils.py")
