"""Write the folder of a card, and upload it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx
from huggingface_hub import HfApi

from adapt_axolotl.card.content import card
from adapt_axolotl.card.evaluation import evaluations
from adapt_axolotl.finished import read_finished_run
from adapt_axolotl.recipe_text import RecipeText
from adapt_axolotl.record import write_atomically

CARD, RECIPE, PICTURE = "README.md", "recipe.yml", "mixture.png"

_SECRET = re.compile(r"(api_key|auth_token|access_token|secret|password)$")


def write_card(folder: Path, output: Path, twin: Path | None) -> None:
    """Write README.md, recipe.yml and mixture.png; files of these names are replaced.

    Args:
        folder: output directory of a finished run.
        output: the card's folder.
        twin: output directory of a run to compare with.

    Raises:
        ValueError: a run has no or damaged records, or its benchmark results are of another
            training; the twin has other tasks.
        NotComparable: the two were not measured the same way.
    """
    run = read_finished_run(folder)
    baseline = None if twin is None else read_finished_run(twin)
    recipe = _without_secrets(run.recipe)
    text = card(run, recipe, evaluations(run), baseline)
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / CARD, text)
    write_atomically(output / RECIPE, recipe)
    if run.history:
        shutil.copyfile(run.folder / "adapt" / PICTURE, output / PICTURE)


def push(output: Path, repository: str) -> str:
    """Upload a card's folder to a model repository, which is made where there is none.

    Args:
        output: as `write_card` wrote it.
        repository: `name` or `owner/name`.

    Returns:
        The address of the commit.

    Raises:
        ValueError: that is no name of a repository.
        OSError: the hub cannot be reached, or it refuses.
    """
    hub = HfApi()
    try:
        made = hub.create_repo(repository, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=output,
            # The user may have named a folder that holds more than the card.
            allow_patterns=[CARD, RECIPE, PICTURE],
            commit_message="Recipe card",
        )
    except httpx.TransportError as error:
        raise ConnectionError(f"--push-to-hub {repository}: {hub.endpoint}: {error}") from error
    return str(commit.commit_url)


def _without_secrets(recipe: str) -> str:
    """A recipe may hold keys of services; a card is read by strangers."""
    text = RecipeText(recipe)
    for key, value in text.values.items():
        if isinstance(value, str) and _SECRET.search(key):
            text.replace(key, f"{key}:  # left out of the card")
    return text.result()
