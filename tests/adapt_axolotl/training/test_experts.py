"""A model of experts whose training loss balances them, on one process and on two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.launch import PRODUCTS, history, recipe, train
from tests.support.same_run import assert_same_run


@pytest.fixture(scope="module")
def experts(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with four experts a layer in place of its MLPs."""
    folder = tmp_path_factory.mktemp("experts") / "model"
    shutil.copytree(tiny / "model", folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 64,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
        "output_router_logits": True,
        "router_aux_loss_coef": 1.0,  # so that scores without it would be others
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_two_processes_read_the_routers_loss_that_one_does(
    experts: Path, tiny: Path, tmp_path: Path
) -> None:
    learned = {**PRODUCTS, "update_every": 3, "start_after": "5%"}

    def trained(name: str, processes: int, **changes: Any) -> Path:
        folder = tmp_path / name
        config = recipe(
            tiny,
            folder,
            base_model=str(experts),
            adapt={"token_budget": 2000, "learned": learned},
            micro_batch_size=4,
            gradient_accumulation_steps=4 // processes,
            **changes,
        )
        output = train(config, folder, processes=processes)
        assert "task scores by in_backward: agrees with one backward a task" in output
        assert all(line["estimator"] == "in_backward" for line in history(folder))
        return folder

    one, two = trained("one", 1), trained("two", 2)
    # Up to 9e-9 was seen.
    assert_same_run(two, one, tolerance=1e-6)
    plain = trained("plain", 1, overrides_of_model_config={"output_router_logits": False})
    with pytest.raises(AssertionError):
        assert_same_run(plain, one, tolerance=1e-3)
