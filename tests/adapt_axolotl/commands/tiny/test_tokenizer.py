"""The tokenizer reads anything, and spells made words letter by letter."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from adapt_axolotl.commands.tiny.tasks import TASKS
from adapt_axolotl.commands.tiny.tokenizer import VOCABULARY


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(str(tiny / "model"))


@pytest.mark.parametrize(
    "text",
    [
        "plain words, 123.",
        "  two  spaces\tand\n\nlines ",
        "Größe — naïve 日本語 🙂 \u200b",
        bytes(range(32, 127)).decode(),
    ],
)
def test_any_text_survives_a_round_trip(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_the_vocabulary_is_full_and_has_every_byte(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.unk_token is None


def test_a_made_answer_is_one_token_a_letter(tokenizer: PreTrainedTokenizerBase) -> None:
    for task in TASKS:
        if task.name in ("constant", "yes_no"):
            continue
        for _, answer in task.draw()[1]:
            assert tokenizer.tokenize(answer) == list(answer)


def test_common_english_is_not_spelt_out(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "what was the first question that they had about the school in their country"
    assert len(tokenizer(text).input_ids) < len(text) / 3


def test_the_template_has_a_prompt_for_generation(tokenizer: PreTrainedTokenizerBase) -> None:
    chat = [{"role": "user", "content": "copy AB"}]
    assert (
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        == "<|im_start|>user\ncopy AB<|im_end|>\n<|im_start|>assistant\n"
    )
