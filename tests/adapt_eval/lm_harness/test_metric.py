"""Metric, direction and scale are known before a model is asked; class-based tasks read mirrors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from adapt_eval.fetch import save
from adapt_eval.lm_harness import stock
from adapt_eval.lm_harness.manager import MirroredTaskManager
from adapt_eval.lm_harness.rows import row
from adapt_eval.lm_harness.tasks import Tasks
from adapt_eval.suite import Benchmark, Suite, suite_hash


def benchmark(task: str, metric: str, folder: str, **more: Any) -> Benchmark:
    return Benchmark(
        task=task, family="x", metric=metric, shots=0, items=2, chance=0, folder=folder, **more
    )


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Two rows each of what the tasks below read."""

    def put(hub_path: str, name: str | None, split: str, rows: list[dict[str, Any]]) -> None:
        made = {split: datasets.Dataset.from_list(rows)}
        save(tmp_path / hub_path, hub_path, {name: made})

    put("nyu-mll/glue", "cola", "validation", [{"sentence": "a b", "label": 1, "idx": 0}] * 2)
    put("EleutherAI/lambada_openai", "default", "test", [{"text": "a b c"}] * 2)
    question = {"title": "t", "context": "c", "question": "q", "answers": {"text": ["x"]}}
    asked = {
        split: datasets.Dataset.from_list([{"id": "1", **question}] * 2)
        for split in ("train", "validation")
    }
    save(tmp_path / "lighteval/squad_v2", "lighteval/squad_v2", {None: asked})
    put("hazyresearch/based-fda", "default", "validation", [{"text": "t", "value": "v"}] * 2)
    return tmp_path


def test_tasks_that_are_classes_read_the_mirror_too(mirror: Path) -> None:
    one = benchmark("fda", "contains,none", "fda")
    tasks = Tasks([one], [mirror])
    prepared = tasks.prepare(one, chat=False)
    where = str((mirror / "hazyresearch/based-fda").resolve())
    assert prepared.data == {"hazyresearch/based-fda": where}
    assert prepared.items(None) == 2
    assert tasks.sources(one) == {"hazyresearch/based-fda": {"default"}}


def test_no_stock_task_that_is_a_class_passes_the_mirror_by(tmp_path: Path) -> None:
    """Also those whose class cannot be made offline: SCROLLS fetches its metric from the Hub."""
    files = [file for file in stock.FOLDER.rglob("*.yaml") if "\nclass:" in file.read_text()]
    assert {"fda", "swde", "squadv2", "scrolls_quality"} <= {file.stem for file in files}
    manager = MirroredTaskManager(
        [tmp_path],
        include_path=[str(one) for one in {file.parent for file in files}],
        include_defaults=False,
    )
    for file in files:
        stated = super(MirroredTaskManager, manager)._get_config(file.stem)["class"]
        folder = tmp_path / stated.DATASET_PATH
        folder.mkdir(parents=True, exist_ok=True)
        read = manager._get_config(file.stem)["class"]
        assert Path(read.DATASET_PATH) == folder
        assert read.__name__ == stated.__name__


@pytest.mark.parametrize(
    ("task", "metric", "folder", "says"),
    [
        ("cola", "mcc,none", "glue/cola", "mcc is no mean over items .*matthews_corrcoef"),
        ("squadv2", "f1,none", "squadv2", "f1 is no mean over items"),
        ("lambada_openai", "perplexity,none", "lambada", "is no mean .*; there is acc"),
    ],
)
def test_a_metric_that_is_no_mean_over_items_is_refused_before_measuring(
    task: str, metric: str, folder: str, says: str, mirror: Path
) -> None:
    one = benchmark(task, metric, folder)
    with pytest.raises(ValueError, match=says):
        Tasks([one], [mirror]).prepare(one, chat=False)


def test_a_metric_of_which_less_is_better_is_refused_before_measuring(mirror: Path) -> None:
    from adapt_eval.lm_harness.metric import check_metric

    class Leaf:
        def aggregation(self) -> dict[str, Any]:
            return {"errors": lambda items: sum(items) / len(items)}

        def higher_is_better(self) -> dict[str, Any]:
            return {"errors": False}

    one = benchmark("mine", "errors,none", "")
    with pytest.raises(ValueError, match=r"mine: less of errors is better.*change `metric:`"):
        check_metric(one, {"mine": Leaf()})  # type: ignore[dict-item]


SAMPLE = {
    "filter": "none",
    "doc_id": 0,
    "doc_hash": "h",
    "target_hash": "h",
    "prompt_hash": "h",
    "metrics": ["rouge"],
    "doc": {},
    "target": "",
    "arguments": [("p",)],
    "resps": [],
    "filtered_resps": [],
}


def test_scores_on_another_scale_are_divided_by_it_or_refused() -> None:
    from adapt_eval.lm_harness.rows import check_scale

    plain = benchmark("mine", "rouge,none", "")
    scaled = benchmark("mine", "rouge,none", "", scale=100)
    assert row(scaled, "mine", {**SAMPLE, "rouge": 40.0})["score"] == 0.4
    rows = [row(plain, "mine", {**SAMPLE, "rouge": 40.0})]
    with pytest.raises(ValueError, match=r"mine: scores of rouge reach 40; .*`scale:"):
        check_scale(plain, rows)


def test_a_scale_of_one_leaves_the_hash_of_a_suite_as_it_was() -> None:
    plain, scaled = (
        Suite(name="s", note="", benchmarks=(benchmark("mine", "f1,none", "", **more),))
        for more in ({}, {"scale": 100})
    )
    assert suite_hash(plain) != suite_hash(scaled)
    assert "scale" not in plain.benchmarks[0].described()
