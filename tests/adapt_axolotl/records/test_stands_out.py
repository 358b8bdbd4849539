"""The sentence about evidence that a run leaves."""

from __future__ import annotations

from typing import Any

from adapt_axolotl.records.stands_out import stands_out


def line(over_noise: float | None, **deviations: float | None) -> dict[str, Any]:
    return {"estimator": "loss_falls", "over_noise": over_noise, "deviations": deviations}


def test_it_names_the_tasks_that_stand_out_most() -> None:
    said = stands_out([line(None), line(2.44, a=-4.2, b=0.3, c=3.1, d=None, e=2.5, f=-2.1)])
    assert said == (
        "What was measured of the tasks differs 2.4 times as much as noise alone; most for "
        "a (4.2 standard errors below the mean), c (3.1 above), e (2.5 above)."
    )


def test_it_says_where_nothing_does() -> None:
    assert "does not stand out from noise (1.1; noise alone is 1.0)" in stands_out([line(1.08)])
    assert stands_out([line(None)]).startswith("Too little was measured")


def test_the_last_measurement_counts_where_later_ones_could_say_nothing() -> None:
    assert "differs 2.4 times" in stands_out(
        [line(1.1), line(2.44, a=-4.2), line(None), line(None)]
    )


def test_static_runs_and_older_records_say_nothing() -> None:
    assert stands_out([]) == ""
    assert stands_out([{"estimator": None, "over_noise": None, "deviations": {}}]) == ""
    assert stands_out([{"estimator": "in_backward", "scores": {}}]) == ""
