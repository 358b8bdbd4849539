"""Details of lighteval, written here in the layout of its version 0.13.0."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.errors import NotComparable
from tests.support.log_files import TIME, made_lighteval_details, made_lm_eval_output

TASK = "made:sums|0"
SCORES = {TASK: [1.0, 0.0] * 6}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made_lighteval_details(tmp_path / "base", SCORES)


def compared(*runs: Path, allow: bool = False) -> Comparison:
    return compare(read_arms([str(run) for run in runs], None), allow_differences=allow)


def test_two_logs_are_paired_by_what_was_asked(base: Path, tmp_path: Path) -> None:
    other = made_lighteval_details(tmp_path / "other", {TASK: [1.0] * 9 + [0.0] * 3})
    (one,) = compared(base, other).benchmarks
    assert (one.task, one.metric, one.n, one.chance) == (TASK, "acc,none", 12, 0.5)
    assert (one.a, one.b, one.wins, one.losses) == (0.75, 0.5, 4, 1)


def test_other_settings_prompts_and_targets_are_refused(base: Path, tmp_path: Path) -> None:
    hot = made_lighteval_details(tmp_path / "hot", SCORES, generation={"temperature": 1.0})
    prompt = made_lighteval_details(tmp_path / "prompt", SCORES, prompt="another")
    gold = made_lighteval_details(tmp_path / "gold", SCORES, gold=1)
    lm_eval = made_lm_eval_output(tmp_path / "lm", {TASK: [1.0] * 12})
    with pytest.raises(NotComparable, match=r"temperature is 0\.0 in one, 1\.0 in the other"):
        compared(base, hot)
    with pytest.raises(NotComparable, match="prompts of 12 of 12 items differ"):
        compared(base, prompt)
    with pytest.raises(NotComparable, match="targets of 12 of 12 items differ"):
        compared(base, gold, allow=True)
    with pytest.raises(NotComparable, match=r"different harnesses .*lighteval; .*lm-eval"):
        compared(base, lm_eval)


def details(run: Path) -> Path:
    return next(run.rglob("details_*.parquet"))


def drop_details(run: Path) -> None:
    details(run).unlink()


def cut_details(run: Path) -> None:
    details(run).write_bytes(details(run).read_bytes()[:100])


def old_details(run: Path) -> None:
    table = pyarrow.parquet.ParquetFile(details(run)).read().drop_columns(["metric"])
    pyarrow.parquet.write_table(table, details(run))


def lose_an_item(run: Path) -> None:
    table = pyarrow.parquet.ParquetFile(details(run)).read()
    pyarrow.parquet.write_table(table.slice(1), details(run))


def cut_results(run: Path) -> None:
    file = next(run.rglob("results_*.json"))
    file.write_text(file.read_text()[:50])


def drop_general(run: Path) -> None:
    file = next(run.rglob("results_*.json"))
    content = json.loads(file.read_text())
    content.pop("config_general")
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop_details, f"details_{TASK}_{TIME}.parquet is missing"),
        (cut_details, ".parquet: cannot be read"),
        (old_details, ".parquet: has no column metric"),
        (lose_an_item, f"results_{TIME}.json: says 0.500000 for {TASK}, acc,none, and its 11"),
        (cut_results, f"results_{TIME}.json: cannot be read"),
        (drop_general, f"results_{TIME}.json: config_general is missing"),
    ],
)
def test_damage_is_one_message_with_file_and_remedy(
    base: Path, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    other = made_lighteval_details(tmp_path / "other", SCORES)
    damage(other)
    with pytest.raises(ValueError, match=r"run (lighteval|it) again") as error:
        compared(base, other)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_several_times_in_one_folder_are_refused(base: Path) -> None:
    file = next(base.rglob("results_*.json"))
    file.with_name("results_2026-02-02T00-00-00.json").write_text(file.read_text())
    with pytest.raises(ValueError, match=r"has several results .*keep one of them"):
        compared(base, base)
