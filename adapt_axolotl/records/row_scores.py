"""`row_scores.parquet` of a run with `rows: learned`: a line for each training row. N rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS

ROW_SCORES = "row_scores.parquet"

# A row that is drawn in such a part of the passes or less is doubtful: it is expected 1.8
# deviations above its task's mean, as 4 of 100 are where losses are normal and nothing is wrong.
DOUBTFUL = 0.2


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

    @property
    def doubtful(self) -> np.ndarray:
        """(N,) bool: rows that are drawn seldom."""
        doubtful: np.ndarray = self.part <= DOUBTFUL
        return doubtful

    def write(self, records: Path) -> None:
        """Into the folder of a run's records."""
        columns = {
            "row": pyarrow.array(np.arange(len(self.score))),
            # NaN becomes null.
            "score": pyarrow.array(self.score.astype(np.float32), from_pandas=True),
            "part": pyarrow.array(self.part.astype(np.float32)),
        }
        content = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), content, compression="zstd")
        write_atomically(records / ROW_SCORES, content.getvalue().to_pybytes())


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
    rows = pyarrow.parquet.read_table(file)
    score, part = (rows[name].to_numpy() for name in ("score", "part"))
    return RowRecords(score, part)
