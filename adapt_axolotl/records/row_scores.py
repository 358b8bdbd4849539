"""`row_scores.parquet` of a run with `rows: learned`: a line for each training row. N rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from adapt_axolotl.sampling.row_scores import START
from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS

ROW_SCORES = "row_scores.parquet"


@dataclass(frozen=True)
class RowRecords:
    """In the order of the training rows.

    Attributes:
        score: (N,) by how many deviations the loss of the row's last visit lay above its task's
            mean; NaN where it was not seen, or nothing was known of its task yet.
        expected: (N,) that score as far as losses of the task repeat: what would be expected of the
            next visit a pass later; NaN with it.
        part: (N,) in which part of the next passes it would be drawn, less sure the longer ago its
            last visit was.
    """

    score: np.ndarray
    expected: np.ndarray
    part: np.ndarray

    @property
    def doubtful(self) -> np.ndarray:
        """(N,) bool: rows that are drawn in a part of the passes only. Where nothing is wrong and
        losses are normal these are one in six or less."""
        doubtful: np.ndarray = self.expected > START
        return doubtful

    def write(self, records: Path) -> None:
        """Into the folder of a run's records."""
        columns = {
            "row": pyarrow.array(np.arange(len(self.score))),
            # NaN becomes null.
            "score": pyarrow.array(self.score.astype(np.float32), from_pandas=True),
            "expected": pyarrow.array(self.expected.astype(np.float32), from_pandas=True),
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
    return RowRecords(*(rows[name].to_numpy() for name in ("score", "expected", "part")))
