"""What stops a run when it starts, because only then it can be seen."""

from __future__ import annotations

import importlib.util
import pkgutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import FullyShardedDataParallelPlugin
from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.dict import DictDefault
from transformers import Trainer

from adapt_axolotl.integration.build import build_run
from adapt_axolotl.integration.plugin import AdaptPlugin
from adapt_axolotl.recipe.refusals import BRING_A_TRAINER
from tests.support.specs import make_spec


class OtherTrainer(BasePlugin):
    def get_trainer_cls(self, cfg: Any) -> type[Trainer]:
        return Trainer


@pytest.mark.parametrize("first", [True, False])
def test_another_plugin_with_a_trainer_stops_the_run(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = AdaptPlugin()
    plugins: list[tuple[str, BasePlugin]] = [("a.Adapt", ours), ("b.Plain", BasePlugin())]
    plugins.insert(0 if first else 2, ("c.Other", OtherTrainer()))
    monkeypatch.setattr(PluginManager.get_instance(), "plugins", dict(plugins))
    monkeypatch.setattr("adapt_axolotl.integration.plugin.read_spec", lambda cfg: make_spec())
    with pytest.raises(ValueError, match=r"plugins: c\.Other brings a trainer of its own"):
        ours.pre_model_load(DictDefault({}))


def test_all_plugins_of_axolotl_that_bring_a_trainer_are_known() -> None:
    package = importlib.util.find_spec("axolotl.integrations")
    assert package is not None
    assert package.submodule_search_locations is not None
    folder = Path(next(iter(package.submodule_search_locations)))
    found = {
        one.name
        for one in pkgutil.iter_modules([str(folder)])
        if one.ispkg
        and any("def get_trainer_cls" in f.read_text() for f in (folder / one.name).rglob("*.py"))
    }
    assert found == {name.split(".")[2] for name in BRING_A_TRAINER}


@pytest.mark.parametrize("mixture", ["learned", "uniform"])
@pytest.mark.parametrize("deepspeed", [None, "zero3.json"])
def test_deepspeed_of_accelerates_own_config_is_refused_with_a_learned_mixture(
    mixture: str, deepspeed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec({"token_budget": 100, "mixture": mixture})
    monkeypatch.setattr("adapt_axolotl.integration.plugin.read_spec", lambda cfg: spec)
    monkeypatch.setattr(PluginManager.get_instance(), "plugins", {})
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    start = partial(AdaptPlugin().pre_model_load, DictDefault({"deepspeed": deepspeed}))
    if mixture == "learned" and deepspeed is None:
        with pytest.raises(ValueError, match="deepspeed: it is on in accelerate's own config"):
            start()
    else:
        start()


@pytest.mark.parametrize("mixture", ["learned", "uniform"])
def test_fsdp1_of_accelerates_own_config_is_refused(mixture: str) -> None:
    trainer: Any = SimpleNamespace(
        args=SimpleNamespace(world_size=1),
        is_fsdp_enabled=True,
        accelerator=SimpleNamespace(is_fsdp2=False),
    )
    nothing: Any = None
    spec = make_spec({"token_budget": 100, "mixture": mixture})
    with pytest.raises(ValueError, match=r"--use_fsdp: this is FSDP1, .*; set fsdp_version: 2"):
        build_run(nothing, spec, nothing, nothing, trainer, "")


@pytest.mark.parametrize("learned", [{"measure": "products"}, {}])
@pytest.mark.parametrize("offloaded", [True, False])
def test_offloading_by_accelerates_own_config_is_refused_with_gradient_products(
    learned: dict[str, str], offloaded: bool
) -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, cpu_offload=offloaded)
    trainer: Any = SimpleNamespace(
        args=SimpleNamespace(world_size=1),
        is_fsdp_enabled=True,
        accelerator=SimpleNamespace(is_fsdp2=True, state=SimpleNamespace(fsdp_plugin=plugin)),
    )
    nothing: Any = None
    spec = make_spec({"token_budget": 100, "mixture": "learned", "learned": learned})
    # Where it is not refused, building goes on to what this stand-in does not have.
    refused = offloaded and bool(learned)
    with pytest.raises(
        ValueError if refused else AttributeError,
        match=r"--fsdp_offload_params: gradient products were not made" if refused else None,
    ):
        build_run(nothing, spec, nothing, nothing, trainer, "")
