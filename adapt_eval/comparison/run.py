"""A run with its results: one model, or one seed of a way of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adapt_eval.comparison.items import Scored
from adapt_eval.schema import Ledger, Manifest


@dataclass(frozen=True)
class Run:
    """Results of one seed.

    Attributes:
        place: as the user gave it.
        results: benchmark -> its result.
        harness: what asked the questions. Items, prompts and scoring of two harnesses cannot be
            shown to be the same.
        logged: whether it was read from a log of that harness, which tells less of how it was
            measured than `adapt-eval run` does.
    """

    place: Path
    manifest: Manifest
    results: Mapping[str, Scored]
    harness: str = "lm-eval"
    logged: bool = False

    @property
    def ledger(self) -> Ledger | None:
        """What its training spent; None for a model that no ADAPT run made."""
        return self.manifest.ledger
