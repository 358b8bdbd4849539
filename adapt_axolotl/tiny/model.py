"""A small Qwen3 without weights, and a tokenizer for it.

The tokenizer starts from all 256 bytes, so that it reads any text; recipes make the weights from
the config with `reinit_weights: true`, seeded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config

VOCABULARY = 512
_PAD, _START, _END = "<|pad|>", "<|im_start|>", "<|im_end|>"
_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_model(directory: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write config and tokenizer.

    Args:
        directory: where to.
        rows: prompts and answers that the tokenizer is trained on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(rows)
    tokenizer.save_pretrained(str(directory))
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=24,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
    )
    config.save_pretrained(str(directory))


def make_tokenizer(rows: Iterable[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE with ChatML markers.

    Words of the prompts become tokens; letters and digits inside answers stay single, because the
    trainer sees each answer letter by letter.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_PAD, _START, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(rows), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_PAD,
        additional_special_tokens=[_START],
        chat_template=_TEMPLATE,
        model_max_length=2048,
    )


_ENGLISH = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
    "are",
    "this",
    "have",
    "from",
    "or",
    "had",
    "an",
    "they",
    "which",
    "one",
    "you",
    "were",
    "all",
    "her",
    "she",
    "there",
    "would",
    "their",
    "we",
    "him",
    "been",
    "has",
    "when",
    "who",
    "will",
    "no",
    "more",
    "if",
    "out",
    "so",
    "up",
    "said",
    "what",
    "its",
    "about",
    "than",
    "into",
    "them",
    "can",
    "only",
    "other",
    "time",
    "new",
    "some",
    "could",
    "these",
    "two",
    "may",
    "first",
    "then",
    "do",
    "any",
    "like",
    "my",
    "now",
    "over",
    "such",
    "our",
    "man",
    "me",
    "even",
    "most",
    "made",
    "after",
    "also",
    "did",
    "many",
    "off",
    "before",
    "must",
    "well",
    "back",
    "through",
    "years",
    "where",
    "much",
    "your",
    "way",
    "down",
    "should",
    "because",
    "long",
    "each",
    "just",
    "state",
    "those",
    "people",
    "too",
    "how",
    "little",
    "good",
    "world",
    "make",
    "very",
    "year",
    "still",
    "see",
    "own",
    "work",
    "men",
    "day",
    "get",
    "here",
    "old",
    "life",
    "both",
    "between",
    "being",
    "under",
    "three",
    "never",
    "know",
    "same",
    "last",
    "another",
    "while",
    "us",
    "might",
    "great",
    "go",
    "come",
    "since",
    "against",
    "right",
    "came",
    "take",
    "used",
    "himself",
    "few",
    "house",
    "use",
    "place",
    "during",
    "high",
    "without",
    "again",
    "home",
    "around",
    "small",
    "however",
    "found",
    "part",
    "school",
    "question",
    "answer",
    "user",
    "assistant",
]


def _training_text(rows: Iterable[tuple[str, str]]) -> Iterable[str]:
    yield "user\nassistant\n"
    for _ in range(20):  # common English words, so that real text is not spelt byte by byte
        yield " ".join(_ENGLISH)
    for prompt, _ in rows:
        # The first word names the task; made-up words stay letters.
        yield prompt.split(" ")[0]
