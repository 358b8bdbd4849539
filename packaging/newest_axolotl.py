"""Look at the newest Axolotl that the package registry has, or at another source of it.

    python packaging/newest_axolotl.py
    python packaging/newest_axolotl.py --axolotl "axolotl @ git+https://github.com/axolotl-ai-cloud/axolotl"

Where the newest release is the one that all tests run with, it says so and ends. Else it installs
that one in an environment of its own, without our constraints, compares its names with those that
are used here (`integration/used.py`), and trains the tiny recipe for a few steps.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".venv-newest"
LOOK = """\
from adapt_axolotl.integration.installed import check_environment
check_environment()
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axolotl", help="what pip is to install; the newest release without it")
    wanted = parser.parse_args().axolotl
    if wanted is None:
        newest, tested = newest_release(), tested_release()
        if newest == tested:
            print(f"axolotl {newest} is the newest release, and the one that all tests run with")
            return
        wanted = f"axolotl=={newest}"
        print(f"axolotl {newest} is the newest release; tests run with {tested}", flush=True)
    look_at(wanted)


def newest_release() -> str:
    """As pip finds it."""
    command = [sys.executable, "-m", "pip", "index", "versions", "axolotl", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: str = json.loads(done.stdout)["latest"]
    return found


def tested_release() -> str:
    """That of constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if re.match(r"axolotl==", line):
            return str(next(iter(Requirement(line).specifier)).version)
    raise AssertionError("constraints.txt names no axolotl")


def other_dependencies() -> list[str]:
    """What pyproject.toml asks for beside Axolotl."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [one for one in project["dependencies"] if Requirement(one).name != "axolotl"]


def look_at(wanted: str) -> None:
    """Install it and this package, compare names, train.

    Raises:
        SystemExit: it cannot be installed, names have changed, or training fails.
    """
    shutil.rmtree(PLACE, ignore_errors=True)
    python = PLACE / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    work = PLACE / "work"
    steps: list[tuple[list[str], Path]] = [
        ([sys.executable, "-m", "venv", str(PLACE)], ROOT),
        ([*pip, "--upgrade", "pip<27"], ROOT),
        ([*pip, wanted, *other_dependencies()], ROOT),
        ([*pip, "--no-deps", str(ROOT)], ROOT),
        ([str(python), "-c", LOOK], work),
        ([str(PLACE / "bin" / "adapt-axolotl"), "tiny", "data/tiny"], work),
        (
            [
                *(str(PLACE / "bin" / "axolotl"), "train"),
                *(str(ROOT / "recipes" / "adapt_tiny_cpu.yml"), "--max-steps", "60"),
                *("--launcher", "python"),
            ],
            work,
        ),
    ]
    for command, place in steps:
        place.mkdir(exist_ok=True)
        if subprocess.run(command, cwd=place).returncode:
            sys.exit(f"{wanted}: this failed: {' '.join(command)}")


if __name__ == "__main__":
    main()
