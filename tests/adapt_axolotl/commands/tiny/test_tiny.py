"""The embedded default is the same on every call, and Axolotl trains on its answers only."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from axolotl.prompt_strategies.chat_template import load
from axolotl.utils.dict import DictDefault
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from adapt_axolotl.commands.tiny.tasks import TASKS


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).parts[0] in ("model", "data")
    }


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    # A process of its own: string hashes, and so the order of sets, differ from this one's.
    code = (
        "import sys, pathlib, adapt_axolotl.commands.tiny as tiny\n"
        "tiny.write_tiny(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert digests(tmp_path) == digests(tiny)
    assert len(digests(tmp_path)) == 2 * len(TASKS) + 4


def test_the_config_makes_a_model_of_the_stated_size_that_fits_the_tokenizer(tiny: Path) -> None:
    config = AutoConfig.from_pretrained(str(tiny / "model"))
    tokenizer = AutoTokenizer.from_pretrained(str(tiny / "model"))
    assert config.vocab_size == len(tokenizer)
    assert (config.eos_token_id, config.pad_token_id, config.bos_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
    )
    model = AutoModelForCausalLM.from_config(config)
    assert 300_000 < model.num_parameters() < 500_000


@pytest.mark.parametrize(
    ("answer", "supervised"),
    [("KDA", ["K", "D", "A", "<|im_end|>"]), ("07", ["0", "7", "<|im_end|>"])],
)
def test_axolotl_supervises_the_answer_and_its_end_only(
    tiny: Path, answer: str, supervised: list[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny / "model"))
    entry = {"field_messages": "messages", "roles_to_train": ["assistant"], "train_on_eos": "turn"}
    strategy = load(tokenizer, DictDefault({"sequence_len": 64}), DictDefault(entry))
    row = strategy.tokenize_prompt(
        {
            "messages": [
                {"role": "user", "content": "copy KDA or 07"},
                {"role": "assistant", "content": answer},
            ]
        }
    )
    trained = [
        token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100
    ]
    assert tokenizer.convert_ids_to_tokens(trained) == supervised
