"""Pages of this folder that a script makes: written, or compared with what is on disk."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def write_or_check(pages: Mapping[str, str], script: str) -> int:
    """Write the pages; with `--check` among the arguments of the command, only compare them.

    Args:
        pages: name in this folder -> what it must hold.
        script: the file that makes them.

    Returns:
        The exit code: 1 where a page on disk is another one.
    """
    if "--check" not in sys.argv[1:]:
        for name, content in pages.items():
            (FOLDER / name).write_text(content, encoding="utf-8")
        return 0
    stale = [
        name
        for name, content in pages.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != content
    ]
    for name in stale:
        print(f"docs/{name} is out of date; run python docs/{Path(script).name}")
    return 1 if stale else 0
