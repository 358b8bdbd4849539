"""A small byte-level BPE tokenizer with ChatML markers.

It starts from all 256 bytes, so it reads any text without an unknown token, and learns its merges
from common English words. Two things stay single tokens whatever their neighbours: digits, which
are split before merging, and the capital letters that the made tasks are spelt in, because runs of
capitals stand nowhere in the training text. So a made word of n letters is always n tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from adapt_axolotl.commands.tiny.english import english_lines

VOCABULARY = 1024
CONTEXT = 2048

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the tiny model; the same on every call."""
    return trained_tokenizer(["user\nassistant\n", *english_lines()], VOCABULARY, CONTEXT)


def trained_tokenizer(
    texts: Iterable[str], vocabulary: int, context: int
) -> PreTrainedTokenizerFast:
    """A tokenizer of this kind that has learned its merges from other text.

    Args:
        texts: to learn from.
        vocabulary: tokens, the markers and the 256 bytes among them.
        context: tokens of the longest row.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
