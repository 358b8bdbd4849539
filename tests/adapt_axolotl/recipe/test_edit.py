"""Changes to a recipe's text leave everything else byte for byte."""

from __future__ import annotations

import pytest
import yaml

from adapt_axolotl.recipe.edit import RecipeText, as_scalar

RECIPE = """\
# What this file is.

base_model: org/model   # why
plugins:
- a.B   # the first

# About the data.
datasets:
- path: data/a.jsonl  # one
  type: alpaca
- {path: "data/b.jsonl", type: alpaca}

output_dir: out
# the end
"""


def test_keys_go_above_the_comment_of_the_key_that_they_precede() -> None:
    recipe = RecipeText(RECIPE)
    recipe.add("adapt:\n  token_budget: 5%", before="datasets")
    block = "adapt:\n  token_budget: 5%\n\n"
    assert recipe.result() == RECIPE.replace("# About", block + "# About")


def test_a_comment_that_opens_the_file_stays_first() -> None:
    recipe = RecipeText("# a file\ndatasets: []\n")
    recipe.add("seed: 1", before="datasets")
    assert recipe.result() == "# a file\nseed: 1\n\ndatasets: []\n"


def test_without_the_key_lines_go_to_the_end_of_the_file() -> None:
    recipe = RecipeText("seed: 1")
    recipe.add("a: 2\nb: 3", before="datasets")
    assert recipe.result() == "seed: 1\n\na: 2\nb: 3\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("plugins:\n- a.B  # one\n# two\nx: 1\n", "plugins:\n- a.B  # one\n- c.D\n# two\nx: 1\n"),
        ("plugins:\n    - a.B\n\nx: 1\n", "plugins:\n    - a.B\n    - c.D\n\nx: 1\n"),
        ("plugins: [a.B, b.C]  # two\n", "plugins: [a.B, b.C, c.D]  # two\n"),
        ("plugins: [\n  a.B,  # one\n]\n", "plugins: [\n  a.B, c.D,  # one\n]\n"),
        ("plugins: []\n", "plugins: [c.D]\n"),
        ("plugins:  # none yet\nx: 1\n", "plugins:  # none yet\n  - c.D\nx: 1\n"),
        ("plugins:\n  - a.B", "plugins:\n  - a.B\n  - c.D"),
    ],
)
def test_an_item_goes_to_the_end_of_its_list(before: str, after: str) -> None:
    recipe = RecipeText(before)
    recipe.append("plugins", "c.D")
    assert recipe.result() == after


def test_entries_are_named_in_either_style() -> None:
    recipe = RecipeText(RECIPE)
    recipe.name_entries("datasets", ["a", "no"])
    after = recipe.result()
    assert "- path: data/a.jsonl  # one\n  task: a\n  type: alpaca\n" in after
    assert '- {path: "data/b.jsonl", task: "no", type: alpaca}\n' in after
    assert [entry["task"] for entry in yaml.safe_load(after)["datasets"]] == ["a", "no"]


def test_a_value_is_replaced_up_to_the_comment_of_the_next_key() -> None:
    recipe = RecipeText(RECIPE)
    recipe.replace("plugins", "plugins: [c.D]")
    recipe.replace("output_dir", "output_dir: elsewhere")
    assert recipe.result() == RECIPE.replace(
        "plugins:\n- a.B   # the first", "plugins: [c.D]"
    ).replace("output_dir: out", "output_dir: elsewhere")


def test_line_ends_and_letters_are_kept() -> None:
    recipe = RecipeText("# café ☕\r\nplugins:\r\n  - a.B\r\nseed: 1\r\n")
    recipe.append("plugins", "c.D")
    recipe.add("x: 1", before="seed")
    assert recipe.result() == (
        "# café ☕\r\nplugins:\r\n  - a.B\r\n  - c.D\r\nx: 1\r\n\r\nseed: 1\r\n"
    )


def test_an_anchor_that_stands_for_a_list_is_refused_not_misread() -> None:
    recipe = RecipeText("other: &p\n  - a.B\nplugins: *p\nx: 1\n")
    recipe.append("plugins", "c.D")
    with pytest.raises(ValueError, match="anchors that stand for whole lists"):
        recipe.result()


def test_a_path_from_an_anchor_has_no_place_for_a_name() -> None:
    recipe = RecipeText("base: &b {path: x}\ndatasets:\n  - <<: *b\n    type: alpaca\n")
    with pytest.raises(ValueError, match=r"datasets\[0\]: its path is written elsewhere"):
        recipe.name_entries("datasets", ["x"])


@pytest.mark.parametrize("text", ["a: [", "- a\n", "{a: 1}\n", "", "a: 1\n---\nb: 2\n"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="YAML"):
        RecipeText(text)


@pytest.mark.parametrize("text", ["qa", "no", "2024", "1e3", "a: b", "a, b", "#x", "~", "é"])
def test_a_scalar_reads_back_as_the_text_that_it_was(text: str) -> None:
    assert yaml.safe_load(f"{{a: {as_scalar(text)}}}") == {"a": text}
