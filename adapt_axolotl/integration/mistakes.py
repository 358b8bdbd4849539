"""A mistake in the recipe or the data ends training with its message; a bug keeps its traceback.

Axolotl lets an exception of a plugin through to Python, which prints a page of its own code over
the sentence that helps. Nothing in a plugin's hooks can stand below that page, so the end of the
process is where the message is printed instead.
"""

from __future__ import annotations

import dis
import json
import os
import sys
import time
from pathlib import Path
from types import TracebackType

from adapt_axolotl.integration.compat import get_logger
from adapt_axolotl.integration.last_message import arguments_of_accelerate, repeat_below

LOG = get_logger("axolotl.adapt")

_PACKAGES = ("adapt_axolotl", "adapt_common")
_RAISE = dis.opmap["RAISE_VARARGS"]
# Set by torchrun, and by accelerate for several processes: the file that it reports last.
_ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
# Set by `accelerate launch`, which prints its own traceback after that of its only process.
_FROM_ACCELERATE = "ACCELERATE_DYNAMO_BACKEND"
_WHOSE_TRACEBACK = (
    "\nIf a traceback follows, it is accelerate's and says only that training has ended; "
    "`axolotl train RECIPE --launcher python` does without it, and so does adding `-- --quiet`."
)


def show_mistakes_alone() -> None:
    """From here on an uncaught mistake ends this process with one message, the last thing that it
    prints, and exit code 1. `AXOLOTL_LOG_LEVEL=DEBUG` shows the traceback above it."""
    following = sys.excepthook
    if getattr(following, "shows_mistakes_alone", False):
        return

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not is_mistake(error):
            following(kind, error, trace)
            return
        LOG.debug("where the mistake was found:", exc_info=(kind, error, trace))
        sys.stdout.flush()
        file = os.environ.get(_ERROR_FILE)
        if file:
            _report(str(error), Path(file))
        else:
            _print(f"adapt-axolotl: {error}")

    show.shows_mistakes_alone = True  # type: ignore[attr-defined]
    sys.excepthook = show


def is_mistake(error: BaseException) -> bool:
    """Whether the error comes from a `raise ValueError` in this package. One that a library
    raised, or an operation that went wrong here, is a bug."""
    trace = error.__traceback__
    if type(error) is not ValueError or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__"))
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == _RAISE
    return raised and name.split(".")[0] in _PACKAGES


def _report(message: str, file: Path) -> None:
    """Hand the message to the launcher, which prints it under "Root Cause" when all processes have
    ended. The form is that of torch.distributed.elastic's error files, without a traceback."""
    content = {"message": message, "extraInfo": {"timestamp": str(int(time.time()))}}
    file.write_text(json.dumps({"message": content}), encoding="utf-8")


def _print(message: str) -> None:
    """The message, and what is to be said of accelerate's traceback: below it the message again, or
    else a sentence in advance."""
    launcher = os.getppid()
    words = arguments_of_accelerate(launcher)
    follows = _FROM_ACCELERATE in os.environ and not (words and {"-q", "--quiet"} & set(words))
    print(message, file=sys.stderr, flush=True)
    if follows and not (words and repeat_below(launcher, message)):
        print(_WHOSE_TRACEBACK, file=sys.stderr, flush=True)
