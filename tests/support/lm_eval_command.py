"""lm-eval's own command, as its users call it, several calls in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# langdetect is seeded, as it is by us.
_CALL = """
import json, sys
import langdetect
langdetect.DetectorFactory.seed = 0
from lm_eval.__main__ import cli_evaluate
for call in json.loads(sys.argv[1]):
    sys.argv = ["lm_eval", *call]
    cli_evaluate()
"""


def lm_eval_command(
    calls: Sequence[Sequence[object]], folder: Path, environment: Mapping[str, str] | None = None
) -> None:
    """
    Args:
        calls: the arguments of each.
        folder: the working directory.
    """
    said = json.dumps([[str(one) for one in call] for call in calls])
    done = subprocess.run(
        [sys.executable, "-c", _CALL, said],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
