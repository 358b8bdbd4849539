"""Runs that cannot be compared, and results that cannot be trusted, are refused with the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.errors import NotComparable
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import made_run

SCORES = {"sums": [1.0, 0.0, 1.0, 0.0, 1.0]}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made_run(tmp_path / "base", SCORES)


def refused(base: Path, other: Path, says: str, allow: bool = False) -> None:
    with pytest.raises(NotComparable, match=says):
        compare(read_arms([str(base), str(other)], None), allow_differences=allow)


def test_other_settings(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", SCORES, settings={"shots": 5})
    refused(base, other, "shots is 0 in one, 5 in the other.*--allow-differences")
    result = compare(read_arms([str(base), str(other)], None), allow_differences=True)
    assert any("in spite of a difference" in note for note in result.notes)


def test_settings_that_only_one_of_the_runs_has(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", SCORES, settings={"temperature": 1.0})
    refused(base, other, "temperature is None in one, 1.0 in the other")
    refused(other, base, "temperature is 1.0 in one, None in the other")


def test_a_run_is_no_second_seed_of_itself(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", SCORES)
    with pytest.raises(ValueError, match="one run is given twice; seeds are different runs"):
        read_arms([f"a={base},{base}", str(other)], None)


def test_other_prompts_unless_allowed_and_other_targets_always(base: Path, tmp_path: Path) -> None:
    prompts = made_run(tmp_path / "prompts", SCORES, prompt="another")
    targets = made_run(tmp_path / "targets", SCORES, target="another")
    refused(base, prompts, "the prompts of 5 of 5 items differ")
    refused(base, targets, "the targets of 5 of 5 items differ", allow=True)
    compare(read_arms([str(base), str(prompts)], None), allow_differences=True)


def test_other_suites_and_no_benchmark_in_common(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", SCORES, suite="another")
    with pytest.raises(NotComparable, match=r"different suites: .*made.*another"):
        read_arms([str(base), str(other)], None)
    refused(
        base, made_run(tmp_path / "logic", {"logic": [1.0]}), "no benchmark was measured in all"
    )


def test_a_benchmark_that_one_run_lacks_is_left_out_and_named(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", {**SCORES, "logic": [1.0, 0.0]})
    notes = compare(read_arms([str(base), str(other)], None)).notes
    assert f"logic is left out: not measured in {base}" in notes
    assert "passages was measured in none of the runs: the suite is not whole" in notes


def test_other_circumstances_are_noted(base: Path, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", SCORES, circumstances={"device": "cuda", "limit": 5})
    notes = compare(read_arms([str(base), str(other)], None)).notes
    assert f"{other} was measured with another device, limit than {base}" in notes


def test_limits_are_told(tmp_path: Path) -> None:
    limited = {"limit": 5}
    runs = [made_run(tmp_path / name, SCORES, circumstances=limited) for name in "ab"]
    notes = compare(read_arms([str(run) for run in runs], None)).notes
    assert "not whole benchmarks but the first items of each task: sums 5" in notes


def test_exit_code_4_is_for_runs_that_are_not_comparable(
    base: Path, tmp_path: Path, command: Command
) -> None:
    other = made_run(tmp_path / "other", SCORES, settings={"shots": 5})
    done = command("compare", base, other)
    assert done.returncode == 4
    assert done.stderr.startswith("adapt-eval: the runs were not measured the same way")
    assert "Traceback" not in done.stderr
    assert "Traceback" in command("--debug", "compare", base, other).stderr


def edit_scores(run: Path) -> None:
    file = run / "eval" / "made" / "sums.samples.parquet"
    table = pyarrow.parquet.read_table(file)
    column = table.schema.get_field_index("score")
    better = table.set_column(column, "score", pyarrow.array([1.0] * table.num_rows))
    pyarrow.parquet.write_table(better, file)


def cut_result(run: Path) -> None:
    file = run / "eval" / "made" / "sums.json"
    file.write_text(file.read_text()[:100])


def cut_samples(run: Path) -> None:
    file = run / "eval" / "made" / "sums.samples.parquet"
    file.write_bytes(file.read_bytes()[:100])


def edit_score(run: Path) -> None:
    file = run / "eval" / "made" / "sums.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "score": 0.9}))


def drop_samples(run: Path) -> None:
    (run / "eval" / "made" / "sums.samples.parquet").unlink()


def drop_manifest(run: Path) -> None:
    (run / "eval" / "made" / "manifest.json").unlink()


def drop_results(run: Path) -> None:
    (run / "eval" / "made" / "sums.json").unlink()


def drop_all(run: Path) -> None:
    shutil.rmtree(run / "eval")


def drop_run(run: Path) -> None:
    shutil.rmtree(run)


def swap_model(run: Path) -> None:
    file = run / "eval" / "made" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["model"]["hash"] = "another"
    file.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (edit_scores, "has changed since it was written"),
        (cut_result, "half-written or damaged: delete it and run"),
        (cut_samples, "has changed since it was written"),
        (edit_score, "one of the files was edited"),
        (drop_samples, "is missing; run adapt-eval run --force"),
        (drop_manifest, "no results; run adapt-eval run"),
        (drop_results, "no benchmark is finished"),
        (drop_all, "no results; run adapt-eval run"),
        (drop_run, "no such directory; give a run"),
        (swap_model, "results of different models"),
    ],
)
def test_damage_is_one_message_with_its_remedy_and_exit_code_2(
    base: Path, tmp_path: Path, command: Command, damage: object, says: str
) -> None:
    other = made_run(tmp_path / "other", SCORES)
    assert callable(damage)
    damage(other)
    done = command("compare", base, other)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_names_of_runs_must_tell_them_apart(base: Path, tmp_path: Path) -> None:
    twin = made_run(tmp_path / "elsewhere" / "base", SCORES)
    with pytest.raises(ValueError, match="two runs are called base; name them: NAME=RUN"):
        read_arms([str(base), str(twin)], None)
    assert [arm.name for arm in read_arms([str(base), f"twin={twin}"], None)] == ["base", "twin"]
    with pytest.raises(ValueError, match="at least two runs"):
        read_arms([str(base)], None)


def test_a_run_with_results_of_several_suites_asks_which(base: Path, tmp_path: Path) -> None:
    made_run(base, SCORES, suite="second")
    other = made_run(tmp_path / "other", SCORES)
    with pytest.raises(ValueError, match="has results of made, second; say which with --suite"):
        read_arms([str(base), str(other)], None)
    assert len(read_arms([str(base), str(other)], "made")) == 2
