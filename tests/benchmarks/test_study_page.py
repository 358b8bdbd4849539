"""From the folders of finished cells to the tables and the page: which runs are compared, on which
seeds and tasks, and what is said of them."""

from __future__ import annotations

import sys
from pathlib import Path

import collect_study
import pytest
import study_page
from study_compare import groups
from study_done import finished, validation_losses
from study_grid import MORE_SEEDS, SEEDS, Cell, Filter, grid, rates, tuning
from study_measured import Measured, read
from study_metrics import NATS
from study_readme import MARKS

from tests.support.made_study import made_study

ARMS = ("uniform", "learned", "temperature", "replay_permuted", "odm")
CHOSEN = rates({})


def cells() -> list[Cell]:
    """Two regimes; more seeds of the main comparison; `odm` lacks a seed; `targets` has those arms
    alone that know them."""
    wanted = Filter(ARMS, ("natural", "targets"), (0.05,))
    own = [cell for cell in grid(wanted, CHOSEN, "temperature") if cell.seed in (1, 2, 3, 6)]
    tuned = [cell for cell in tuning(Filter(ARMS)) if cell.arm == "uniform"]
    return [*(cell for cell in own if (cell.arm, cell.seed) != ("odm", 3)), *tuned]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    made_study(out, cells(), {"learned": 0.3, "temperature": -0.4})
    return out


def called(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: object) -> None:
    """A script's `main` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    module.main()  # type: ignore[attr-defined]


@pytest.fixture
def measured(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    called(monkeypatch, collect_study, study, "--to", tmp_path)
    return read(tmp_path)


def test_arms_are_compared_on_the_seeds_that_they_share(study: Path) -> None:
    known = list(finished(study))
    found = {
        (group.kind, group.regime): group
        for group in groups(known, validation_losses(study), CHOSEN)
    }
    natural, main = found["all", "natural"], found["main", "natural"]
    assert set(natural.cells) == {"uniform", "learned", "temperature", "replay_permuted"}
    assert natural.unfinished == {"odm": 2}
    assert [cell.seed for cell in natural.cells["learned"]] == [1, 2, 3]
    # No static arm was tuned here, so none is the best one.
    assert set(main.cells) == {"uniform", "learned"}
    assert [cell.seed for cell in main.cells["uniform"]] == [1, 2, 3, 6]
    assert set(MORE_SEEDS).isdisjoint(SEEDS)


def test_arms_that_know_no_targets_are_taken_from_the_natural_regime(study: Path) -> None:
    for group in groups(list(finished(study)), validation_losses(study), CHOSEN):
        if group.regime == "targets":
            assert {cell.regime for cell in group.cells["learned"]} == {"targets"}
            assert {cell.regime for cell in group.cells["temperature"]} == {"natural"}
            # It replays a run that knew of no targets.
            assert "replay_permuted" not in group.cells


def test_differences_are_those_of_the_means_over_the_reported_tasks(measured: Measured) -> None:
    for group in measured.groups:
        kind = "main" if group.kind == "main" else "uniform"
        for metric, scale in (("exact_match", 1.0), ("loss", -NATS)):
            base = [run.mean(metric) for run in measured.of_arm(group, "uniform")]
            for line in measured.differences(kind, group, metric):
                runs = [run.mean(metric) for run in measured.of_arm(group, line["arm"])]
                wanted = (sum(runs) - sum(base)) / len(base)
                assert scale * line["difference"] == pytest.approx(wanted, abs=1e-6)
                assert line["seeds"] == len(base)
    tasks = {line["name"] for line in measured.comparisons if line["regime"] == "targets"}
    assert "scan" not in tasks
    assert "g2p_greek" in tasks


def test_verdicts_are_those_of_losses_that_are_better_low(measured: Measured) -> None:
    (natural,) = [one for one in measured.groups if (one.kind, one.regime) == ("all", "natural")]
    verdicts = {
        line["arm"]: line["verdict"] for line in measured.differences("uniform", natural, "loss")
    }
    assert verdicts["learned"] == "better"
    assert verdicts["temperature"] == "worse"


def test_tuning_runs_are_in_the_table_and_in_no_comparison(measured: Measured) -> None:
    tuned = [line for line in measured.lines if line["seed"] > 100]
    assert tuned
    assert not any(line["reported"] for line in tuned)


def test_the_page_says_what_is_there_and_checks_itself(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = tmp_path / "docs"
    readme = tmp_path / "README.md"
    readme.write_text(f"Before.\n\n{MARKS[0]}\n\n{MARKS[1]}\n\nAfter.\n", encoding="utf-8")
    where = ("--tables", tmp_path, "--docs", docs, "--readme", readme)
    called(monkeypatch, study_page, "--check", *where)  # before anything is committed
    assert "no results" in capsys.readouterr().out
    called(monkeypatch, collect_study, study, "--to", tmp_path)
    with pytest.raises(SystemExit, match="study_page"):
        called(monkeypatch, study_page, "--check", *where)
    called(monkeypatch, study_page, *where)
    called(monkeypatch, study_page, "--check", *where)
    page = (docs / "study.md").read_text(encoding="utf-8")
    assert "| odm | 2 |" in page
    assert "not in the table: odm (2)." in page
    said = " ".join(page.split())
    assert "the regimes balanced, noise, duplicates, of which there are no runs yet" in said
    assert "better: `learned`" in said
    assert "### natural, 5% (the main comparison)" in page
    short = readme.read_text(encoding="utf-8")
    assert short.startswith("Before.")
    assert short.endswith("After.\n")
    lines = {line.split(" | ")[0]: line for line in short.splitlines()}
    # The made gain of its rows' losses, with the verdict of the comparison; nothing of controls.
    assert lines["| learned"].startswith("| learned | ADAPT with its defaults | -0.")
    assert "] better | " in lines["| learned"]
    assert lines["| uniform"].count("[") == 0
    assert "| replay_permuted" not in lines
    assert "Not there yet: odm." in short
    # Elsewhere: three seeds, uniform's loss, how far the learned one is from it; no search here.
    _, seeds, loss, learned, *_, searched = lines["| targets, 5%"].split(" | ")
    assert (seeds, loss.count("["), learned[0], searched) == ("3", 0, "-", " |")
    readme.write_text(short.replace("| -0.", "| -1."), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"README.md: run `python benchmarks/study_page.py`"):
        called(monkeypatch, study_page, "--check", *where)
