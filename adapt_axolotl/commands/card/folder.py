"""Write the folder of a card, and upload it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from adapt_axolotl.commands.card.content import card
from adapt_axolotl.commands.card.evaluation import evaluations
from adapt_axolotl.recipe.edit import RecipeText, repeated_keys
from adapt_axolotl.recipe.safety.dangers import leaves
from adapt_axolotl.records.read import read_finished_run
from adapt_common.files import write_atomically

CARD, RECIPE, PICTURE = "README.md", "recipe.yml", "mixture.png"

# Of a key, in any case. Counts of tokens and the names of special ones are none.
_SECRET = re.compile(
    r"(api_?key|(auth|access|hf|hub|bot|bearer)_?token|secret|password|webhook)", re.I
)
_SECRET_VALUE = re.compile(r"\w+://[^/\s]*:[^/\s]*@|\bhf_\w{20,}")


def write_card(folder: Path, output: Path, twin: Path | None) -> list[str]:
    """Write README.md, recipe.yml and mixture.png; those of an earlier card are replaced.

    Args:
        folder: output directory of a finished run.
        output: the card's folder.
        twin: output directory of a run to compare with.

    Returns:
        `key: folder` for all that the recipe names by its place on this machine alone.

    Raises:
        ValueError: a run has no or damaged records, or its benchmark results are of another
            training; the twin has other tasks, or is the run; the recipe holds a secret where it
            cannot be cut out; the folder holds another README.md.
        NotComparable: the two were not measured the same way.
    """
    if twin is not None and twin.resolve() == folder.resolve():
        raise ValueError(f"--twin {twin}: is the run itself; give another one, or leave it out")
    card_file = output / CARD
    if card_file.is_file() and "- task-mixture" not in card_file.read_text(encoding="utf-8"):
        raise ValueError(f"--output {output}: its {CARD} is no card; name another folder")
    run = read_finished_run(folder)
    baseline = None if twin is None else read_finished_run(twin)
    recipe = _without_secrets(run.recipe)
    text = card(run, recipe, evaluations(run), baseline)
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(card_file, text)
    write_atomically(output / RECIPE, recipe)
    if run.history:
        shutil.copyfile(run.folder / "adapt" / PICTURE, output / PICTURE)
    return [
        f"{leaf.path}: {leaf.value}"
        for leaf in leaves(yaml.safe_load(recipe))
        if isinstance(leaf.value, str) and leaf.value.startswith(("/", "~"))
    ]


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
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 401:
            raise ConnectionError(
                f"--push-to-hub {repository}: {hub.endpoint} does not know you; log in with "
                "`hf auth login`, or set HF_TOKEN"
            ) from error
        raise
    return str(commit.commit_url)


def _without_secrets(recipe: str) -> str:
    """A recipe may hold keys of services; a card is read by strangers.

    Raises:
        ValueError: one stands where it cannot be cut out line by line.
    """
    text = RecipeText(recipe)
    for key, value in text.values.items():
        if _SECRET.search(key) and isinstance(value, str | int) and not isinstance(value, bool):
            text.replace(key, f"{key}:  # left out of the card")
    result = text.result()
    places = [*_secrets(yaml.safe_load(result), ""), *repeated_keys(result)]
    if places:
        raise ValueError(
            f"the recipe holds what may be a secret ({', '.join(places)}), or a key twice; take it "
            "out of adapt/recipe.yml in the run's folder, and write the card again"
        )
    return result


def _secrets(value: Any, where: str) -> list[str]:
    """Places of what looks like a secret."""
    if isinstance(value, dict):
        children = [(f"{where}.{key}".lstrip("."), str(key), one) for key, one in value.items()]
    elif isinstance(value, list):
        children = [(f"{where}[{n}]", where, one) for n, one in enumerate(value)]
    else:
        return []
    found = []
    for place, key, one in children:
        plain = isinstance(one, str | int | float) and not isinstance(one, bool)
        if plain and (_SECRET.search(key) or _SECRET_VALUE.search(str(one))):
            found.append(place)
        found += _secrets(one, place)
    return found
