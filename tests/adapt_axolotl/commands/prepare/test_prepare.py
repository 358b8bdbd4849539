"""A clone of Natural Instructions becomes a mixture: on a small clone in the same schema."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapt_axolotl.commands.prepare.prepare import Prepared, prepare
from adapt_axolotl.commands.prepare.selection import Limits, place
from tests.support.launch import ledger, recipe, train

LIMITS = Limits(training_rows=60, validation_rows=10, validation_share=0.2)


def from_a_benchmark(name: str) -> bool:
    return "hellaswag" in name or "_drop_" in name


def write_task(clone: Path, name: str, **changes: Any) -> None:
    """A task file of 100 instances; inputs are `<name> <number>` unless told."""
    task = {
        "Contributors": ["someone"],
        "Categories": ["Question Answering"],
        "Definition": [f"Do {name}."],
        "Input_language": ["English"],
        "Output_language": ["English"],
        "Positive Examples": [],
        "Negative Examples": [],
        "Instances": [
            {"id": f"{name}-{n}", "input": f"{name} {n}", "output": [f"answer {n}", "another"]}
            for n in range(100)
        ],
        "Instance License": ["MIT"],
        **changes,
    }
    (clone / "tasks").mkdir(parents=True, exist_ok=True)
    (clone / "tasks" / f"{name}.json").write_text(json.dumps(task))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    clone = tmp_path / "clone"
    write_task(clone, "task001_alpha_question")
    write_task(clone, "task002_beta_question")
    # The same inputs as task001, in a type of its own.
    same = [{"input": f"task001_alpha_question {n}", "output": [f"{n}"]} for n in range(100)]
    write_task(clone, "task003_gamma", Categories=["Title Generation"], Instances=same)
    write_task(clone, "task004_delta", Categories=["Title Generation", "x"], Definition="Old form.")
    write_task(clone, "task005_italian", Output_language=["Italian"])
    write_task(clone, "task1389_hellaswag_completion")
    write_task(clone, "task026_drop_question_generation")
    few = [{"input": f"few {n}", "output": ["x"]} for n in range(90)]
    licence = {"Instance License": ["CC BY 4.0"]}
    write_task(clone, "task006_few", Categories=["Fill in The Blank"], Instances=few, **licence)
    return clone


def run(clone: Path, out: Path, **changes: Any) -> Prepared:
    settings = {"largest": 2, "limits": LIMITS, "overlaps": from_a_benchmark, **changes}
    return prepare(clone, out, **settings)


def rows(out: Path, type_: str, side: str) -> list[tuple[str, str]]:
    """(asked, answer) of a file."""
    lines = (out / type_ / f"{side}.jsonl").read_text().splitlines()
    messages = [json.loads(line)["messages"] for line in lines]
    assert all([one["role"] for one in row] == ["user", "assistant"] for row in messages)
    return [(row[0]["content"], row[1]["content"]) for row in messages]


def test_the_largest_english_types_are_taken_and_benchmarks_left_out(
    clone: Path, tmp_path: Path
) -> None:
    manifest = run(clone, tmp_path / "out").manifest
    assert list(manifest["types"]) == ["question_answering", "title_generation"]
    assert manifest["excluded"] == [
        "task026_drop_question_generation",
        "task1389_hellaswag_completion",
    ]
    assert manifest["not_english"] == 1
    files = manifest["types"]["question_answering"]["settings"]["files"]
    assert list(files) == ["task001_alpha_question", "task002_beta_question"]
    kept = run(clone, tmp_path / "all", overlaps=lambda name: False).manifest
    assert len(kept["types"]["question_answering"]["settings"]["files"]) == 4


def test_rows_are_instruction_input_and_first_answer_within_the_caps(
    clone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    manifest = run(clone, out).manifest
    train_rows = rows(out, "question_answering", "train")
    assert len(train_rows) == manifest["types"]["question_answering"]["train"]["rows"] == 60
    assert len(rows(out, "question_answering", "validation")) == 10
    asked, answer = train_rows[0]
    instruction, _, text = asked.partition("\n\n")
    assert instruction in ("Do task001_alpha_question.", "Do task002_beta_question.")
    assert answer == f"answer {text.split()[-1]}"
    # A cap takes from both files.
    assert 15 < sum("alpha" in asked for asked, _ in train_rows) < 45
    assert any(asked.startswith("Old form.\n\n") for asked, _ in rows(out, *TITLES))


TITLES = ("title_generation", "train")


def test_an_input_is_on_one_side_in_all_types(clone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(clone, out, limits=Limits(1000, 1000, 0.2))
    sides: dict[str, set[str]] = {"train": set(), "validation": set()}
    for side, inputs in sides.items():
        for type_ in ("question_answering", "title_generation"):
            inputs |= {asked.partition("\n\n")[2] for asked, _ in rows(out, type_, side)}
    assert len(sides["train"] | sides["validation"]) == 300
    assert not sides["train"] & sides["validation"]
    assert 0.1 < len(sides["validation"]) / 300 < 0.3
    assert place("a  B\n") == place("A b")


def test_types_too_small_for_a_task_are_passed_over_unless_they_were_named(
    clone: Path, tmp_path: Path
) -> None:
    one = [{"input": "only", "output": ["x"]}] * 500
    write_task(clone, "task007_one", Categories=["Story Composition"], Instances=one)
    bare = [{"input": "no answer"}, {"output": ["no input"]}] * 10
    write_task(clone, "task008_bare", Categories=["Paraphrasing"], Instances=bare)
    done = run(clone, tmp_path / "out", largest=3)
    assert list(done.manifest["types"]) == [
        "question_answering",
        "title_generation",
        "fill_in_the_blank",
    ]
    assert done.manifest["too_small"] == ["story_composition"]
    assert not (tmp_path / "out" / "story_composition").exists()
    with pytest.raises(ValueError, match=r"type story_composition: .* too few for a task"):
        run(clone, tmp_path / "other", types=["story_composition", "title_generation"])


def test_the_same_clone_gives_the_same_bytes_and_the_manifest_tells_their_hashes(
    clone: Path, tmp_path: Path
) -> None:
    one, two = run(clone, tmp_path / "one").manifest, run(clone, tmp_path / "two").manifest
    assert one == two
    for name, described in one["types"].items():
        for side in ("train", "validation"):
            data = (tmp_path / "one" / name / f"{side}.jsonl").read_bytes()
            assert hashlib.sha256(data).hexdigest() == described[side]["sha256"]
    source = (clone / "tasks" / "task001_alpha_question.json").read_bytes()
    files = one["types"]["question_answering"]["settings"]["files"]
    assert files["task001_alpha_question"] == hashlib.sha256(source).hexdigest()
    everything = run(clone, tmp_path / "three", largest=3).manifest["types"]
    assert everything["fill_in_the_blank"]["licences"] == ["CC BY 4.0"]


def test_finished_types_are_kept_and_changed_ones_written_again(
    clone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(clone, out).kept == []
    assert run(clone, out).kept == ["question_answering", "title_generation"]
    # Killed before the type's manifest, edited by hand, another source, another cap.
    (out / "title_generation" / "manifest.json").unlink()
    assert run(clone, out).kept == ["question_answering"]
    with (out / "title_generation" / "train.jsonl").open("a") as file:
        file.write("{}\n")
    assert run(clone, out).kept == ["question_answering"]
    write_task(clone, "task002_beta_question", Definition=["Another."])
    assert run(clone, out).kept == ["title_generation"]
    assert run(clone, out, limits=Limits(50, 10, 0.2)).kept == []


def test_what_cannot_be_prepared_says_what_to_do(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tasks/task\*\.json; give a clone of https"):
        run(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"poems: no such .* question_answering \(200\)"):
        run(clone, tmp_path / "out", types=["poems"])
    broken = clone / "tasks" / "task001_alpha_question.json"
    broken.write_text('{"Categories": ["x"')
    with pytest.raises(ValueError, match=r"task001_alpha_question.json: is not JSON .* git check"):
        run(clone, tmp_path / "out")
    broken.write_text('{"Categories": ["x"]}')
    with pytest.raises(ValueError, match="has no Definition, Input_language"):
        run(clone, tmp_path / "out")


def prepare_command(clone: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", "prepare", "natural-instructions"]
    call += ["--source", str(clone), "--out", str(out), *options]
    return subprocess.run(call, capture_output=True, text=True, check=True)


def test_a_recipe_names_the_types_that_it_needs(clone: Path, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yml"
    entries = [
        {"path": f"data/{name}/train.jsonl", "task": name}
        for name in ("question_answering", "title_generation", "title_generation")
    ]
    file.write_text(yaml.safe_dump({"base_model": "x", "datasets": entries}))
    prepare_command(clone, tmp_path / "data", "--recipe", str(file), "--largest", "2")
    there = sorted(folder.name for folder in (tmp_path / "data").iterdir() if folder.is_dir())
    assert there == ["question_answering", "title_generation"]


@pytest.mark.slow
def test_the_command_writes_a_block_that_trains(clone: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    done = prepare_command(clone, out, "--largest", "3")
    assert done.stdout == f"{out / 'datasets.yml'}\n"
    assert "task026_drop_question_generation, task1389_hellaswag_completion" in done.stderr
    blocks = yaml.safe_load((out / "datasets.yml").read_text())
    config = recipe(tiny, tmp_path / "run", **blocks, adapt={"token_budget": "50%"})
    config["dataset_prepared_path"] = str(tmp_path / "prepared")
    config["sequence_len"] = 256
    train(config, tmp_path / "run")
    assert sorted(ledger(tmp_path / "run")["tasks"]) == sorted(TYPES)


TYPES = ("question_answering", "title_generation", "fill_in_the_blank")
