"""Charts as PNG and SVG: what they hold, without colour."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.report.charts import forest, write_charts
from adapt_eval.training_time import training_seconds
from tests.adapt_eval.conftest import Command
from tests.support.eval_runs import made_ledger, made_run


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    runs = []
    for number, name in enumerate(("uniform", "adapt", "later & more")):
        scores = [float((item * 7 + number) % 10 < 3 + 3 * number) for item in range(400)]
        run = made_run(
            folder / name,
            {"sums": scores, "logic": scores[:60], "passages": scores[:200]},
            ledger=made_ledger(qa=1000 * (number + 1)),
        )
        (run / "adapt").mkdir()
        (run / "adapt" / "timing.json").write_text(json.dumps({"training": 60.0 * (number + 1)}))
        runs.append(run)
    return runs


def test_each_chart_is_written_as_png_and_svg_with_its_words(
    places: list[Path], tmp_path: Path, command: Command
) -> None:
    call = ["report", *places, "--output", tmp_path / "r.html", "--charts", tmp_path / "charts"]
    done = command(*call, "--json")
    assert done.returncode == 0, done.stderr
    names = [Path(one).name for one in json.loads(done.stdout)["charts"]]
    wanted = ("forest-adapt", "forest-later___more", "cost")
    assert names == [f"{one}.{kind}" for one in wanted for kind in ("png", "svg")]
    svg = (tmp_path / "charts" / "forest-later___more.svg").read_text()
    for said in ("sums", "the suite", "reading comprehension", "These two models differ"):
        assert said in " ".join(svg.split())
    cost = (tmp_path / "charts" / "cost.svg").read_text()
    assert "training tokens" in cost
    assert "wall time of training, minutes" in cost
    assert "later &amp; more" in cost


def test_they_are_black_white_and_grey_and_the_same_each_time(
    places: list[Path], tmp_path: Path
) -> None:
    result = compare(read_arms([str(run) for run in places[:2]], None))
    texts = []
    for name in ("one", "two"):
        write_charts(tmp_path / name, result, {})
        texts.append((tmp_path / name / "forest-adapt.svg").read_text())
    assert texts[0] == texts[1]
    for colour in set(re.findall("#[0-9a-f]{6}", texts[0])):
        assert colour[1:3] == colour[3:5] == colour[5:7], colour


def test_the_axis_explains_filled_marks_only_where_there_are_any(tmp_path: Path) -> None:
    base = [float(item % 10 < 5) for item in range(400)]
    alike = [*base[1:], base[0]]  # as many right, other ones
    far = [float(item % 10 < 8) for item in range(400)]
    for other, filled in ((alike, False), (far, True)):
        folder = tmp_path / str(filled)
        runs = [made_run(folder / name, {"sums": s}) for name, s in (("a", base), ("b", other))]
        result = compare(read_arms([str(run) for run in runs], None))
        axes = forest(result, "b").axes[0]
        inked = [line for line in axes.lines if line.get_markerfacecolor() != "white"]
        assert any(line.get_marker() in ("o", "D") for line in inked) == filled
        assert ("filled: p below 5 %" in axes.get_xlabel()) == filled


def test_a_difference_lies_where_the_axis_says(places: list[Path]) -> None:
    result = compare(read_arms([str(run) for run in places[:2]], None))
    axes = forest(result, "adapt").axes[0]
    marks = [line for line in axes.lines if line.get_marker() in ("o", "D")]
    by_family = [one.task for one in result.benchmarks]
    assert [label.get_text() for label in axes.get_yticklabels()][: len(by_family)] == by_family
    for mark, one in zip(marks, result.benchmarks, strict=False):
        assert mark.get_xdata()[0] == pytest.approx(100 * one.difference)


def test_a_file_is_no_folder_for_charts(places: list[Path], tmp_path: Path) -> None:
    result = compare(read_arms([str(run) for run in places[:2]], None))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file; name a folder"):
        write_charts(tmp_path / "file", result, {})


def test_time_is_told_only_where_all_runs_of_an_arm_tell_it(
    places: list[Path], tmp_path: Path
) -> None:
    assert training_seconds(places[:2]) == 90.0
    assert training_seconds([places[0], tmp_path]) is None
    (tmp_path / "adapt").mkdir()
    (tmp_path / "adapt" / "timing.json").write_text("{}")
    with pytest.raises(ValueError, match=r"timing.json: training is missing"):
        training_seconds([tmp_path])
