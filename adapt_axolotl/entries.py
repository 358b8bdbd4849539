"""One entry of `datasets:` as tokenised rows, through Axolotl's own loader and prompt strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from axolotl.utils.data.shared import load_dataset_with_config
from axolotl.utils.data.utils import handle_long_seq_in_dataset
from axolotl.utils.data.wrappers import get_dataset_wrapper
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from axolotl.utils.trainer import process_datasets_for_packing
from datasets import Dataset

from adapt_axolotl.token_columns import supervised_tokens

LOG = get_logger("axolotl.adapt.entries")

_POOL_FROM_ROWS = 20_000  # fewer rows tokenise faster in this process than a pool starts


@dataclass(frozen=True)
class RowsRead:
    """Rows of a task's training files, and how many of them sequence_len left out."""

    rows: int
    unfit: int

    def __add__(self, other: RowsRead) -> RowsRead:
        return RowsRead(self.rows + other.rows, self.unfit + other.unfit)


def read_entry(
    cfg: DictDefault, entry: DictDefault, tokenizer: Any, split: str, where: str
) -> tuple[Dataset, RowsRead]:
    """
    Args:
        cfg: Axolotl's validated config.
        entry: of `datasets` or `test_datasets`, with one name.
        tokenizer: Axolotl's.
        split: `train` or `test`: which lengths and packing hold, and which split of a dataset
            that has several is read where the entry names none.
        where: the entry's place in the recipe, for messages.

    Returns:
        Rows that fit and have a token to learn from, and how many there were.

    Raises:
        ValueError: no such split, no rows, none of this type, none that fits or none to learn from.
    """
    raw = load_dataset_with_config(entry, cfg.hf_use_auth_token)
    if isinstance(raw, dict):
        wanted = entry.split or split
        if wanted not in raw:
            raise ValueError(
                f"{where}: it has no split {wanted!r}, only {', '.join(raw)}; name one with split:"
            )
        raw = raw[wanted]
    if entry.shards:
        raw = raw.shuffle(seed=cfg.seed).shard(num_shards=entry.shards, index=entry.shards_idx or 0)
    if len(raw) == 0:
        raise ValueError(f"{where}: it has no rows; remove the entry or fill the file")
    one = DictDefault({**cfg})
    one.datasets = [entry]
    if len(raw) < _POOL_FROM_ROWS:
        one.dataset_num_proc = 0  # `datasets` starts a process even for 1
    base, _, style = entry.type.partition(":") if isinstance(entry.type, str) else (None, "", None)
    try:
        rows, _ = get_dataset_wrapper(
            dataset_config=entry,
            tokenizer=tokenizer,
            cfg=one,
            dataset_base_type=base,
            dataset=raw,
            dataset_prompt_style=style or None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: Axolotl cannot read its rows as type: {entry.type} ({error!r}); their "
            f"columns are {', '.join(raw.column_names)}: correct type:, or the field_ keys"
        ) from error
    key = "eval_sequence_len" if split == "test" and cfg.eval_sequence_len else "sequence_len"
    limit = cfg[key]
    fitting = handle_long_seq_in_dataset(rows, limit, one)
    if len(fitting) == 0:
        raise ValueError(
            f"{where}: none of its {len(rows)} rows fits {key}: {limit}; raise it, or set "
            "excess_length_strategy: truncate"
        )
    supervised = _with_supervision(fitting, where)
    if cfg.sample_packing:
        packed = one.sample_packing if split == "train" else cfg.eval_sample_packing
        if packed:
            supervised, _ = process_datasets_for_packing(one, supervised, None)
    return supervised, RowsRead(len(rows), len(rows) - len(fitting))


def _with_supervision(rows: Dataset, where: str) -> Dataset:
    """Only the rows that have a token to learn from."""
    supervised = supervised_tokens(rows)
    empty = np.flatnonzero(supervised == 0)
    if len(empty) == 0:
        return rows
    remedy = "check the roles to train, the chat template, and that answers are not empty"
    if len(empty) == len(rows):
        raise ValueError(f"{where}: no row has a supervised token; {remedy}")
    LOG.warning(
        f"{where}: left out {len(empty)} of {len(rows)} rows that have no supervised token "
        f"(the first is number {empty[0]} of those that fit); {remedy}"
    )
    return rows.select(np.flatnonzero(supervised > 0))
