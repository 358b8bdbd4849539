"""Through `axolotl train` with real fused kernels: in-backward reads past those that go around a
module.

Liger's kernels are Triton's, which its interpreter runs on a CPU (not those for norms: they call a
function that the interpreter lacks). Cut cross-entropy is in no package registry; like Liger's
fused loss it reads the head's weight without calling the head.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import watched_evaluation
from tests.support.launch import PRODUCTS, history, recipe, train
from tests.support.sharded_runs import FSDP2, LORA

pytestmark = pytest.mark.slow

# Few rows: the interpreter is slow.
ADAPT: dict[str, Any] = {
    "token_budget": 400,
    "val_examples": 4,
    "learned": {**PRODUCTS, "update_every": 2, "start_after": 0},
}
TAKES_OVER = "does not fit this model"


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


def same_scores(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    """Of the first meta step, to 1e-3 of the largest; later ones are of other weights."""
    first, second = (np.array(list(lines[0]["scores"].values())) for lines in (left, right))
    return bool(np.abs(first - second).max() < 1e-3 * np.abs(second).max())


def test_a_fused_loss_with_a_trained_head_is_read(tiny: Path, tmp_path: Path) -> None:
    """The tiny model's head is tied to its embeddings, so all of it trains."""
    found = {}
    for fused in (True, False):
        output, found[fused] = train_with_liger(
            tiny, tmp_path / str(fused), liger_fused_linear_cross_entropy=fused
        )
        assert "task scores by in_backward: agrees with one backward a task" in output
        assert TAKES_OVER not in output
        assert len(found[fused]) > 3
        assert all(line["estimator"] == "in_backward" and usable(line) for line in found[fused])
    assert same_scores(found[True], found[False])


@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        ("liger_fused_linear_cross_entropy", "a fused loss gives no logits"),
        ("liger_cross_entropy", "the loss writes over its logits"),
    ],
)
def test_the_kernel_of_a_loss_leaves_the_losses_of_rows_what_they_are(
    tiny: Path, tmp_path: Path, kernel: str, says: str
) -> None:
    """The mixture is that of a run without it, to the rounding of its kernel."""
    shares = []
    for fused in (True, False):
        folder = tmp_path / str(fused)
        config = recipe(tiny, folder, adapt={"token_budget": 1200}, micro_batch_size=4)
        config["plugins"].append("axolotl.integrations.liger.LigerPlugin")
        config[kernel] = fused
        output = train(config, folder, environment={"TRITON_INTERPRET": "1"})
        assert (says in output) == fused
        shares.append([list(line["proportions"].values()) for line in history(folder)])
    assert len(shares[0]) > 5
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-2)
    assert max(shares[0][-1]) > 0.22


@pytest.mark.parametrize(
    ("keys", "makes_logits"),
    [({}, False), (LORA, False), ({"liger_use_token_scaling": True}, True)],
)
def test_an_evaluation_under_a_fused_loss_makes_no_logits_but_where_that_weighs_tokens(
    repository: Path, tiny: Path, tmp_path: Path, keys: dict[str, Any], makes_logits: bool
) -> None:
    """Its loss is that of the logits, to 1e-5, so it can be compared with any other run's."""
    config = recipe(
        tiny,
        tmp_path,
        adapt={"token_budget": 200, "mixture": "uniform"},
        eval_strategy="epoch",
        eval_batch_size=4,
        liger_fused_linear_cross_entropy=True,
        **keys,
    )
    config["test_datasets"] = config["test_datasets"][:1]
    config["plugins"] += [
        "axolotl.integrations.liger.LigerPlugin",
        "tests.support.watched_evaluation.WatchedEvaluation",
    ]
    # The second one is for the plugin of the tests.
    train(config, tmp_path, environment={"TRITON_INTERPRET": "1", "PYTHONPATH": str(repository)})
    forwards = watched_evaluation.read(tmp_path)
    assert len(forwards) > 1
    assert {one["logits"] for one in forwards} == {makes_logits}
    for one in forwards:
        assert one["loss"] == pytest.approx(one["with_logits"], rel=1e-5)


@pytest.mark.parametrize("measure", ["training_losses", "products"])
def test_a_fused_loss_whose_head_fsdp_shards_gives_the_mixture_of_one_process(
    measure: str, tiny: Path, tmp_path: Path
) -> None:
    """What it measures is that of a run on one process, to the rounding of the kernel."""
    products = measure == "products"
    lines = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        config = recipe(
            tiny,
            folder,
            adapt=ADAPT if products else {"token_budget": 600},
            micro_batch_size=4,
            gradient_accumulation_steps=2 // processes,
            liger_fused_linear_cross_entropy=True,
            **(FSDP2 if processes == 2 else {}),
        )
        config["plugins"].append("axolotl.integrations.liger.LigerPlugin")
        shim = "fsdp_on_cpu.py" if processes == 2 else None
        interpreted = {"TRITON_INTERPRET": "1"}
        output = train(config, folder, processes=processes, shim=shim, environment=interpreted)
        assert TAKES_OVER not in output
        assert ("a fused loss gives no logits" in output) != products
        lines.append(history(folder))
    alone, together = lines
    assert len(alone) > 2
    if products:
        assert {line["estimator"] for line in together} == {"in_backward"}
        assert same_scores(together, alone)
    else:
        shares = [[list(line["proportions"].values()) for line in one] for one in lines]
        np.testing.assert_allclose(*shares, rtol=1e-3)


def test_the_adapters_under_lora_kernels_are_read(tiny: Path, tmp_path: Path) -> None:
    """Over the micro-batches of a step, with gradient checkpointing, and with the kernels back in
    between: the losses are those of a run without them to the rounding of theirs."""
    found = {}
    for kernels in (True, False):
        folder = tmp_path / str(kernels)
        config = recipe(
            tiny,
            folder,
            adapt=ADAPT,
            micro_batch_size=4,
            gradient_checkpointing=True,
            adapter="lora",
            lora_r=4,
            lora_alpha=8,
            lora_target_linear=True,
            lora_qkv_kernel=kernels,
            lora_o_kernel=kernels,
            lora_mlp_kernel=False,  # it allocates on CUDA
            lora_embedding_kernel=False,
        )
        output = train(config, folder)
        assert ("Patched attention class with LoRA optims" in output) == kernels
        assert TAKES_OVER not in output
        found[kernels] = history(folder)
        assert len(found[kernels]) > 3
        assert all(line["estimator"] == "in_backward" and usable(line) for line in found[kernels])
    assert same_scores(found[True], found[False])
