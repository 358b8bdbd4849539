"""A benchmark as `adapt-eval run` stored it, with its items."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adapt_eval.comparison.items import Items, keys_of
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
        table = pyarrow.parquet.read_table(
            file, columns=columns, filters=[("primary", "=", True)], memory_map=True
        )
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); run adapt-eval run --force") from error
    text = {name: table[name].to_pylist() for name in columns[:-1]}
    scores = table["score"].to_numpy()
    if not len(scores):
        raise ValueError(f"{file}: has no items; run adapt-eval run --force")
    mean, said = float(scores.mean()), result.content.score
    if not math.isclose(mean, said, rel_tol=1e-9, abs_tol=1e-12):
        raise ValueError(
            f"{file}: its items average to {mean:.6f}, {result.task}.json says {said:.6f}: the "
            "metric is no mean over items, or one of the files was edited; run adapt-eval run "
            "--force"
        )
    keys = keys_of(zip(text["subtask"], text["filter"], text["doc_hash"], strict=True))
    return Items(keys, scores, text["target_hash"], text["prompt_hash"], text["cluster"])
