"""The licences of the hub's datasets that a recipe names."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from adapt_axolotl.commands.validate import validate
from adapt_axolotl.recipe.safety import licences
from tests.support.written_recipe import write


def test_licences_are_those_of_the_hubs_cards(
    raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def card(name: str, **_: Any) -> Any:
        if name == "org/away":
            raise httpx.ConnectError("no route")
        data = {"org/free": {"license": "mit"}, "org/none": {}}[name]
        return type("Info", (), {"card_data": data})()

    monkeypatch.setattr(huggingface_hub, "dataset_info", card)
    raw["datasets"] += [
        {"path": f"org/{name}", "type": "alpaca", "task": name}
        for name in ("free", "none", "away", "free")
    ]
    found = validate(write(raw))
    assert found.passed
    assert found.licences == {
        "org/free": "mit",
        "org/none": "none stated on its card",
        "org/away": "unknown: the hub cannot be reached",
    }
    assert licences.hub_datasets({"datasets": [{"path": "data.jsonl"}, {"path": "/x"}]}) == []
    # No name of the hub's, which would not be asked about it but refuse it.
    assert licences.hub_datasets({"datasets": [{"path": "data/one/two"}]}) == []
