"""Fixtures of the evaluation tests: a model as small as they come, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def command() -> Command:
    """`adapt-eval` in a process of its own, as a user would call it."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "adapt_eval.cli", *map(str, arguments)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ADAPT_EVAL_")}
        return subprocess.run(
            call, capture_output=True, text=True, check=False, env={**inherited, **environment}
        )

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of two layers with random weights, and a byte tokenizer with a chat template."""
    return write_model(tmp_path_factory.mktemp("model") / "tiny", seed=0)


def write_model(folder: Path, seed: int) -> Path:
    """The tests' model; the seed decides its weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    words = {token: number for number, token in enumerate(special + letters)}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        chat_template=(
            "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
        model_max_length=2048,
    ).save_pretrained(str(folder))
    config = Qwen3Config(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words["<|im_end|>"],
        pad_token_id=words["<|pad|>"],
        dtype="float32",
    )
    torch.manual_seed(seed)
    Qwen3ForCausalLM(config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models with results on the tiny suite. Read only."""
    from adapt_eval.progress import Reporter
    from adapt_eval.run import Options, plan_and_run

    runs = []
    for seed, name in enumerate(("first", "second")):
        run = write_model(tmp_path_factory.mktemp("runs") / name, seed)
        with Reporter() as reporter:
            plan_and_run(Options(str(run), suite="tiny", allow_code_execution=True), reporter)
        runs.append(run)
    return runs


@pytest.fixture(scope="session")
def tiny_run(tiny_runs: list[Path]) -> Path:
    """The first of the two."""
    return tiny_runs[0]
