"""What is written can be read: by this version, and by others with more or fewer keys."""

from __future__ import annotations

import pytest

from adapt_eval.parsing import parse
from adapt_eval.schema import Fingerprint, Manifest

MANIFEST = {
    "model": {"name": "runs/a", "hash": "1"},
    "suite": {"name": "ood11", "note": "", "hash": "2", "benchmarks": []},
}


def test_keys_of_another_version_are_kept_and_missing_ones_have_defaults() -> None:
    manifest = parse(Manifest, {**MANIFEST, "site": "home"}, "manifest.json", "")
    assert manifest.model_dump()["site"] == "home"
    assert manifest.ledger is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "manifest.json: model is missing; suite is missing; run again"),
        ({**MANIFEST, "suite": None}, "suite is null, not an object"),
        ({**MANIFEST, "versions": ["1"]}, r'versions is \["1"\], not an object'),
        (
            {**MANIFEST, "ledger": {"unit": 1}},
            r"ledger.unit is 1, not a text; ledger.budget is mis",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_key(content: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(Manifest, content, "manifest.json", "run again")


def test_fingerprints_differ_by_key_and_an_absent_key_is_null() -> None:
    one = Fingerprint(model="a", limit=None, device="cpu", hash="1")
    other = Fingerprint(model="a", device="cuda", hash="2")
    assert one.differences(other) == ["device"]
