"""Through `axolotl train` with real fused kernels: in-backward is used where its hooks hear all of
the model, and is replaced, saying so, where a kernel goes around a module.

Liger's kernels are Triton's, which its interpreter runs on a CPU (not those for norms: they call a
function that the interpreter lacks). Cut cross-entropy is in no package registry; like Liger's
fused loss it reads the head's weight without calling the head.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.launch import PRODUCTS, history, recipe, train

pytestmark = pytest.mark.slow

# Few rows: the interpreter is slow.
ADAPT: dict[str, Any] = {
    "token_budget": 400,
    "val_examples": 4,
    "learned": {**PRODUCTS, "update_every": 2, "start_after": 0},
}
TAKES_OVER = "using finite_difference from here on"


def train_with_liger(
    tiny: Path, folder: Path, budget: int = ADAPT["token_budget"], **keys: bool
) -> tuple[str, list[dict[str, Any]]]:
    """Output and history of a run with these kernels."""
    adapt = {**ADAPT, "token_budget": budget}
    config = recipe(tiny, folder, adapt=adapt, micro_batch_size=4, **keys)
    config["plugins"].append("axolotl.integrations.liger.LigerPlugin")
    output = train(config, folder, environment={"TRITON_INTERPRET": "1"})
    return output, history(folder)


def usable(line: dict[str, Any]) -> bool:
    """Whether a meta step scored any task."""
    return any(score is not None and math.isfinite(score) for score in line["scores"].values())


def test_kernels_inside_a_layer_leave_in_backward_exact(tiny: Path, tmp_path: Path) -> None:
    # Its backward writes over what it kept of the forward.
    output, lines = train_with_liger(tiny, tmp_path, budget=200, liger_glu_activation=True)
    assert len(lines) > 1
    assert "task scores by in_backward: agrees with one backward a task" in output
    assert TAKES_OVER not in output
    assert all(line["estimator"] == "in_backward" and usable(line) for line in lines)


def test_a_fused_loss_that_reads_the_heads_weight_is_noticed(tiny: Path, tmp_path: Path) -> None:
    output, lines = train_with_liger(tiny, tmp_path, liger_fused_linear_cross_entropy=True)
    # The check before training asks for logits, which the loss does not need; training tells.
    assert re.search(r"the backward went around 1 of \d+ modules, such as lm_head", output)
    assert output.count(TAKES_OVER) == 1
    assert not usable(lines[0])
    assert all(line["estimator"] == "finite_difference" and usable(line) for line in lines[1:])
    assert len(lines) > 3


def test_a_fused_loss_leaves_the_losses_of_rows_what_they_are(tiny: Path, tmp_path: Path) -> None:
    """The mixture is that of a run without it, to the rounding of its kernel."""
    shares = []
    for fused in (True, False):
        folder = tmp_path / str(fused)
        config = recipe(tiny, folder, adapt={"token_budget": 1200}, micro_batch_size=4)
        config["plugins"].append("axolotl.integrations.liger.LigerPlugin")
        config["liger_fused_linear_cross_entropy"] = fused
        output = train(config, folder, environment={"TRITON_INTERPRET": "1"})
        assert ("a fused loss gives no logits" in output) == fused
        shares.append([list(line["proportions"].values()) for line in history(folder)])
    assert len(shares[0]) > 5
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-2)
    assert max(shares[0][-1]) > 0.22


def test_lora_kernels_that_go_around_the_adapters_are_noticed(tiny: Path, tmp_path: Path) -> None:
    config = recipe(
        tiny,
        tmp_path,
        adapt=ADAPT,
        micro_batch_size=4,
        adapter="lora",
        lora_r=4,
        lora_alpha=8,
        lora_target_linear=True,
        lora_qkv_kernel=True,
        lora_o_kernel=True,
        lora_mlp_kernel=False,  # it allocates on CUDA
        lora_embedding_kernel=False,
    )
    output = train(config, tmp_path)
    assert "the backward went around" in output
    assert "such as base_model.model.model.layers.0.self_attn" in output
    assert output.count(TAKES_OVER) == 1
    lines = history(tmp_path)
    assert not usable(lines[0])
    assert all(line["estimator"] == "finite_difference" and usable(line) for line in lines[1:])
