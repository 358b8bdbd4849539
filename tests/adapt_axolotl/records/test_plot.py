"""The picture is drawn for any names, without a word in the training log."""

from __future__ import annotations

import logging
import warnings

import pytest
from matplotlib import font_manager

from adapt_axolotl.records.plot import mixture_figure, mixture_png, with_fonts
from tests.support.made_trajectory import drawn

ODD = [
    "任务",
    "🫖 tea",
    "_private",
    "costs $5 or $6",
    "two\nlines",
    "/data/" + 9 * "long/" + "a.jsonl",
]


def legend(names: list[str]) -> list[str]:
    """Its texts, in the order of the names."""
    texts = mixture_figure(drawn(names)).axes[0].get_legend().get_texts()
    return [text.get_text() for text in texts][::-1]


def test_the_mixture_is_drawn_as_steps_from_0_tokens() -> None:
    run = drawn(["a", "b"])
    axes = mixture_figure(run).axes[0]
    assert axes.get_xlim() == (0, 1300)
    corners = axes.patches[0].get_path().vertices.tolist()
    assert [0, 0.5] in corners  # uniform until the first meta step
    assert [1000, 0.5] in corners
    assert [1000, run.shares[1, 0]] in corners


def test_odd_names_neither_warn_nor_change(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.INFO):
        warnings.simplefilter("error")
        assert mixture_png(drawn(ODD)).startswith(b"\x89PNG")
    assert caplog.messages == []
    shown = legend(ODD)
    assert shown[2:5] == ["_private", "costs $5 or $6", "two\\nlines"]
    assert shown[5].startswith("…")
    assert shown[5].endswith("long/a.jsonl")


def test_a_character_that_no_font_has_is_written_as_an_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    families, shown = with_fonts(["任务 ä", "plain"])
    assert families == ["DejaVu Sans"]
    assert shown == ["\\u4efb\\u52a1 ä", "plain"]


def test_an_installed_font_that_has_it_is_used() -> None:
    families, shown = with_fonts(["plain \N{DOUBLE-STRUCK ITALIC SMALL D}\u0e01\u0f40"])
    # Whatever is installed here: what is not escaped, some family has.
    assert families[0] == "DejaVu Sans"
    assert shown[0].startswith("plain ")
    assert "Last Resort" not in "".join(families)


def test_many_tasks_share_a_band() -> None:
    names = [f"task {number}" for number in range(200)]
    assert legend(names)[-1] == "176 smaller tasks"
    assert len(legend(names)) == 25
