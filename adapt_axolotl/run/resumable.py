"""Whether a checkpoint can go on with a recipe, and what to do where it cannot."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

LOG = logging.getLogger("axolotl.adapt.run")

# Of the run's state in a checkpoint; raise it when an older one can no longer be read.
VERSION = 5
READABLE = (1, 2, 3, 4, VERSION)

# The first one whose learned mixtures can be read: what is learned from is kept in another form.
LEARNED_SINCE = 5


def check_resumable(
    state: Mapping[str, Any], fingerprint: Mapping[str, Any], *, learned: bool
) -> None:
    """
    Args:
        state: of the run, as the checkpoint has it.
        fingerprint: what must be the same, as the recipe has it.
        learned: whether the recipe's mixture is a learned one.

    Raises:
        ValueError: the checkpoint was made with other data, budget, batch layout or settings, or by
            a version of this package whose checkpoints are another kind.
    """
    if state.get("version") not in READABLE:
        raise ValueError(
            f"resume_from_checkpoint: this checkpoint has version {state.get('version')}, and "
            f"this package reads {', '.join(map(str, READABLE[:-1]))} and {VERSION}; go on "
            "with the version of adapt-axolotl that wrote it (adapt/config.yml in the "
            "output_dir names it), or start in a new output_dir"
        )
    if state["meta"] is not None and state["version"] < LEARNED_SINCE:
        raise ValueError(
            "resume_from_checkpoint: an earlier version of this package wrote this checkpoint, "
            "and what its mixture learned from is kept in another form now; go on with the "
            "version of adapt-axolotl that wrote it (adapt/config.yml in the output_dir names "
            "it), or start in a new output_dir"
        )
    ours, theirs = fingerprint, state["fingerprint"]
    if state["version"] == 1:
        LOG.warning(
            "resume_from_checkpoint: an earlier version of this package wrote this checkpoint; "
            "it does not hold the digest of the rows nor the settings of adapt.learned, so a "
            "change of them goes unnoticed"
        )
        ours = {key: ours[key] for key in theirs}
    changed = [key for key in ours if ours[key] != theirs.get(key)]
    if changed or (state["meta"] is not None) != learned:
        what = "; ".join(
            f"{key}: {_short(theirs.get(key))} then, {_short(ours[key])} now" for key in changed
        )
        raise ValueError(
            "resume_from_checkpoint: this checkpoint cannot go on with this recipe, the run "
            f"would be another ({what or 'learned and static mixtures differ'}); restore "
            "the recipe, the data and the global batch (micro_batch_size x "
            "gradient_accumulation_steps x processes), or start in a new output_dir"
        )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
