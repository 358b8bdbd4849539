"""What tokenised rows hold, read from their columns chunk by chunk. N rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from datasets import Dataset


def supervised_tokens(rows: Dataset) -> np.ndarray:
    """(N,) labels other than -100 in each row."""
    counts = []
    for ends, labels in _list_column(rows, "labels"):
        total = np.concatenate([[0], np.cumsum(labels != -100)])
        counts.append(np.diff(total[np.concatenate([[0], ends])]))
    return np.concatenate(counts) if counts else np.zeros(0, dtype=np.int64)


def lengths(rows: Dataset) -> np.ndarray:
    """(N,) tokens in each row."""
    ends = [np.diff(ends, prepend=0) for ends, _ in _list_column(rows, "input_ids")]
    return np.concatenate(ends) if ends else np.zeros(0, dtype=np.int64)


def fingerprints(rows: Dataset) -> np.ndarray:
    """(N,) uint64, equal for rows with equal tokens."""
    digests = [
        hashlib.blake2b(row.tobytes(), digest_size=8).digest()
        for ends, tokens in _list_column(rows, "input_ids")
        for row in np.split(tokens.astype(np.int32), ends[:-1])
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def digest(rows: Dataset) -> str:
    """Of all tokens and labels in their order: another one whenever a row changes."""
    found = hashlib.blake2b(digest_size=16)
    for column in ("input_ids", "labels"):
        for ends, values in _list_column(rows, column):
            found.update(ends.astype(np.int64).tobytes())
            found.update(values.astype(np.int64).tobytes())
    return found.hexdigest()


def _list_column(rows: Dataset, column: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(row ends, flat values) of a list column, chunk by chunk."""
    for table in rows.with_format("arrow").iter(batch_size=10_000):
        values = table[column].combine_chunks()
        flat = values.flatten().to_numpy(zero_copy_only=False)
        yield np.cumsum(values.value_lengths().to_numpy(zero_copy_only=False)), flat
