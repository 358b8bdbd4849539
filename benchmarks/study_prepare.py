"""Tokenise the rows of some regimes of the study, once for all of its runs, and say how many
supervised tokens its budgets are shares of."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from study_data import prepare, prepared

from adapt_common.files import write_atomically

ABOUT = "data.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="DIR/study")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--regimes", nargs="+", required=True)
    given = parser.parse_args()
    place = given.out / "data"
    prepare(given.folder, ["natural", *given.regimes], place)
    natural = prepared(place, "natural")
    said = {
        "folder": str(given.folder.resolve()),
        "digest": natural.digest(),
        "tokens": int(natural.train.pools.available_tokens.sum()),
    }
    write_atomically(given.out / ABOUT, json.dumps(said) + "\n")


if __name__ == "__main__":
    main()
