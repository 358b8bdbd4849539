"""Scoring of code: what a program is made of, and what its verdict is.

lm-eval hands all responses of a benchmark to one filter, so the programs run there, several at a
time; the metric then reads the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from adapt_eval.lm_harness.stock import mbpp_shots as mbpp_shots  # the task files ask for it here
from adapt_eval.sandbox import Program, Sandbox

Document = dict[str, Any]
Responses = Sequence[Sequence[str]]


def humaneval_program(document: Document, completion: str) -> Program:
    """Prompt and completion, and the checks, which may use what the prompt defines."""
    return Program(
        text=f"{document['prompt']}{completion}",
        checks=f"{document['test']}\ncheck({document['entry_point']})",
        given=document["prompt"],
        entry=document["entry_point"],
    )


def mbpp_program(document: Document, completion: str) -> Program:
    """The program, and the three asserts that the prompt showed."""
    return Program(text=completion, checks="\n".join(document["test_list"][:3]))


def block(text: str) -> str:
    """What stands before the closing fence: the opening one was in the prompt."""
    return text.split("```", 1)[0]


def first_block(text: str) -> str:
    """The first fenced block, the opening fence being in the prompt; empty without one.

    lm-eval's `extract_code_blocks`.
    """
    pattern = r"```(?:\w+)?\n?(.*?)\n?```"
    found = re.findall(pattern, "```" + text, re.DOTALL) or re.findall(
        pattern, text.replace("```python", "```"), re.DOTALL
    )
    return found[0] if found else ""


def _run(
    responses: Responses,
    documents: Sequence[Document],
    program: Callable[[Document, str], Program],
    extract: Callable[[str], str] = str,
) -> list[list[dict[str, Any]]]:
    programs = [
        program(document, extract(one))
        for several, document in zip(responses, documents, strict=True)
        for one in several
    ]
    outcomes = iter(zip(programs, Sandbox().run_all(programs), strict=True))
    return [
        [
            {"program": one.text, "passed": outcome.passed, "error": outcome.error}
            for one, outcome in (next(outcomes) for _ in several)
        ]
        for several in responses
    ]


def run_humaneval(responses: Responses, documents: Sequence[Document]) -> list[Any]:
    """Verdicts on completions of a prompt."""
    return _run(responses, documents, humaneval_program)


def run_humaneval_instruct(responses: Responses, documents: Sequence[Document]) -> list[Any]:
    """Verdicts on completions that stand in a code block."""
    return _run(responses, documents, humaneval_program, block)


def run_mbpp(responses: Responses, documents: Sequence[Document]) -> list[Any]:
    """Verdicts on whole programs."""
    return _run(responses, documents, mbpp_program)


def run_mbpp_instruct(responses: Responses, documents: Sequence[Document]) -> list[Any]:
    """Verdicts on whole programs in a code block."""
    return _run(responses, documents, mbpp_program, first_block)


def _share_passed(results: Sequence[Any]) -> float:
    verdicts = results[0]
    return sum(one["passed"] for one in verdicts) / len(verdicts)


def pass_at_1_humaneval(_: Document, results: Sequence[Any]) -> dict[str, float]:
    """1 if the program passed."""
    return {"pass@1": _share_passed(results)}


def pass_at_1_mbpp(_: Document, results: Sequence[Any]) -> dict[str, float]:
    """1 if the program passed, under lm-eval's other name."""
    return {"pass_at_1": _share_passed(results)}
