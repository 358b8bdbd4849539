"""Axolotl YAMLs of the shapes that people have become ADAPT recipes, by lines added alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adapt_axolotl.commands.init import adapt_recipe, task_names
from adapt_axolotl.recipe.read import read_recipe

BLOCKS = """\
base_model: NousResearch/Llama-3.2-1B
# Automatically upload checkpoint and final model to HF
# hub_model_id: username/custom_model_name

datasets:
  # instructions
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca

  - path: org/OpenOrca   # the big one
    split: "train[:10%]"
    type:
      field_instruction: question
      field_output: response
val_set_size: 0.1
output_dir: ./outputs/lora-out

adapter: lora
lora_target_modules:
  - gate_proj
"""

OUTDENTED = """\
plugins:
- axolotl.integrations.liger.LigerPlugin
- axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin  # memory
liger_rope: true

# ---- data ----
datasets:
- path: json
  data_files: [data/qa/train.jsonl]
  ds_type: json
  type: chat_template
- path: json
  data_files: data/summaries_train.jsonl
  type: chat_template
test_datasets:
- path: json
  data_files: [data/qa/validation.jsonl]
  split: train
  type: chat_template
- path: json
  data_files: data/summaries_test.jsonl
  split: train
  type: chat_template
special_tokens: {pad_token: "<|pad|>"}
"""

FLOW = """\
base_model: org/model
plugins: ["axolotl.integrations.liger.LigerPlugin"]
datasets: [{path: org/a, type: alpaca}, {"path": "org/b", "type": "alpaca"}]   # both small
chat_template: |
  # not a comment
  {% for m in messages %}{{ m }}{% endfor %}
"""

ANCHORS = """\
datasets:
  - &chat
    path: org/math
    type: chat_template
    roles_to_train: [assistant]
  - {<<: *chat, path: "org/code"}
  - <<: *chat
    path: org/code
    name: python
"""

PARTLY = """\
plugins:
  - adapt_axolotl.AdaptPlugin
trainer_cls: adapt_axolotl.trainer.AdaptTrainer
adapt:
  token_budget: 200_000
  mixture: uniform
datasets:
  - path: org/a
    task: mine
    type: alpaca
  - path: org/b
    type: alpaca
"""

SHAPES = {
    "blocks": BLOCKS,
    "outdented": OUTDENTED,
    "flow": FLOW,
    "anchors": ANCHORS,
    "partly": PARTLY,
    "windows": BLOCKS.replace("\n", "\r\n"),
    "indented": "".join(f"  {line}" for line in ANCHORS.splitlines(keepends=True)),
    "no last newline": PARTLY.rstrip("\n"),
}


def is_subsequence(part: str, whole: str) -> bool:
    """Whether every character of `part` stands in `whole`, in its order."""
    letters = iter(whole)
    return all(letter in letters for letter in part)


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_every_shape_becomes_a_recipe_and_loses_nothing(text: str) -> None:
    after = adapt_recipe(text).text
    assert is_subsequence(text, after)

    old, new = yaml.safe_load(text), yaml.safe_load(after)
    order = [key for key in new if key in old]
    assert order == list(old)
    adapt = read_recipe(yaml.safe_load(after))
    assert len(set(adapt.train_tasks)) == len(new["datasets"])
    assert new["plugins"][-1] == "adapt_axolotl.AdaptPlugin"
    assert new["plugins"][:-1] == [one for one in old.get("plugins", []) if "Adapt" not in one]
    assert new["trainer_cls"] == "adapt_axolotl.trainer.AdaptTrainer"
    for key in ("datasets", "test_datasets"):
        for before, entry in zip(old.get(key, []), new.get(key, []), strict=True):
            assert {**entry, "task": None} == {**before, "task": None}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_a_second_time_there_is_nothing_left_to_add(text: str) -> None:
    once = adapt_recipe(text).text
    twice = adapt_recipe(once)
    assert twice.text == once
    assert twice.added == []


def test_what_is_there_is_kept_and_said() -> None:
    with pytest.raises(ValueError, match="the block is there already; change its token_budget"):
        adapt_recipe(PARTLY, "7%")
    done = adapt_recipe(PARTLY)
    assert done.text == PARTLY.replace("path: org/b\n", "path: org/b\n    task: b\n")
    assert done.added == ["datasets[1] (org/b): task b"]
    assert done.present == [
        "plugins: adapt_axolotl.AdaptPlugin",
        "trainer_cls: adapt_axolotl.trainer.AdaptTrainer",
        "adapt: the block",
        "datasets[0] (org/a): task mine",
    ]


def test_validation_files_get_the_task_of_their_training_file() -> None:
    done = yaml.safe_load(adapt_recipe(OUTDENTED, "5%").text)
    assert [entry["task"] for entry in done["datasets"]] == ["qa", "summaries"]
    assert [entry["task"] for entry in done["test_datasets"]] == ["qa", "summaries"]


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ([{"path": "data/qa/train.jsonl"}, {"path": "data/nli_train.json.gz"}], ["qa", "nli"]),
        ([{"path": "org/alpaca"}, {"path": "other/alpaca"}], ["alpaca", "alpaca_2"]),
        (
            [{"path": "org/m", "name": "en"}, {"path": "org/m", "name": "de", "split": "train"}],
            ["m_en", "m_de_train"],
        ),
        ([{"path": "a.jsonl", "task": "b"}, {"path": "b.jsonl"}], ["b", "b_2"]),
        ([{"path": "s3://bucket/very odd, name.parquet"}], ["very_odd_name"]),
        ([{"path": "json", "data_files": ["x/train.jsonl", "y/train.jsonl"]}], ["x"]),
        ([{"path": "train.jsonl"}, {"path": "./data/test.jsonl"}], ["train", "test"]),
    ],
)
def test_names_are_made_from_paths_and_differ(entries: list[dict], names: list[str]) -> None:
    assert task_names(entries) == names


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("trainer_cls: adapt_axolotl.trainer.AdaptTrainer", "trainer_cls: my.T"), "my.T would"),
        (("token_budget: 200_000", "token_budget: much"), "'much' is not an amount"),
        (("  - path: org/b\n    type: alpaca\n", ""), "at least two tasks"),
        (("path: org/b", "path: gone/b.jsonl"), r"datasets\[1\]\.path: there is no file"),
        (("datasets:\n", "group_by_length: true\ndatasets:\n"), "group_by_length: cannot be"),
        (("type: alpaca\n  - path: org/b\n", "type: alpaca\n  - org/b\n  - "), "must be a list"),
    ],
)
def test_what_cannot_become_a_recipe_says_why(change: tuple[str, str], says: str) -> None:
    changed = PARTLY.replace(*change)
    assert changed != PARTLY
    with pytest.raises(ValueError, match=says):
        adapt_recipe(changed)


def test_a_validation_set_of_no_known_task_is_left_to_the_user() -> None:
    text = PARTLY + "test_datasets:\n  - {path: org/c, split: test, type: alpaca}\n"
    with pytest.raises(ValueError, match=r"test_datasets\[0\] \(org/c\): .* one of mine, b"):
        adapt_recipe(text)


def test_the_command_writes_a_new_file_and_never_over_another(tmp_path: Path) -> None:
    source, target = tmp_path / "my.yml", tmp_path / "adapt.yml"
    source.write_bytes(SHAPES["windows"].encode())
    call = [
        sys.executable,
        "-m",
        "adapt_axolotl.commands.cli",
        "init",
        str(source),
        "-o",
        str(target),
    ]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "added    adapt: token_budget 5%, mixture learned" in done.stderr
    assert target.read_bytes() == adapt_recipe(SHAPES["windows"], "5%").text.encode()

    again = subprocess.run(call, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists; remove it or name another file" in again.stderr
    call[4] = str(tmp_path / "gone.yml")
    missing = subprocess.run(call, capture_output=True, text=True, check=False)
    assert missing.returncode == 2
    assert "gone.yml' does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_a_target_keeps_its_name_and_gets_no_task() -> None:
    text = """\
base_model: a/b
datasets:
  - path: x/first
  - path: x/second
test_datasets:
  - path: x/first
    target: bench
"""
    with pytest.raises(ValueError, match=r"add adapt\.learned\.measure: products"):
        adapt_recipe(text, "5%")
    static = text + "adapt: {token_budget: 5%, mixture: uniform}\n"
    made = adapt_recipe(static)
    entries = yaml.safe_load(made.text)["test_datasets"]
    assert entries == [{"path": "x/first", "target": "bench"}]
    assert "test_datasets[0] (x/first): target bench" in made.present
