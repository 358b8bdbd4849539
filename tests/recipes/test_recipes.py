"""Every shipped recipe: made by grid.py, a true twin, accepted by Axolotl, and explained."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yml"))
IDS = [path.stem for path in RECIPES]
# Of the study with a model that was trained on text first.
PRETRAINED = FOLDER / "pretrained_study"
ISSUE_TYPES = [
    "question_answering",
    "program_execution",
    "question_generation",
    "sentiment_analysis",
    "text_categorization",
    "toxic_language_detection",
    "text_matching",
    "commonsense_classification",
    "named_entity_recognition",
    "information_extraction",
    "wrong_candidate_generation",
    "textual_entailment",
    "cause_effect_classification",
    "fill_in_the_blank",
    "title_generation",
    "coreference_resolution",
    "summarization",
    "story_composition",
    "paraphrasing",
    "data_to_text",
]


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_whole_grid_is_there() -> None:
    assert len(RECIPES) == 3 * (2 + 3 * 3)


def test_files_are_what_the_generator_makes(repository: Path) -> None:
    sys.path.insert(0, str(repository / "recipes"))
    import grid

    assert grid.main(["--check"]) == 0
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yml")}
    assert there == set(grid.all_recipes())


@pytest.mark.parametrize("path", [p for p in RECIPES if p.stem.startswith("adapt_")], ids=str)
@pytest.mark.parametrize("kind", ["uniform", "proportional"])
def test_a_twin_differs_in_the_mixture_and_the_output_directory_only(path: Path, kind: str) -> None:
    ours = load(path)
    twin = load(path.with_name(path.name.replace("adapt_", f"{kind}_", 1)))
    assert ours["adapt"].pop("mixture") == "learned"
    assert twin["adapt"].pop("mixture") == kind
    assert ours.pop("output_dir").replace("adapt_", f"{kind}_") == twin.pop("output_dir")
    assert ours == twin


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_a_recipe_opens_with_what_a_user_needs(path: Path) -> None:
    comment = path.read_text(encoding="utf-8").split("\n\n")[0]
    for word in ("Prerequisites:", "Launch:", "Override:", "Hardware:", "Status:"):
        assert word in comment
    assert f"axolotl train recipes/{path.name}" in comment


@pytest.mark.parametrize("path", [p for p in RECIPES if "pct" in p.name], ids=str)
def test_the_grid_names_the_models_types_and_budgets(path: Path) -> None:
    recipe = load(path)
    assert [entry["task"] for entry in recipe["datasets"]] == ISSUE_TYPES
    assert [entry["path"] for entry in recipe["datasets"]] == [
        f"data/natural_instructions/{name}/train.jsonl" for name in ISSUE_TYPES
    ]
    assert [entry["task"] for entry in recipe["test_datasets"]] == ISSUE_TYPES
    budget = re.search(r"_(\d+)pct", path.name)
    assert budget is not None
    assert recipe["adapt"]["token_budget"] == f"{budget.group(1)}%"
    assert recipe["base_model"] in (
        "Qwen/Qwen3-0.6B",
        "google/gemma-3-1b-pt",
        "meta-llama/Llama-3.2-1B",
    )


@pytest.mark.parametrize("name", ["pretrain", "fine_tune"])
def test_the_recipes_of_the_pretrained_study_say_what_they_need(name: str) -> None:
    comment = (PRETRAINED / f"{name}.yml").read_text(encoding="utf-8").split("\n\n")[0]
    for word in ("Prerequisites:", "Launch:", "Hardware:", "Status:"):
        assert word in comment
    assert f"axolotl train recipes/pretrained_study/{name}.yml" in comment
    assert (
        load(PRETRAINED / "fine_tune.yml")["base_model"]
        == load(PRETRAINED / "pretrain.yml")["output_dir"]
    )


@pytest.mark.parametrize(
    "path", [*RECIPES, PRETRAINED / "fine_tune.yml"], ids=lambda path: path.stem
)
def test_axolotl_accepts_the_recipe(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPT_TEST_DATA", str(tmp_path / "real"))
    recipe = load(path)
    for entry in recipe["datasets"] + recipe["test_datasets"]:
        file = Path(entry["path"].replace("${ADAPT_TEST_DATA}", str(tmp_path / "real")))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}\n")
    cfg = DictDefault(recipe)
    prepare_plugins(cfg)
    gpu = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "compute_capability": "sm_90"}
    checked = validate_config(cfg, capabilities=gpu, env_capabilities={"torch_version": "2.13.0"})
    assert checked.adapt["train_tasks"] == [entry["task"] for entry in recipe["datasets"]]
    assert checked.trainer_cls == "adapt_axolotl.trainer.AdaptTrainer"


@pytest.mark.parametrize(
    ("model", "eos", "end"),
    [
        ("qwen", "<|im_end|>", "<|im_end|>"),
        ("gemma", "<eos>", "<end_of_turn>"),
        ("llama", "<|end_of_text|>", "<|eot_id|>"),
    ],
)
def test_the_end_of_an_answer_is_trained(
    model: str, eos: str, end: str, repository: Path, tiny: Path
) -> None:
    """On a stand-in tokenizer whose EOS is that of the hub's: only `eot_tokens` makes the
    difference between its EOS and the token that ends a turn known."""
    from axolotl.prompt_strategies.chat_template import load as load_strategy
    from axolotl.utils.dict import DictDefault
    from transformers import AutoTokenizer

    recipe = load(repository / "recipes" / f"adapt_{model}_5pct.yml")
    tokenizer = AutoTokenizer.from_pretrained(str(tiny / "model"))
    tokenizer.add_special_tokens(
        {"bos_token": "<bos>", "eos_token": eos, "additional_special_tokens": [end]}
    )
    cfg = DictDefault({**recipe, "plugins": None})
    strategy = load_strategy(tokenizer, cfg, dict(recipe["datasets"][0]))
    row = strategy.tokenize_prompt(
        {
            "messages": [
                {"role": "user", "content": "Is water wet?"},
                {"role": "assistant", "content": "Yes"},
            ]
        }
    )
    trained = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(trained) == f"Yes{end}"
