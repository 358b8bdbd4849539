"""`effects.json`, and what is said of it where a run is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from adapt_axolotl.commands.card.content import card
from adapt_axolotl.commands.show import side_by_side
from adapt_axolotl.records.effects import effects_table, read_effects, summary
from adapt_axolotl.records.page_file import write_page
from adapt_axolotl.records.read import read_finished_run
from adapt_axolotl.records.write import RunDirectory
from adapt_common.run_records import read_ledger
from tests.support.made_effects import made_effects
from tests.support.made_records import RECIPE, made_records


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = made_records(tmp_path / "run")
    made_effects(folder)
    return folder


def test_the_table_says_what_is_told_from_zero_and_from_the_mixture(run: Path) -> None:
    content = read_effects(run)
    assert content is not None
    header, rows = effects_table(content)
    assert header == ["task", "b", "c"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["a"] == ["0.30 ± 0.02 more", "0.10 ± 0.02"]
    assert cells["b"][0].startswith("(0.02 ± 0.02)")
    assert cells["c"][0] == "-0.26 ± 0.02 less"
    assert [row[0] for row in rows] == ["all tasks, as drawn", "a", "b", "c"]
    # .5 of .30, .2 of .02 and .3 of -.26.
    assert cells["all tasks, as drawn"][0].startswith("0.08 ± ")


def test_the_summary_sets_the_sum_beside_what_the_loss_did(run: Path) -> None:
    content = read_effects(run)
    assert content is not None
    said = summary(content)
    steps = read_ledger(run)["steps"]
    # The made losses of b go from 2 to 1.5, those of c from 2.5 to 2.
    assert f"fell: b {steps * 0.076:.2f} (0.50), c {steps * 0.1:.2f} (0.50)." in said
    assert "3 checkpoints on 64 rows" in said
    assert "tiny" in said
    assert "by chance, which the errors do not tell: b 0.00, c 0.31; above 0.05" in said


def test_too_few_checkpoints_are_told(run: Path) -> None:
    content = read_effects(run)
    assert content is not None
    for one in content["mixture"].values():
        one["chance_over_checkpoints"] = None
    assert "With 6 checkpoints or more it would also say whether tasks differ" in summary(content)


def test_show_page_and_card_tell_it(run: Path) -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(side_by_side([run]))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    shown = ["a", "0.30", "±", "0.02", "more", "0.10", "±", "0.02"]
    assert shown in [line.split() for line in lines]
    write_page(run)
    page = (run / "adapt" / "mixture.html").read_text()
    assert "<td>0.30 ± 0.02 more</td>" in page
    assert "Which task helped which target" in page
    said = card(read_finished_run(run), RECIPE, {}, None)
    assert "## Which task helped which target" in said
    assert "| -0.26 ± 0.02 less |" in said


def test_without_them_nothing_is_said(tmp_path: Path) -> None:
    folder = made_records(tmp_path / "run")
    text = io.StringIO()
    Console(file=text, width=80).print(side_by_side([folder]))
    assert "helped" not in text.getvalue()
    assert "helped" not in (folder / "adapt" / "mixture.html").read_text()
    assert "helped" not in card(read_finished_run(folder), RECIPE, {}, None)


def test_a_new_run_in_the_same_folder_does_not_keep_them(run: Path) -> None:
    RunDirectory(run, {}, RECIPE).begin(0)
    assert read_effects(run) is None


def test_a_damaged_file_says_what_to_do(run: Path) -> None:
    file = run / "adapt" / "effects.json"
    file.write_text(json.dumps(read_effects(run))[:-9])
    with pytest.raises(ValueError, match="measure again with `adapt-axolotl effects"):
        read_effects(run)
