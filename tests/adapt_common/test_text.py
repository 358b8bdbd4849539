"""Markdown tables and names on the Hub."""

from __future__ import annotations

import pytest

from adapt_common.hub import looks_like_hub_name
from adapt_common.markdown import table


def test_a_table_aligns_numbers_to_the_right_and_escapes_bars() -> None:
    assert table(("name", "n"), [("a|b", "1")], {1}).splitlines() == [
        "| name | n |",
        "| --- | ---: |",
        "| a\\|b | 1 |",
    ]


@pytest.mark.parametrize("name", ["gpt2", "owner/name", "Qwen/Qwen3-0.6B", "a/b_c.d"])
def test_names_on_the_hub(name: str) -> None:
    assert looks_like_hub_name(name)


@pytest.mark.parametrize("name", ["", "./runs/a", "/runs/a", "a/b/c", "~/model", "a b", "a/", ".a"])
def test_paths_that_are_no_names_on_the_hub(name: str) -> None:
    assert not looks_like_hub_name(name)
