"""`mixture.html` of a finished run, from its other records."""

from __future__ import annotations

import json
from pathlib import Path

from adapt_axolotl.records.effects import read_effects
from adapt_axolotl.records.page import mixture_page
from adapt_axolotl.records.stands_out import stands_out
from adapt_axolotl.records.trajectory import trajectory
from adapt_common.files import write_atomically
from adapt_common.run_records import RECORDS, meta_steps, read_history, read_ledger


def write_page(run: Path) -> None:
    """Write it, in the place of an older one. run: the output directory."""
    history, ledger = read_history(run), read_ledger(run)
    mixture = json.loads((run / RECORDS / "mixture.json").read_text(encoding="utf-8"))
    page = mixture_page(
        run.name,
        trajectory(history, ledger, mixture["initial"]),
        ledger,
        mixture,
        stands_out(history),
        meta_steps(history),
        read_effects(run),
    )
    write_atomically(run / RECORDS / "mixture.html", page)
