"""Which columns Axolotl's dataset types read. Types that are not here, or that read different
columns by what a row holds, are left to Axolotl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INSTRUCTION = ("instruction", "output")
_ORCA = ("question", "system_prompt", "response")
# type -> columns without which Axolotl stops at the first row; the last one is the answer.
_COLUMNS = {
    "alpaca": _INSTRUCTION,
    "alpaca_chat": _INSTRUCTION,
    "alpaca_chat.load_concise": _INSTRUCTION,
    "alpaca_chat.load_no_prompt": _INSTRUCTION,
    "alpaca_chat.load_qa": ("question", "answer"),
    "alpaca_chat.load_camel_ai": ("message_1", "message_2"),
    "alpaca_instruct": _INSTRUCTION,
    "alpaca_instruct.load_no_prompt": _INSTRUCTION,
    "alpaca_w_system": ("instruction", "system", "output"),
    "alpaca_w_system.load_instruct": ("instruction", "system", "output"),
    "alpaca_w_system.load_chat": ("instruction", "system", "output"),
    "alpaca_w_system.load_open_orca": _ORCA,
    "alpaca_w_system.load_open_orca_chatml": _ORCA,
    "context_qa": ("article", "question", "answer"),
    "gpteacher": ("instruction", "response"),
    "metharme": ("prompt", "generation"),
    "oasst": ("INSTRUCTION", "RESPONSE"),
    "orcamini": _ORCA,
    "summarizetldr": ("article", "summary"),
}
# The same, of types whose answer is never empty or no column of its own.
_NO_ANSWER = {
    "context_qa.load_404": ("article", "unanswerable_question"),
    "context_qa.load_v2": ("context", "question", "answer"),
    "input_output": ("segments",),
    "jeopardy": ("question", "category", "answer"),
    "reflection": ("instruction", "output", "reflection", "corrected"),
}
# Types that Axolotl gives a style after a colon.
_STYLED = ("alpaca", "gpteacher", "jeopardy", "oasst", "reflection", "summarizetldr")


@dataclass(frozen=True)
class ColumnsRead:
    """
    Attributes:
        needed: without one of these Axolotl stops at the first row; each with the key of the entry
            that names it, or None where its name is fixed.
        answer: the column with what is learned, where it is one; without it nothing is learned.
        answer_key: the key of the entry that names it, or None.
        completion: the answer has no prompt, and may become several rows of training.
    """

    needed: dict[str, str | None]
    answer: str | None
    answer_key: str | None = None
    completion: bool = False


def columns_read(entry: Mapping[str, Any]) -> ColumnsRead | None:
    """Of an entry of `datasets`; None where it is not certain."""
    kind = entry.get("type")
    if isinstance(kind, Mapping):
        instruction = str(kind.get("field_instruction") or "instruction")
        answer = str(kind.get("field_output") or "output")
        return ColumnsRead(
            {instruction: "type.field_instruction"}, answer, answer_key="type.field_output"
        )
    if not isinstance(kind, str):
        return None
    if kind == "chat_template":
        return ColumnsRead({messages_column(entry): "field_messages"}, None)
    if kind == "completion":
        column = str(entry.get("field") or "text")
        return ColumnsRead({column: "field"}, column, answer_key="field", completion=True)
    base, _, style = kind.partition(":")
    name = base if style and base in _STYLED else kind.removesuffix(".load")
    if name in _COLUMNS:
        columns = _COLUMNS[name]
        return ColumnsRead(dict.fromkeys(columns), columns[-1])
    if name in _NO_ANSWER:
        return ColumnsRead(dict.fromkeys(_NO_ANSWER[name]), None)
    return None


def messages_column(entry: Mapping[str, Any]) -> str:
    """Of an entry of type chat_template: the column with its conversations."""
    return str(entry.get("field_messages") or "messages")
