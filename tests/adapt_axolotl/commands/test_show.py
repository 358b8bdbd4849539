"""Runs side by side, for a terminal of 80 columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from adapt_axolotl.commands.card.content import card
from adapt_axolotl.commands.freeze import freeze
from adapt_axolotl.commands.show import markdown_table, side_by_side
from adapt_axolotl.records.read import read_finished_run
from adapt_axolotl.records.tables import run_table
from adapt_common.run_records import meta_steps, read_history, read_ledger
from tests.support.made_records import RECIPE, made_records


def shown(content: object) -> list[str]:
    """Lines as a terminal of 80 columns has them."""
    text = io.StringIO()
    Console(file=text, width=80).print(content)
    return text.getvalue().splitlines()


def renamed(run: Path, name: str) -> Path:
    """The run with another name for its task a."""
    file = run / "adapt" / "ledger.json"
    file.write_text(file.read_text().replace('"a": {', f"{json.dumps(name)}: {{"))
    return run


def test_one_run_needs_no_letter(tmp_path: Path) -> None:
    lines = shown(side_by_side([made_records(tmp_path / "only")]))
    used = read_ledger(tmp_path / "only")["used"]
    assert lines[0].startswith(f"only: {used:,} of 5,000 supervised tokens in ")
    assert not [line for line in lines if "A share" in line]
    assert [line.split() for line in lines if "mean over" in line] == [
        ["mean", "over", "tasks", "100.0%", "2.500", "1.500"]
    ]


def test_any_number_of_runs_with_long_names_keeps_every_digit(tmp_path: Path) -> None:
    name = "data/natural_instructions/question_answering/train.jsonl"
    runs = [
        renamed(made_records(tmp_path / f"adapt_llama_5pct_seed_{n}", seed=n), name)
        for n in range(5)
    ]
    lines = shown(side_by_side(runs))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    for letter, run in zip("ABCDE", runs, strict=True):
        assert f"{letter} {run.name}: " in text
        assert f"{letter} share" in text
    assert sum(line.split().count("1.000") for line in lines) == 5  # the last loss of task a


def test_each_run_has_first_losses_of_its_own(tmp_path: Path) -> None:
    one, other = made_records(tmp_path / "one"), made_records(tmp_path / "other")
    file = other / "adapt" / "ledger.json"
    file.write_text(
        file.read_text().replace('"first_validation_loss": 3.0', '"first_validation_loss": 4.0')
    )
    (row,) = [
        line.split() for line in shown(side_by_side([one, other])) if line.split()[:1] == ["a"]
    ]
    assert (row[2], row[3]) == ("3.000", "1.000")
    assert (row[5], row[6]) == ("4.000", "1.000")
    assert "| 3.000 | 1.000 |" in markdown_table([one, other])
    assert "| 4.000 | 1.000 |" in markdown_table([one, other])


def test_meta_steps_are_counted_alike_everywhere(tmp_path: Path) -> None:
    run = made_records(tmp_path / "run")
    count = meta_steps(read_history(run))
    assert count > 1
    for text in (
        " ".join(shown(side_by_side([run]))),
        freeze(run, "average"),
        card(read_finished_run(run), RECIPE, {}, None),
    ):
        assert f" {count} meta steps" in text
    page = (run / "adapt" / "mixture.html").read_text()
    assert f"<dt>meta steps</dt><dd>{count}</dd>" in page
    static = made_records(tmp_path / "static", mixture="uniform")
    assert meta_steps(read_history(static)) == 0
    assert "meta steps" not in " ".join(shown(side_by_side([static])))


def test_a_run_that_was_stopped_says_how_far_it_came_and_how_it_goes_on(tmp_path: Path) -> None:
    run = made_records(tmp_path / "run", ended=False)
    last = read_history(run)[-1]
    reached = f"of step {last['step']:,}, at {last['tokens']:,} of 5,000 supervised tokens"
    with pytest.raises(
        ValueError, match=f"the run has not ended; its last record is {reached}"
    ) as said:
        side_by_side([run])
    assert "it left no checkpoint to go on from" in str(said.value)

    for number, whole in ((90, True), (100, True), (110, False)):
        checkpoint = run / f"checkpoint-{number}"
        checkpoint.mkdir()
        (checkpoint / "adapt_state.json").write_text('{"ranks": 1}')
        (checkpoint / "rng_state.pth").touch()
        if whole:
            (checkpoint / "trainer_state.json").write_text("{}")
    with pytest.raises(ValueError, match="the run has not ended") as said:
        markdown_table([run])
    assert str(said.value).endswith(
        f"go on with: axolotl train {run}/adapt/recipe.yml "
        f"--resume-from-checkpoint {run}/checkpoint-100"
    )


def test_tokens_of_the_runs_that_a_mixture_comes_from_are_told_everywhere(tmp_path: Path) -> None:
    run = made_records(tmp_path / "replay", mixture="replay", tokens_spent_before=12_345)
    assert read_ledger(run)["tokens_spent_before"] == 12_345
    said = " ".join(" ".join(shown(side_by_side([run]))).split())
    assert "after 12,345 tokens in the runs that its mixture comes from" in said
    assert "<dd>12,345</dd>" in (run / "adapt" / "mixture.html").read_text()
    finished = read_finished_run(run)
    assert "The runs that this mixture comes from took 12,345 supervised tokens more." in card(
        finished, RECIPE, {}, None
    )


def test_a_mixture_that_follows_losses_has_no_meta_steps_and_can_be_frozen(tmp_path: Path) -> None:
    run = made_records(tmp_path / "odm", mixture="odm")
    assert meta_steps(read_history(run)) == 0
    assert "mixture: weights" in freeze(run, "average")
    said = card(read_finished_run(run), RECIPE, {}, None)
    assert "was learned while it trained (ODM, arXiv 2312.02406)" in said
    assert "adapt-axolotl freeze" in said


def test_a_name_in_brackets_is_a_name(tmp_path: Path) -> None:
    run = renamed(made_records(tmp_path / "run"), "[bold]x :smile:")
    assert "[bold]x :smile:" in "\n".join(shown(side_by_side([run])))
    assert "[bold]x :smile:" in "\n".join(shown(run_table(read_ledger(run), "run")))


def test_times_of_a_machine_are_not_compared(tmp_path: Path) -> None:
    runs = [made_records(tmp_path / name) for name in ("one", "two")]
    for text in (markdown_table(runs), "\n".join(shown(side_by_side(runs)))):
        assert "seconds" not in text
        assert "mean over tasks" in text
