"""A Qwen3 without weights and a tokenizer made of a text: what `recipes/pretrained_study` trains.

python benchmarks/pretrained_base.py TEXT.jsonl --out data/small/model [--size 40m]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from transformers import Qwen3Config

from adapt_axolotl.commands.tiny.tokenizer import trained_tokenizer

# Lines of the text that the tokenizer is made of.
LINES = 200_000
CONTEXT = 1024


@dataclass(frozen=True)
class Size:
    """Of a model, whose heads are 64 wide and share keys and values by twos.

    Attributes:
        vocabulary: tokens.
        width: of a layer.
        layers: of them.
    """

    vocabulary: int
    width: int
    layers: int


SIZES = {"40m": Size(16_384, 512, 10), "90m": Size(16_384, 768, 12), "tiny": Size(1024, 128, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help='JSON lines of {"text": ...}')
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=list(SIZES), default="40m")
    given = parser.parse_args()
    write_base(given.text, SIZES[given.size], given.out)


def write_base(text: Path, size: Size, out: Path) -> None:
    """Write `config.json` and the tokenizer's files.

    Args:
        text: JSON lines; the first ones make the tokenizer.
        size: of the model.
        out: folder.
    """
    tokenizer = trained_tokenizer(islice(texts(text), LINES), size.vocabulary, CONTEXT)
    config = Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // 64,
        num_key_value_heads=size.width // 128,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
    )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(out))
    config.save_pretrained(str(out))


def texts(file: Path) -> Iterator[str]:
    """Of a file of JSON lines."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


if __name__ == "__main__":
    main()
