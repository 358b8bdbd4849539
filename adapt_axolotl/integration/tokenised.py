"""Rows as Axolotl's prompt strategies tokenise them, and which row they stumble over."""

from __future__ import annotations

import json
from typing import Any

from datasets import Dataset
from jinja2 import TemplateError

from adapt_axolotl.integration.compat import DictDefault, get_dataset_wrapper

# What the strategies and the chat templates raise for rows of another kind.
_NOT_OF_THIS_TYPE = (
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    TemplateError,
)


def tokenised(cfg: Any, entry: Any, raw: Dataset, tokenizer: Any, where: str) -> Dataset:
    """The rows of an entry, tokenised.

    Args:
        cfg: Axolotl's config.
        entry: of `datasets` or `test_datasets`.
        raw: its rows.
        tokenizer: Axolotl's.
        where: the entry's place in the recipe, for messages.

    Raises:
        ValueError: the rows, or one of them, are not of the entry's `type:`.
    """
    try:
        return _wrapped(cfg, entry, raw, tokenizer)
    except _NOT_OF_THIS_TYPE as error:
        bad = _first_bad_row(cfg, entry, raw, tokenizer)
        if not bad:
            raise ValueError(
                f"{where}: Axolotl cannot read its rows as type: {entry.type} ({error!r}); their "
                f"columns are {', '.join(raw.column_names)}: correct type:, or the field_ keys"
            ) from error
        row = json.dumps(raw[bad], default=str, ensure_ascii=False)
        raise ValueError(
            f"{where}: Axolotl reads {bad} rows as type: {entry.type} but not row {bad + 1} "
            f"({error!r}); correct or remove it: {row if len(row) <= 200 else row[:197] + '...'}"
        ) from error


def _wrapped(cfg: Any, entry: Any, raw: Dataset, tokenizer: Any) -> Dataset:
    typed = isinstance(entry.type, str)
    base, _, style = entry.type.partition(":") if typed else (None, "", None)
    rows, _ = get_dataset_wrapper(
        dataset_config=entry,
        tokenizer=tokenizer,
        cfg=cfg,
        dataset_base_type=base,
        dataset=raw,
        dataset_prompt_style=style or None,
    )
    return rows


def _first_bad_row(cfg: Any, entry: Any, raw: Dataset, tokenizer: Any) -> int | None:
    """Number of the first row that cannot be tokenised, from 0, found by halves; None if each can
    by itself."""
    here = DictDefault({**cfg})
    here.dataset_num_proc = 0
    good, bad = 0, len(raw)  # every row before `good` can be read, one of those before `bad` not
    middle = 1  # mostly it is the first
    while good < bad:
        try:
            _wrapped(here, entry, raw.select(range(good, middle)), tokenizer)
            good = middle
        except _NOT_OF_THIS_TYPE:
            if middle - good == 1:
                return good
            bad = middle
        middle = (good + bad + 1) // 2
    return None
