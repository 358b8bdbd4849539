"""A card says what a run was, and nothing that it was not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from adapt_axolotl.commands.card.evaluation import NotComparable
from adapt_axolotl.commands.card.folder import write_card
from adapt_common.run_records import read_ledger
from tests.support.eval_runs import made_run
from tests.support.hub import Hub, standing_in
from tests.support.made_records import RECIPE, made_records


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Records of a learned run."""
    return made_records(tmp_path / "learned")


def written(run: Path, twin: Path | None = None) -> str:
    write_card(run, run / "card", twin)
    return (run / "card" / "README.md").read_text()


def push(run: Path, repository: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    """`adapt-axolotl card RUN --push-to-hub`, in a process that sees this hub and no other."""
    call = [sys.executable, "-m", "adapt_axolotl.commands.cli", "card", str(run), "--push-to-hub"]
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": "hf_test",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    return subprocess.run(
        [*call, repository], capture_output=True, text=True, check=False, env=environment
    )


def test_the_header_is_that_of_a_model_card(run: Path) -> None:
    data = ModelCard(written(run)).data
    assert data.base_model == ["org/model"]
    assert data.datasets == ["org/a", "org/c"]  # b is a file, which nobody could follow
    assert "mixture-learned" in data.tags
    assert data.eval_results is None


def test_data_budget_and_mixture_are_those_of_the_records(run: Path) -> None:
    text, ledger = written(run), read_ledger(run)
    for name, source in (("a", "org/a"), ("b", "data/b.jsonl"), ("c", "org/c")):
        task = ledger["tasks"][name]
        assert (
            f"| {name} | `{source}` | {task['rows']:,} | {task['available']:,} | "
            f"{task['tokens']:,} |"
        ) in text
    assert "The budget was 5,000 supervised tokens (labels other than -100)." in text
    assert f"Training used {ledger['used']:,} of them in {ledger['steps']:,} optimizer" in text
    assert "| a | 50.0% | 50.0% |" in text
    assert "![Shares of the tasks over the tokens trained on](mixture.png)" in text
    picture = (run / "card" / "mixture.png").read_bytes()
    assert picture == (run / "adapt" / "mixture.png").read_bytes()


def test_the_recipe_and_what_it_ran_with_can_be_had_again(run: Path) -> None:
    text = written(run)
    assert (run / "card" / "recipe.yml").read_text() == RECIPE
    assert f"sha256 `{hashlib.sha256(RECIPE.encode()).hexdigest()}`" in text
    assert RECIPE.rstrip() in text
    assert "adapt-axolotl 0.1.0, axolotl 0.19.0." in text
    assert "at commit `0123456789abcdef`" in text
    assert "axolotl train recipe.yml" in text
    assert str(run.parent) not in text


@pytest.mark.parametrize(
    ("plugin", "lines"),
    [
        (None, "a clone of its repository:\npip install -e . axolotl==0.19.0 torch==2.9.1\n"),
        (
            {"commit": "abc", "dirty": True, "url": None},
            "git checkout abc   # the run had uncommitted changes on top\npip install -e . axolotl",
        ),
        (
            {"commit": "abc", "dirty": False, "url": "https://host/it.git"},
            'bash\npip install "adapt-axolotl @ git+https://host/it.git@abc" axolotl==0.19.0 torch',
        ),
    ],
)
def test_what_it_ran_with_can_be_installed(
    run: Path, plugin: dict[str, object] | None, lines: str
) -> None:
    file = run / "adapt" / "config.yml"
    config = yaml.safe_load(file.read_text()) | {"plugin": plugin}
    config["versions"]["torch"] = "2.9.1+cpu"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    text = written(run)
    assert lines in text
    assert "torch 2.9.1+cpu." in text


def test_keys_of_services_stay_at_home(run: Path) -> None:
    file = run / "adapt" / "recipe.yml"
    file.write_text(
        RECIPE + "comet_api_key: very-secret\nWANDB_API_KEY: 123\nhub_model_id: me/model\n"
    )
    text = written(run)
    shared = (run / "card" / "recipe.yml").read_text()
    assert "very-secret" not in text + shared
    assert "123\n" not in shared
    assert "comet_api_key:  # left out of the card" in shared
    assert "hub_model_id: me/model" in shared
    assert hashlib.sha256(shared.encode()).hexdigest() in text


@pytest.mark.parametrize(
    "lines",
    [
        "hatchery: {api_key: very-secret}\n",
        "dataset_prepared_path: https://me:very-secret@host/x\n",
        "comet_api_key: very-secret\ncomet_api_key: other\n",
    ],
)
def test_a_secret_that_cannot_be_cut_out_stops_the_card(run: Path, lines: str) -> None:
    (run / "adapt" / "recipe.yml").write_text(RECIPE + lines)
    with pytest.raises(ValueError, match=r"take it out of adapt/recipe\.yml"):
        written(run)
    assert not (run / "card").exists()


def test_places_of_this_machine_are_told(run: Path) -> None:
    recipe = run / "adapt" / "recipe.yml"
    recipe.write_text(
        recipe.read_text() + "resume_from_checkpoint: /home/me/checkpoint\nhub_model_id: me/model\n"
    )
    assert write_card(run, run / "card", None) == ["resume_from_checkpoint: /home/me/checkpoint"]


def test_what_is_no_card_is_not_written_over(run: Path, tmp_path: Path) -> None:
    written(run)
    written(run)  # an earlier card is replaced
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"its README\.md is no card; name another folder"):
        write_card(run, tmp_path, None)
    assert (tmp_path / "README.md").read_text() == "mine"
    with pytest.raises(ValueError, match="is the run itself"):
        write_card(run, run / "card", run)


def test_a_static_run_has_a_card_too(tmp_path: Path) -> None:
    text = written(made_records(tmp_path / "uniform", mixture="uniform"))
    assert "on 3 tasks in a fixed mixture (uniform)" in text
    assert "freeze" not in text


def test_benchmarks_are_told_and_only_whole_ones_are_indexed(run: Path) -> None:
    made_run(run, {"sums": [1, 0, 1, 1], "logic": [0.5, 0.5]})
    result = run / "eval" / "made" / "logic.json"
    content = json.loads(result.read_text())
    content["fingerprint"]["limit"] = 2
    result.write_text(json.dumps(content))
    text = written(run)
    assert "| sums | reasoning | acc,none | 4 | 75.0 | 0.0 |" in text
    assert "| logic | reasoning | acc,none | 2 (the first) | 50.0 | 0.0 |" in text
    results = ModelCard(text).data.eval_results
    assert [(one.dataset_name, one.metric_type, one.metric_value) for one in results] == [
        ("sums", "acc", 0.75)
    ]


def test_benchmarks_of_an_earlier_training_are_refused(run: Path) -> None:
    ledger = read_ledger(run)
    made_run(run, {"sums": [1, 0]}, ledger=ledger)
    assert "## Benchmarks" in written(run)
    ledger["tasks"]["a"]["tokens"] += 1
    made_run(run, {"sums": [1, 0]}, ledger=ledger)
    with pytest.raises(ValueError, match="was measured before the run was trained again"):
        written(run)


def test_the_twin_stands_beside_the_run_in_losses_and_benchmarks(run: Path) -> None:
    twin = made_records(run.parent / "uniform", mixture="uniform", initial=np.full(3, 1 / 3))
    theirs = RECIPE.replace("unit: tokens", "mixture: uniform").replace("seed: 1", "seed: 2")
    (twin / "adapt" / "recipe.yml").write_text(theirs)
    text = written(run, twin)
    assert "## Against uniform" in text
    assert "The recipes differ in `adapt.unit`, `seed`, `adapt.mixture`." in text
    assert "uniform: tokens | share | first loss | last loss | learned: tokens" in text
    assert "seconds" not in text  # those of two machines, or of a loaded one, are no comparison
    assert "detectable" not in text
    scores = np.random.default_rng(0).integers(0, 2, 200).tolist()
    made_run(twin, {"sums": scores})
    made_run(run, {"sums": [1 - score for score in scores[:20]] + scores[20:]})
    text = written(run, twin)
    assert "**learned against uniform on made: " in text
    assert "| benchmark | learned | uniform | difference |" in text


def test_a_twin_that_was_measured_otherwise_is_refused(run: Path) -> None:
    twin = made_records(run.parent / "uniform", mixture="uniform")
    made_run(twin, {"sums": [1, 0]}, prompt="another prompt")
    made_run(run, {"sums": [1, 0]})
    with pytest.raises(NotComparable):
        written(run, twin)


def test_the_folder_is_uploaded_in_one_commit_and_nothing_else_of_it(run: Path) -> None:
    (run / "card").mkdir()
    (run / "card" / "notes.txt").write_text("not for strangers")
    with standing_in(Hub()) as hub:
        done = push(run, "me/recipe", hub.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{hub.address}/me/recipe/commit/{'0' * 40}"
    assert [(one["organization"], one["name"]) for one in hub.repositories] == [("me", "recipe")]
    assert hub.tokens == {"Bearer hf_test"}
    assert hub.commit["summary"] == "Recipe card"
    assert hub.files == {
        name: (run / "card" / name).read_bytes()
        for name in ("README.md", "recipe.yml", "mixture.png")
    }
    assert hub.files["mixture.png"].startswith(b"\x89PNG")


def test_a_hub_that_refuses_or_is_not_there_is_a_failure_with_a_reason(run: Path) -> None:
    with standing_in(Hub(refuse=True)) as hub:
        refused = push(run, "me/recipe", hub.address)
    assert refused.returncode == 1
    assert "You have no right to write here" in refused.stderr
    absent = push(run, "me/recipe", hub.address)
    assert absent.returncode == 1
    assert f"--push-to-hub me/recipe: {hub.address}: " in absent.stderr
    misnamed = push(run, "no such/name", hub.address)
    assert misnamed.returncode == 2
    for done in (refused, absent, misnamed):
        assert "Traceback" not in done.stderr
        assert (run / "card" / "README.md").is_file()
