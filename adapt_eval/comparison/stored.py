"""A benchmark as `adapt-eval run` stored it, with its items."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np

from adapt_eval.comparison.items import Items, keys_of, other_mean
from adapt_eval.results import Result


@dataclass(frozen=True)
class StoredResult(Result):
    """A result whose items can be read."""

    def items(self) -> Items:
        """What `read_items` returns."""
        return read_items(self)


def read_items(result: Result) -> Items:
    """Read the scores of one benchmark, and none of its texts.

    Raises:
        ValueError: the file does not hold what the result says.
    """
    import pyarrow
    import pyarrow.parquet

    columns = ["subtask", "filter", "doc_hash", "target_hash", "prompt_hash", "cluster", "score"]
    file = result.samples_file
    try:
        # Not read_table, filter and to_numpy: where pandas is installed, they import it.
        with pyarrow.parquet.ParquetFile(file, memory_map=True) as stored:
            table = stored.read([*columns, "primary"])
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); run adapt-eval run --force") from error
    primary = table["primary"].to_pylist()
    text = {name: list(compress(table[name].to_pylist(), primary)) for name in columns[:-1]}
    scores = np.array(list(compress(table["score"].to_pylist(), primary)), dtype=np.float64)
    if not len(scores):
        raise ValueError(f"{file}: has no items; run adapt-eval run --force")
    said = result.content.score
    if (mean := other_mean(scores, said)) is not None:
        raise ValueError(
            f"{file}: its items average to {mean:.6f}, {result.task}.json says {said:.6f}: the "
            "metric is no mean over items, or one of the files was edited; run adapt-eval run "
            "--force"
        )
    keys = keys_of(zip(text["subtask"], text["filter"], text["doc_hash"], strict=True))
    return Items(keys, scores, text["target_hash"], text["prompt_hash"], text["cluster"])
