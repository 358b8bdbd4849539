"""The kinds of logs that are known."""

from __future__ import annotations

from pathlib import Path

from adapt_eval.logs.inspect_logs import InspectLogs
from adapt_eval.logs.lighteval_details import LightevalDetails
from adapt_eval.logs.lm_eval_output import LmEvalOutput
from adapt_eval.logs.log import Format

# In this order: lighteval's results have the name of lm-eval's.
FORMATS: tuple[Format, ...] = (InspectLogs(), LightevalDetails(), LmEvalOutput())
KINDS = "of lm_eval run --log_samples, of Inspect (.eval) or of lighteval --save-details"


def format_of(place: Path) -> Format | None:
    """The kind of log in a file or folder; None where there is none."""
    return next((one for one in FORMATS if one.holds(place)), None)
