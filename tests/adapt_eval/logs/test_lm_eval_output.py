"""Output of `lm_eval --log_samples` that cannot be compared or trusted is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.errors import NotComparable
from tests.adapt_eval.conftest import Command
from tests.support.log_files import TIME, made_lm_eval_output

SCORES = {"sums": [1.0, 0.0] * 6, "logic": [1.0] * 12}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made_lm_eval_output(tmp_path / "base", SCORES)


def compared(*runs: Path, suite: str | None = None, allow: bool = False) -> Comparison:
    return compare(read_arms([str(run) for run in runs], suite), allow_differences=allow)


def refused(base: Path, other: Path, says: str, allow: bool = False) -> None:
    with pytest.raises(NotComparable, match=says):
        compared(base, other, allow=allow)


def test_tasks_of_no_suite_are_compared_by_their_first_metric(base: Path, tmp_path: Path) -> None:
    other = made_lm_eval_output(tmp_path / "other", {**SCORES, "sums": [0.0] * 12})
    result = compared(base, other)
    assert [(one.task, one.metric, one.chance) for one in result.benchmarks] == [
        ("sums", "acc,none", 0.25),
        ("logic", "acc,none", 0.25),
    ]
    assert result.benchmarks[0].difference == -0.5
    assert {one.family for one in result.benchmarks} == {"in no suite"}


def test_a_suite_tells_metric_chance_and_family(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    entry = "{task: sums, family: maths, metric: 'acc,none', shots: 0, items: 12, chance: 0.1}"
    file.write_text(f"benchmarks: [{entry}]")
    other = made_lm_eval_output(tmp_path / "other", SCORES)
    (one,) = compared(base, other, suite=str(file)).benchmarks
    assert (one.task, one.family, one.chance) == ("sums", "maths", 0.1)
    file.write_text(f"benchmarks: [{entry.replace('acc,', 'f1,')}]")
    with pytest.raises(ValueError, match=r"sums has no metric 'f1,none', only acc,none; change"):
        compared(base, other, suite=str(file))
    with pytest.raises(ValueError, match=r"has none of the benchmarks of ood11 .*only sums, logic"):
        compared(base, other, suite="ood11")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shots": 5}, "sums, .*other: shots is 0 in one, 5 in the other"),
        ({"changes": {"chat_template": "{{ m }}"}}, "chat_template is False in one, True in"),
        ({"changes": {"system_instruction": "Be brief"}}, "system_instruction is None in one"),
        ({"changes": {"lm_eval_version": "0.4.9"}}, "lm_eval is '0.4.11' in one, '0.4.9' in"),
        ({"prompt": "another"}, "the prompts of 12 of 12 items differ; measure both runs"),
    ],
)
def test_other_settings_and_prompts_are_refused_unless_allowed(
    base: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    other = made_lm_eval_output(tmp_path / "other", SCORES, **changes)
    refused(base, other, says)
    assert compared(base, other, allow=True).benchmarks


def test_other_targets_are_always_refused(base: Path, tmp_path: Path) -> None:
    other = made_lm_eval_output(tmp_path / "other", SCORES, target="another")
    refused(base, other, "the targets of 12 of 12 items differ", allow=True)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def drop_samples(folder: Path) -> None:
    (folder / f"samples_sums_{TIME}.jsonl").unlink()


def lose_a_sample(folder: Path) -> None:
    file = folder / f"samples_sums_{TIME}.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[1:]))


def cut_samples(folder: Path) -> None:
    file = folder / f"samples_sums_{TIME}.jsonl"
    file.write_text(file.read_text()[:-20])


def old_samples(folder: Path) -> None:
    file = folder / f"samples_sums_{TIME}.jsonl"
    file.write_text(file.read_text().replace("doc_hash", "hash"))


def cut_results(folder: Path) -> None:
    file = folder / f"results_{TIME}.json"
    file.write_text(file.read_text()[:100])


def drop_config(folder: Path) -> None:
    edit(folder / f"results_{TIME}.json", lambda content: content.pop("config"))


def edit_score(folder: Path) -> None:
    edit(
        folder / f"results_{TIME}.json",
        lambda content: content["results"]["sums"].update({"acc,none": 0.9}),
    )


def edit_a_sample(folder: Path) -> None:
    file = folder / f"samples_sums_{TIME}.jsonl"
    file.write_text(file.read_text().replace('"acc": 0.0', '"acc": 1.0', 1))


def drop_all(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop_samples, f"samples_sums_{TIME}.jsonl: is missing"),
        (lose_a_sample, f"samples_sums_{TIME}.jsonl: lost samples or was changed"),
        (cut_samples, f"samples_sums_{TIME}.jsonl, line 12: is not JSON"),
        (old_samples, f"samples_sums_{TIME}.jsonl, line 1: doc_hash is missing"),
        (cut_results, f"results_{TIME}.json: cannot be read"),
        (drop_config, f"results_{TIME}.json: config is missing"),
        (edit_score, f"results_{TIME}.json: says 0.900000 for sums, acc,none, and its 12 items"),
        (edit_a_sample, f"results_{TIME}.json: says 0.500000 for sums, acc,none, and its 12 items"),
        (drop_all, "no results; run adapt-eval run"),
    ],
)
def test_damage_is_one_message_with_file_and_remedy(
    base: Path, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    other = made_lm_eval_output(tmp_path / "other", SCORES)
    damage(other / "org__model")
    with pytest.raises(ValueError, match=says.replace(".", r"\.")) as error:
        compared(base, other)
    remedies = ("measure again with lm_eval run --log_samples", "or give a log")
    assert any(one in str(error.value) for one in remedies)
    assert "\n" not in str(error.value)


def test_one_task_measured_twice_and_two_models_are_refused(base: Path, tmp_path: Path) -> None:
    twice = made_lm_eval_output(tmp_path / "twice", SCORES)
    made_lm_eval_output(twice, {"logic": [0.0] * 12}, time=TIME.replace("03-04", "04-04"))
    with pytest.raises(ValueError, match=r"logic was measured twice.*give one results_"):
        compared(base, twice)
    (one,) = compared(base, next(twice.rglob("results_*T04-04*"))).benchmarks
    assert one.task == "logic"
    two = made_lm_eval_output(tmp_path / "two", SCORES)
    (two / "org__model").rename(two / "first")
    made_lm_eval_output(two, SCORES)
    with pytest.raises(ValueError, match=r"several models; give one of first, org__model"):
        compared(base, two)


def test_a_metric_of_which_less_is_better_or_that_is_no_mean_is_not_chosen(
    base: Path, tmp_path: Path
) -> None:
    for listed in ({"higher_is_better": False}, {"aggregation": "perplexity"}):
        name = str(next(iter(listed.values())))
        other = made_lm_eval_output(tmp_path / name, SCORES, listed=listed)
        with pytest.raises(ValueError, match=r"has no metric that is a mean over items.*--suite"):
            compared(other, other)


def test_a_task_without_such_a_metric_is_left_out_and_named(base: Path, tmp_path: Path) -> None:
    listed = {"aggregation": "perplexity"}
    time = TIME.replace("03-04", "04-04")
    for run in (base, other := made_lm_eval_output(tmp_path / "other", SCORES)):
        made_lm_eval_output(run, {"text": [3.0, 4.0]}, listed=listed, time=time)
    result = compared(base, other)
    assert [one.task for one in result.benchmarks] == ["sums", "logic"]
    assert result.measured_on.note.endswith("left out, for want of a mean over items: text")


def test_a_group_is_one_benchmark_of_clusters_and_a_group_without_a_score_is_none(
    tmp_path: Path,
) -> None:
    runs = [
        made_lm_eval_output(
            tmp_path / name,
            {"sums": scores, "logic": scores},
            changes={"group_subtasks": {"all": ["pair"], "pair": ["sums", "logic"]}},
        )
        for name, scores in (("a", [1.0, 0.0] * 6), ("b", [1.0] * 12))
    ]
    for run in runs:
        (file,) = run.rglob("results_*.json")

        def group(content: dict[str, Any]) -> None:
            score = content["results"]["sums"]["acc,none"]
            content["results"] |= {"all": {"alias": "all"}, "pair": {"acc,none": score}}

        edit(file, group)
    (one,) = compared(*runs).benchmarks
    assert (one.task, one.n, one.clusters, one.chance) == ("pair", 24, 2, 0.25)


def test_seeds_of_logs_are_an_arm(tmp_path: Path) -> None:
    runs = [
        made_lm_eval_output(tmp_path / f"{n}", {"sums": [1.0] * n + [0.0] * (12 - n)})
        for n in range(4)
    ]
    result = compare(read_arms([f"a={runs[0]},{runs[1]}", f"b={runs[2]},{runs[3]}"], None))
    assert result.seeds == {"a": 2, "b": 2}


def test_overlap_and_the_exit_code_of_a_refusal(
    base: Path, tmp_path: Path, command: Command
) -> None:
    other = made_lm_eval_output(tmp_path / "other", SCORES, shots=5)
    done = command("compare", base, other)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr
    done = command("overlap", base)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
