"""The report: one file, everything in it, readable in a browser and on a phone."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.report.comparison_table import comparison_tables
from adapt_eval.report.markdown import as_markdown
from adapt_eval.report.page import write_page
from adapt_eval.report.plots import wins
from tests.support.eval_runs import made_ledger, made_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A baseline and two runs, one far better, all with ledger and history."""
    folder = tmp_path_factory.mktemp("runs")
    places = []
    for number, name in enumerate(("uniform", "<b>bold</b>", "adapt")):
        scores = [float((item * 7 + number) % 10 < 2 + 3 * number) for item in range(400)]
        run = made_run(
            folder / str(number),
            {"sums": scores, "logic": scores[:60], "passages": [0.0] * 50},
            ledger=made_ledger(question_answering=1000 * (number + 1), story=3000),
            names=["story"],
        )
        (run / "adapt").mkdir()
        lines = [
            {"tokens": tokens, "proportions": {"question_answering": share, "story": 1 - share}}
            for tokens, share in ((1000, 0.5), (2000, 0.6), (4000, 0.8))
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / "adapt" / "history.jsonl").write_text(text)
        timing = {"training": 60.0 * (number + 1)}
        (run / "adapt" / "timing.json").write_text(json.dumps(timing))
        places.append(f"{name}={run}")
    return places


@pytest.fixture(scope="module")
def page(runs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = read_arms(runs, None)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, compare(arms), arms)
    return path


class Checker(html.parser.HTMLParser):
    """Tags must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_well_formed_and_asks_nothing_of_the_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "url(" not in text
    assert "<b>bold</b>" not in text  # names are escaped
    assert page.stat().st_size < 200_000


def test_it_holds_the_forest_the_mixture_and_wins_ties_and_losses(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for part in (
        "Items won, tied and lost",
        "Mixture over tokens",
        "Overlap with the training data",
        "same source",
        "question_answering",
        "<span>at chance</span>",
        "Both runs are at or below chance on 1 of 3 benchmarks",
        "one training seed",
    ):
        assert part in text, part
    assert text.count('<svg class="area"') == 3
    assert text.count('class="track"') == 2 * (3 + 2 + 1)


def test_it_shows_scores_against_tokens_and_against_time(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count('<figure class="cost">') == 2
    tokens, time = re.findall('<figure class="cost">(.*?)</figure>', text)
    assert "training tokens that changed the weights" in tokens
    assert "wall time of training, minutes" in time
    for figure, costs in ((tokens, (4000, 5000, 6000)), (time, (1, 2, 3))):
        marks = re.findall(r'<b style="left:([\d.]+)%;bottom:([\d.]+)%">(\d)</b>', figure)
        assert [mark[2] for mark in marks] == ["1", "2", "3"]
        for (left, _, _), one in zip(marks, costs, strict=True):
            assert float(left) == pytest.approx(100 * one / (1.08 * costs[-1]), abs=0.01)
        assert float(marks[0][1]) < float(marks[1][1]) < float(marks[2][1])
        assert "3</b> adapt: " in figure


def test_the_legend_of_items_won_and_lost_names_only_what_is_drawn(tmp_path: Path) -> None:
    base = [float(item % 10 < 5) for item in range(100)]
    more = [float(item % 10 < 8) for item in range(100)]
    for number, (other, kinds) in enumerate(
        (
            (base, {"ties"}),
            (more, {"wins", "ties"}),
            ([1 - one for one in base], {"wins", "losses"}),
        )
    ):
        folder = tmp_path / str(number)
        runs = [made_run(folder / name, {"sums": s}) for name, s in (("a", base), ("b", other))]
        result = compare(read_arms([str(run) for run in runs], None))
        (legend,) = re.findall(
            r'<div class="legend">(.*?)</div>', wins(result.benchmarks, "b", "a")
        )
        assert set(re.findall(r'class="(\w+)"', legend)) == kinds


def test_terminal_and_markdown_say_the_same(runs: list[str], page: Path) -> None:
    result = compare(read_arms(runs, None))
    for text in (comparison_tables(result), as_markdown(result), page.read_text()):
        for part in ("at or below chance on 1 of 3 benchmarks", "one training seed", "better"):
            assert part in text
    rows = [line for line in as_markdown(result).splitlines() if line.startswith("|")]
    heads = [line for line in rows if set(line) <= set("|-: ")]
    assert len(heads) == 5  # two comparisons, tokens, shares, overlap


def measured(page: Path, width: int, folder: Path) -> tuple[int, int, int, int]:
    """In Chromium: (width of the page, of the window, height, how far the widest table runs over);
    fails on a word on the console."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("chromium is not installed")
    probe = (
        "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth + "
        "' high ' + document.documentElement.scrollHeight + ' tables over by ' + Math.max("
        "...[...document.querySelectorAll('.wide')].map(e => e.scrollWidth - e.clientWidth))"
        "</script></body>"
    )
    copy = folder / "report.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", probe), encoding="utf-8")
    call = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    call += ["--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run([*call, f"file://{copy}"], capture_output=True, text=True, check=True)
    assert "CONSOLE" not in done.stderr
    found = re.search(r"<title>(\d+) of (\d+) high (\d+) tables over by (\d+)</title>", done.stdout)
    assert found, done.stdout[:300]
    wide, window, high, over = map(int, found.groups())
    return wide, window, high, over


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 1200, 500])
def test_chromium_shows_it_without_a_word_on_the_console(
    page: Path, width: int, tmp_path: Path
) -> None:
    wide, window, high, over = measured(page, width, tmp_path)
    assert wide <= window  # nothing runs over the side
    assert high > 1500
    if width >= 1200:
        assert over == 0  # the verdicts, in the last column, are not behind a scroll bar


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ["llama31_8b_uniform_mixture_10pct_seed1", "llama31_8b_learned_mixture_10pct_seed1"],
        [f"gemma-adapt-{share}pct-run" for share in range(1, 9)],
    ],
)
def test_long_names_and_many_runs_hide_no_column_at_1200_pixels(
    names: list[str], tmp_path: Path
) -> None:
    arms = read_arms(
        [
            f"{name}="
            + str(
                made_run(
                    tmp_path / name,
                    {
                        "passages": [
                            float((item * 7 + number) % 10 < 3 + number) for item in range(400)
                        ]
                    },
                    ledger=made_ledger(question_answering_of_long_passages=1_000_000, story=30),
                )
            )
            for number, name in enumerate(names)
        ],
        None,
    )
    write_page(tmp_path / "long.html", compare(arms), arms)
    assert measured(tmp_path / "long.html", 1200, tmp_path)[3] == 0


def test_a_folder_is_no_place_for_the_page(runs: list[str], tmp_path: Path) -> None:
    arms = read_arms(runs, None)
    with pytest.raises(ValueError, match="is a folder; name a file in it"):
        write_page(tmp_path, compare(arms), arms)
    assert not list(tmp_path.parent.glob("*.part"))
