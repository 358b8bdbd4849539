"""Which runs of two arms were trained with the same seed."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapt_common.run_records import RECORDS
from adapt_eval.comparison.arms import Arm
from adapt_eval.parsing import parse
from adapt_eval.schema import Record


class _Recipe(Record):
    seed: int | None = None


class _Config(Record):
    recipe: _Recipe | None = None


def shared_seeds(a: Arm, b: Arm) -> list[int] | None:
    """For each run of a, the number of the run of b with the same seed.

    Runs of one seed start from the same random numbers, so what the seed does may be common to both
    and drop out of their difference.

    Returns:
        None where the arms do not have exactly the same seeds, or a run does not tell its own.
    """
    ours, theirs = ([training_seed(run.place) for run in arm.runs] for arm in (a, b))
    if None in ours or len(set(ours)) < len(ours) or len(ours) != len(theirs):
        return None
    if set(ours) != set(theirs):
        return None
    return [theirs.index(seed) for seed in ours]


def training_seed(run: Path) -> int | None:
    """The seed in the recipe that an ADAPT run keeps; None for other models.

    Raises:
        ValueError: the recipe is damaged.
    """
    file = run / RECORDS / "config.yml"
    if not file.is_file():
        return None
    remedy = "restore it"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(f"{file}: is not YAML ({said}); {remedy}") from error
    recipe = parse(_Config, content or {}, file, remedy).recipe
    return recipe.seed if recipe else None
