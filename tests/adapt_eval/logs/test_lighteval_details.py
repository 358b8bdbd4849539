"""Details of lighteval: some that its version 0.13.0 wrote, others made here in their layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.errors import NotComparable
from adapt_eval.logs.lighteval_details import LightevalDetails
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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What lighteval itself wrote of two models."""
    folder = tmp_path_factory.mktemp("written")
    # Not tarfile's own filter, which Python 3.11 has from 3.11.4 on only.
    shutil.unpack_archive(Path(__file__).parent / "lighteval_sample" / "0.13.0.tar.xz", folder)
    return [folder / "one", folder / "two"]


def test_what_lighteval_wrote_is_paired_and_its_scores_are_those_it_reports(
    written: list[Path],
) -> None:
    result = compared(*written)
    one, two = (json.loads(next(run.rglob("results_*.json")).read_text()) for run in written)
    found = {line.task: line for line in result.benchmarks}
    assert set(found) == {"made_sums|0", "made_answers|2"}
    for task, metric, chance in (("made_sums|0", "acc", 0.25), ("made_answers|2", "em", 0.0)):
        line = found[task]
        assert (line.metric, line.chance, line.n) == (f"{metric},none", chance, 8)
        assert line.b == one["results"][task][metric]
        assert line.a == two["results"][task][metric]
        assert line.wins > 0
        assert line.losses > 0


def test_of_what_lighteval_wrote_only_means_of_which_more_is_better_are_compared(
    written: list[Path],
) -> None:
    tasks = LightevalDetails().read(written[0]).tasks
    assert tasks["made_answers|2"].comparable == ["em,none", "f1,none"]
    assert set(tasks["made_sums|0"].metrics) == {"acc,none", "loglikelihood_f1,none"}
    assert tasks["made_sums|0"].comparable == ["acc,none"]


def test_padding_that_another_batch_size_brings_is_no_other_prompt(
    written: list[Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(written[1], tmp_path / "padded")
    for file in folder.rglob("*.parquet"):
        rows = pyarrow.parquet.ParquetFile(file).read().to_pylist()
        for row in rows:
            row["model_response"]["input_tokens"].insert(0, 0)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    for ours, theirs in zip(
        compared(written[0], folder).benchmarks, compared(*written).benchmarks, strict=True
    ):
        assert (ours.n, ours.wins, ours.losses) == (theirs.n, theirs.wins, theirs.losses)


def test_other_settings_prompts_and_targets_are_refused(base: Path, tmp_path: Path) -> None:
    def other(name: str, **changes: Any) -> Path:
        return made_lighteval_details(tmp_path / name, SCORES, **changes)

    for run, says in (
        (other("hot", generation={"temperature": 1.0}), r"temperature is 0\.0 in one, 1\.0 in the"),
        (other("chat", model={"override_chat_template": True}), "override_chat_template is None"),
        (
            other("scoring", metric={"sample_level_fn": "Other()"}),
            r"scoring is 'Accuracy\(\)' in one",
        ),
        (other("text", text="another"), "prompts of 12 of 12 items differ"),
        (other("example", example="Another"), "prompts of 12 of 12 items differ"),
        (
            made_lm_eval_output(tmp_path / "lm", {TASK: [1.0] * 12}),
            r"different harnesses .*lm-eval",
        ),
    ):
        with pytest.raises(NotComparable, match=says):
            compared(base, run)
    with pytest.raises(NotComparable, match="targets of 12 of 12 items differ"):
        compared(base, other("gold", gold=1), allow=True)


@pytest.mark.parametrize(
    "metric",
    [
        {"higher_is_better": False},
        {"corpus_level_fn": "CorpusLevelPerplexityMetric(metric_type=perplexity)"},
        {
            "metric_name": ["acc", "more"],
            "higher_is_better": {"acc": True, "more": True},
            "corpus_level_fn": {"acc": "max", "more": "mean"},
        },
    ],
)
def test_a_metric_of_which_less_is_better_or_that_is_no_mean_is_not_compared(
    metric: dict[str, Any], tmp_path: Path
) -> None:
    run = made_lighteval_details(tmp_path / "run", SCORES, metric=metric)
    assert LightevalDetails().read(run).tasks[TASK].comparable == []


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
