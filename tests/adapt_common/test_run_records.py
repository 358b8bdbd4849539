"""The records of a training run, whole, cut short and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt_common.run_records import HISTORY, LEDGER, RECORDS, read_history, read_ledger


def write(run: Path, name: str, text: str) -> None:
    (run / RECORDS).mkdir(exist_ok=True)
    (run / RECORDS / name).write_text(text)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []
    write(tmp_path, HISTORY, '{"tokens": 1}\n{"tokens": 2}\n{"tok')
    assert read_history(tmp_path) == [{"tokens": 1}, {"tokens": 2}]


@pytest.mark.parametrize(("line", "says"), [("{", "is not JSON"), ("7", "is not a JSON object")])
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, line: str, says: str) -> None:
    write(tmp_path, HISTORY, f'{{"tokens": 1}}\n{line}\n{{"tokens": 3}}\n')
    with pytest.raises(ValueError, match=rf"history.jsonl, line 2: {says}.*; remove that line"):
        read_history(tmp_path)


def test_a_history_that_is_no_text_is_named(tmp_path: Path) -> None:
    write(tmp_path, HISTORY, "")
    (tmp_path / RECORDS / HISTORY).write_bytes(b"\x80\x02\n")
    with pytest.raises(ValueError, match=r"history.jsonl: is not text .*; restore it"):
        read_history(tmp_path)


def test_a_ledger_is_read_or_what_is_wrong_with_it_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give the output_dir of a run that has ended"):
        read_ledger(tmp_path)
    write(tmp_path, LEDGER, '{"used": 1}')
    assert read_ledger(tmp_path) == {"used": 1}
    write(tmp_path, LEDGER, '{"used"')
    with pytest.raises(ValueError, match=r"ledger.json: is damaged .* train again"):
        read_ledger(tmp_path)
    write(tmp_path, LEDGER, "[]")
    with pytest.raises(ValueError, match="is not a JSON object"):
        read_ledger(tmp_path)
