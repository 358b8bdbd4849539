"""A twin differs from its recipe in the mixture and the output directory, and in nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adapt_axolotl.commands.twin import recipe_of, static_twin
from adapt_axolotl.recipe.block import parse_adapt_block
from tests.support.made_records import RECIPE, made_records


def test_what_only_a_learned_mixture_reads_goes_and_the_rest_stays_byte_for_byte() -> None:
    twin = static_twin(RECIPE, "uniform")
    assert twin.text == (
        RECIPE.replace("  floor: 0.2   # only while learning\n", "")
        .replace("  learned:\n    start_after: 5%\n", "")
        .replace("  token_budget: 5000\n", "  token_budget: 5000\n  mixture: uniform\n")
        .replace("output_dir: out   # here", "output_dir: out_uniform")
    )
    assert twin.changed == (
        "adapt.mixture: uniform",
        "output_dir: out_uniform",
        "adapt.learned: left out",
        "adapt.floor: left out",
    )


def test_shipped_recipes_become_their_shipped_twins(repository: Path) -> None:
    for kind in ("uniform", "proportional"):
        learned = (repository / "recipes" / "adapt_tiny_cpu.yml").read_text()
        shipped = yaml.safe_load((repository / "recipes" / f"{kind}_tiny_cpu.yml").read_text())
        twin = yaml.safe_load(static_twin(learned, kind).text)
        del twin["output_dir"], shipped["output_dir"]
        assert twin == shipped


@pytest.mark.parametrize("mixture", ["uniform", "proportional", "temperature", "round_robin"])
@pytest.mark.parametrize(
    "block",
    [
        "{token_budget: 5%, mixture: learned, learned: {start_after: 3%}, unit: tokens}  # why",
        "{learned: {}, token_budget: 5%}",
        "\n    token_budget: 5%  # of all\n\n    # how\n    learned:\n      start_after: 9%\n",
        "\n  weights: {a: 1, b: 2}  # by hand\n  mixture: weights\n  token_budget: 5%",
    ],
)
def test_every_style_of_block_has_a_twin(block: str, mixture: str) -> None:
    recipe = f"# mine\r\nadapt: {block}\nseed: 1 # one\noutput_dir: out/"
    twin = static_twin(recipe, mixture)
    after = yaml.safe_load(twin.text)
    adapt = parse_adapt_block(after["adapt"])
    assert (adapt.mixture, adapt.token_budget) == (mixture, "5%")
    assert not {"learned", "weights"} & set(after["adapt"])
    assert after["output_dir"] == f"out_{mixture}"
    assert twin.text.startswith("# mine\r\nadapt:")
    assert "\nseed: 1 # one\n" in twin.text


def test_a_recipe_without_output_dir_gets_one_beside_that_of_axolotl() -> None:
    twin = static_twin("adapt: {token_budget: 5%}\nhub_model_id: me/model\n", "uniform")
    assert yaml.safe_load(twin.text)["output_dir"] == "./model-out_uniform"
    assert twin.shared == ("hub_model_id",)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("base_model: x\n", "adapt: this block is missing.*`adapt-axolotl init`"),
        ("adapt: {token_budget: 5%, mixture: uniform}\n", "is uniform already; choose another"),
        ("adapt: {token_budget: 5%, mixtures: uniform}\n", "did you mean mixture"),
        ("b: &b {floor: 0.2}\nadapt:\n  <<: *b\n  token_budget: 5%\n", "comes from an anchor"),
        ("- a\n", "a recipe is a YAML file"),
    ],
)
def test_what_has_no_twin_says_why(recipe: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        static_twin(recipe, "uniform")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", *arguments]
    return subprocess.run(call, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_finished_run_has_a_twin_and_a_file_is_not_written_over(tmp_path: Path) -> None:
    run = made_records(tmp_path / "learned")
    assert recipe_of(run) == RECIPE
    file = tmp_path / "twin.yml"
    call = ("twin", str(run), "--mixture", "uniform", "-o", str(file))
    done = command(*call)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == static_twin(RECIPE, "uniform").text
    assert "changed  output_dir: out_uniform" in done.stderr
    again = command(*call)
    assert again.returncode == 2
    assert str(file) in again.stderr
    nowhere = command("twin", str(tmp_path), "--mixture", "uniform")
    assert nowhere.returncode == 2
    assert "no adapt/config.yml; give the output_dir of a run" in nowhere.stderr


def test_the_command_tells_its_version_and_that_of_axolotl() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("adapt-axolotl 0.")
    assert "(axolotl 0." in done.stdout
