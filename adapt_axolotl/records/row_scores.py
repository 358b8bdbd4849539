"""`row_scores.parquet` of a run with `rows: learned`: a line for each training row. N rows."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS

ROW_SCORES = "row_scores.parquet"


@dataclass(frozen=True)
class RowRecords:
    """In the order of the training rows.

    Attributes:
        score: (N,) by how many deviations the loss of the row's last visit lay above its task's
            mean; NaN where it was not seen, or nothing was known of its task yet.
        part: (N,) in which part of the next passes it would be drawn.
    """

    score: np.ndarray
    part: np.ndarray

    def write(self, records: Path) -> None:
        """Into the folder of a run's records."""
        rows = Dataset.from_dict(
            {
                "row": np.arange(len(self.score)),
                "score": self.score.astype(np.float32),
                "part": self.part.astype(np.float32),
            }
        )
        content = io.BytesIO()
        rows.to_parquet(content)
        write_atomically(records / ROW_SCORES, content.getvalue())


def read_row_scores(run: Path) -> RowRecords:
    """Of the run with this output directory.

    Raises:
        ValueError: it has none.
    """
    file = run / RECORDS / ROW_SCORES
    if not file.is_file():
        raise ValueError(
            f"{run}: no {RECORDS}/{ROW_SCORES}; give the output_dir of a run that has ended and "
            "that had adapt.rows: learned"
        )
    rows = Dataset.from_parquet(str(file), keep_in_memory=True).with_format("numpy")
    return RowRecords(rows["score"][:], rows["part"][:])
