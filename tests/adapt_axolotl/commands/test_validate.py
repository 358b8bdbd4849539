"""A recipe is looked at, all of it, and nothing of it is run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapt_axolotl.commands.validate import validate
from adapt_axolotl.integration.plugin import AdaptPlugin
from adapt_axolotl.recipe.read import mistakes, read_recipe
from tests.support.launch import recipe
from tests.support.written_recipe import write

RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def test_a_good_recipe_passes(raw: dict[str, Any]) -> None:
    found = validate(write(raw))
    assert found.passed, found
    assert found.licences == {}


def test_all_mistakes_are_told_at_once(raw: dict[str, Any]) -> None:
    raw["adapt"] = {"token_budgt": "5%"}
    raw["micro_batch_size"] = "many"
    raw["learning_rat"] = 1
    raw["fp8_nonsense_key"] = 1
    raw["rl"] = "dpo"
    raw["datasets"][1]["path"] = "missing.jsonl"
    raw["test_datasets"] = [{"path": "b.jsonl", "task": "c"}, "text"]
    said = "\n".join(validate(write(raw)).mistakes)
    for part in (
        "adapt.token_budgt: no such key; did you mean token_budget?",
        "adapt.token_budget: missing",
        "micro_batch_size: Input should be a valid integer",
        "learning_rat: Axolotl has no such key and would drop it; did you mean learning_rate?",
        "fp8_nonsense_key: Axolotl has no such key and would drop it",
        "rl: dpo trains on preferences",
        "datasets[1].path: there is no file missing.jsonl",
        "test_datasets[1]: must be a block of keys",
        "test_datasets: task 'c' has validation but no training data",
    ):
        assert part in said


def test_what_is_refused_in_training_is_a_mistake_here(raw: dict[str, Any]) -> None:
    raw["datasets"][1]["task"] = "a"
    (mistake,) = mistakes(raw)
    with pytest.raises(ValueError, match="at least two tasks") as error:
        read_recipe(raw)
    assert mistake == str(error.value)


def test_a_checkpoint_that_is_not_there_is_a_mistake_and_no_danger(raw: dict[str, Any]) -> None:
    found = validate(write({**raw, "resume_from_checkpoint": "out/checkpoint-9"}))
    assert not found.dangers
    assert found.mistakes == [
        "resume_from_checkpoint: there is no folder out/checkpoint-9; correct the path, or remove "
        "the key to start anew"
    ]


def test_a_folder_that_is_no_checkpoint_of_this_plugin_is_a_mistake(raw: dict[str, Any]) -> None:
    Path("theirs").mkdir()
    (mistake,) = validate(write({**raw, "resume_from_checkpoint": "theirs"})).mistakes
    assert mistake.startswith("resume_from_checkpoint: theirs has no adapt_state.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plugins": 5}, "plugins: must be a list; got 5"),
        ({"datasets": 7}, "datasets: must be a list; got 7"),
        ({"val_set_size": "0.1"}, "val_set_size: must be a number; got '0.1'"),
        ({"context_parallel_size": "two"}, "context_parallel_size: must be a number"),
        ({"adapt": {"token_budget": 10**400}}, "is not an amount"),
        ({"chat_template_jinja": "{{ x"}, "chat_template_jinja: line 1 is no Jinja: "),
        ({"base_model": "./nowhere"}, "base_model: there is no folder ./nowhere"),
        (
            {
                "adapt": {
                    "token_budget": "5%",
                    "learned": {"rule": "steps", "step_size": 2, "entropy_weight": 0.6},
                }
            },
            "step_size times entropy_weight is over 1",
        ),
    ],
)
def test_values_of_another_kind_are_mistakes_and_no_tracebacks(
    raw: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    assert says in "\n".join(validate(write({**raw, **change})).mistakes)


def test_slips_that_yaml_or_axolotl_would_pass_over_are_told(raw: dict[str, Any]) -> None:
    raw["datasets"][0] |= {"tassk": "x", "path": "long" * 2000 + ".jsonl"}
    file = write(raw)
    said = "\n".join(validate(file).mistakes)
    assert (
        "datasets[0].tassk: Axolotl has no such key and would drop it; did you mean task?" in said
    )
    assert "datasets[0].path: there is no file" in said
    file.write_text(file.read_text() + "sequence_len: 32\n")
    assert "sequence_len: given twice; remove one" in validate(file).mistakes
    file.write_text("[" * 100_000)
    assert validate(file).mistakes == ["is nested too deeply; write it flatter"]


def test_a_type_that_axolotl_does_not_know_is_told(raw: dict[str, Any]) -> None:
    raw["datasets"][0]["type"] = "chat_templte"
    assert validate(write(raw)).mistakes == [
        "datasets[0].type: Axolotl has no type chat_templte; did you mean chat_template?"
    ]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("dpo", "preferences between answers"),
        ("dpo.chatml", "preferences between answers"),
        ("kto", "preferences between answers"),
        ("orpo.chat_template", "preferences between answers"),
        ("chatml.intel", "preferences between answers"),
        ("chat_template.argilla", "preferences between answers"),
        ("bradley_terry.chat_template", "rewards of answers"),
        ("stepwise_supervised", "rewards of answers"),
        ("ebft", "rollouts"),
    ],
)
def test_types_without_supervised_rows_are_refused_with_the_reason(
    raw: dict[str, Any], kind: str, what: str
) -> None:
    raw["datasets"][1]["type"] = kind
    (mistake,) = validate(write(raw)).mistakes
    assert mistake.startswith(f"datasets[1].type: {kind} reads {what}, which have no supervised")
    # Training says the same, before it reads a row.
    with pytest.raises(ValueError, match=re.escape(mistake)):
        AdaptPlugin().register(raw)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"adapter": "lora"}, True),
        ({"adapter": "lora", "lora_mlp_kernel": True}, True),
        ({"adapter": "lora", "lora_mlp_kernel": False}, False),
        ({"adapter": "lora", "lora_o_kernel": True}, False),
        ({}, False),
    ],
)
def test_a_kernel_that_needs_cuda_is_told_where_there_is_none(
    raw: dict[str, Any], changes: dict[str, Any], told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "adapter" in changes:
        changes |= {"lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}
    file = write({**raw, **changes})
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert validate(file).notes == []
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = validate(file)
    assert found.passed  # on another machine it trains
    assert [note.partition(":")[0] for note in found.notes] == ["lora_mlp_kernel"] * told


@pytest.mark.parametrize(
    ("kind", "fine"),
    [
        ("alpaca", True),
        ("alpaca:phi", True),
        ("alpaca_chat.load_qa", True),
        ("completion", True),
        ("chat_template:chatml", False),
        ("alpaca_chat:load_qa", False),
        ("alpaca.load_qa", False),
    ],
)
def test_what_follows_a_types_name_is_read_as_axolotl_does(
    raw: dict[str, Any], kind: str, fine: bool
) -> None:
    raw["datasets"][1]["type"] = kind
    row = dict.fromkeys(("instruction", "output", "question", "answer", "text"), "x")
    Path("b.jsonl").write_text(f"{json.dumps(row)}\n" * 8)
    assert (validate(write(raw)).mistakes == []) is fine


def test_an_unknown_kind_to_allow_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--allow everything: no such kind; there are all"):
        validate(write(raw), allow=["everything"])


def test_files_that_are_no_recipes_say_so(tmp_path: Path) -> None:
    for text, says in (
        ("- 1", "is no recipe"),
        ("a: [", "is not plain YAML"),
        ("a: !!python/object/apply:os.system [x]", "is not plain YAML"),
    ):
        (tmp_path / "x.yml").write_text(text)
        assert says in validate(tmp_path / "x.yml").mistakes[0]
    assert "no such file" in validate(tmp_path / "none.yml").mistakes[0]


HOSTILE = """
base_model: evil_model
trust_remote_code: true
plugins: [evil_module.Plugin, adapt_axolotl.AdaptPlugin]
trainer_cls: evil_module.Trainer
tokenizer_type: evil_module
chat_template: jinja
chat_template_jinja: "{{ ''.__class__.__mro__[1].__subclasses__() }}"
adapt: {token_budget: 5%}
datasets:
  - {path: data, type: evil_module.strategy, task: a}
  - {path: data, type: evil_package.evil_module, task: b, trust_remote_code: true}
"""


@pytest.mark.slow
def test_nothing_of_a_hostile_recipe_is_imported_or_executed(tmp_path: Path) -> None:
    """Each module that it names writes a file when it is imported; they are all importable."""
    evil = (
        "import pathlib; pathlib.Path('IMPORTED').touch()\nclass Plugin: pass\nTrainer = Plugin\n"
    )
    package = tmp_path / "evil_package"
    package.mkdir()
    for file in (tmp_path / "evil_module.py", package / "__init__.py", package / "evil_module.py"):
        file.write_text(evil)
    for folder in ("data", "evil_model"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.py").write_text(evil)
    (tmp_path / "evil_model" / "config.json").write_text(
        json.dumps({"auto_map": {"AutoConfig": "data.Plugin"}, "model_type": "evil"})
    )
    (tmp_path / "recipe.yml").write_text(HOSTILE)
    searched = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": searched}
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", "validate", "recipe.yml", "--json"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (found,) = json.loads(done.stdout)
    assert not found["passed"]
    kinds = [one["kind"] for one in found["dangers"]]
    assert kinds.count("remote_code") == 2
    assert kinds.count("plugins") == 2
    assert kinds.count("imports") == 2
    assert not (tmp_path / "IMPORTED").exists()
    # The trap works.
    subprocess.run([sys.executable, "-c", "import evil_module"], cwd=tmp_path, check=True)
    assert (tmp_path / "IMPORTED").exists()


@pytest.mark.slow
def test_shipped_recipes_lack_nothing_but_their_data(tiny: Path) -> None:
    for file in sorted(RECIPES.glob("*.yml")):
        found = validate(file, allow=["paths"])
        assert not found.dangers, file
        for mistake in found.mistakes:
            missing = (
                "there is no file",
                "there is no folder data/tiny/model",
                "ADAPT_TEST_DATA is not set",
            )
            assert any(words in mistake for words in missing)
    assert validate(RECIPES / "adapt_qwen_5pct.yml").dangers == []


def test_the_recipe_of_a_run_passes(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump(recipe(tiny, tmp_path)))
    assert validate(file, allow=["paths"]).passed


def test_a_key_that_axolotl_needs_is_missing_and_not_to_correct(raw: dict[str, Any]) -> None:
    del raw["learning_rate"]
    assert validate(write(raw)).mistakes == ["learning_rate: missing; add it"]


def test_the_same_mistake_of_many_datasets_is_told_of_three(raw: dict[str, Any]) -> None:
    raw["datasets"] = [
        {"path": f"no{n}.jsonl", "type": "alpaca", "task": f"t{n}"} for n in range(9)
    ]
    raw["test_datasets"] = [{**raw["datasets"][0]}]
    raw["resume_from_checkpoint"] = "nowhere"
    found = validate(write(raw))
    assert len(found.mistakes) == 11
    lines = [line for line in found.lines() if "there is no file" in line]
    assert [line.split(":")[0] for line in lines] == [
        f"  mistake  datasets[{number}].path" for number in range(3)
    ]
    assert "  mistake  ... and 7 more like this, of other datasets (--json lists all)" in (
        found.lines()
    )
    assert any("there is no folder nowhere" in line for line in found.lines())
    # Four are shown, because counting the last would be as long.
    raw["datasets"] = raw["datasets"][:3]
    assert "of other datasets" not in "\n".join(validate(write(raw)).lines())
