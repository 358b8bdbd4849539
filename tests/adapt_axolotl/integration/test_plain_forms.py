"""Under Axolotl's real LoRA kernels and compiled modules the step that is read is as if there were
none, and they are back afterwards.

The MLP kernel needs CUDA: here it is attached and, where the step is read, not called. Tolerance:
1e-4 of the largest score in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from axolotl.monkeypatch.lora_kernels import apply_lora_kernel_patches, patch_self_attn_lora
from axolotl.utils.dict import DictDefault
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.models.llama.modeling_llama import LlamaAttention

from adapt_axolotl.integration.plain_forms import plain_forms
from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.metagradient.in_backward import BypassedModule
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.per_task import per_task_scores
from adapt_axolotl.metagradient.ranks import Ranks
from tests.support.models import make_model, make_rows, padded, random_v, trained

TASKS = [0, 1, 2, 0, 3, 1]
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def kernels(tmp_path: Path) -> Iterator[Any]:
    """Sets Axolotl's kernels on a model, as its loader does; it patches the class of the attention,
    which is undone."""
    forward = LlamaAttention.forward

    def patch(model: nn.Module, **off: bool) -> None:
        model.config.save_pretrained(tmp_path)
        cfg = DictDefault(
            base_model=str(tmp_path),
            **{
                "lora_qkv_kernel": True,
                "lora_o_kernel": True,
                "lora_mlp_kernel": True,
                "lora_embedding_kernel": True,
                **off,
            },
        )
        patch_self_attn_lora(cfg)
        apply_lora_kernel_patches(model, cfg)

    yield patch
    LlamaAttention.forward = forward
    if hasattr(LlamaAttention, "_original_forward"):
        del LlamaAttention._original_forward


def adapted(targets: list[str] = EVERY) -> Any:
    torch.manual_seed(5)
    model = get_peft_model(
        make_model("llama"), LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for parameter in trained(model):
            parameter += 0.05 * torch.randn_like(parameter)  # B starts at 0
    return model.eval()


def attached(model: nn.Module) -> dict[str, Any]:
    names = ("apply_qkv", "apply_o", "forward")
    return {
        f"{path}.{name}": module.__dict__[name]
        for path, module in model.named_modules()
        for name in names
        if name in module.__dict__
    }


def read(model: Any, batches: Any, v: Any, forward: Any = None, **options: Any) -> torch.Tensor:
    """Scores of an optimizer step that accumulates over these micro-batches."""
    reader = BackwardReader(model, trained(model), v, 4, Ranks(), **options)
    for batch in batches:
        with reader.micro_batch(batch.labels, batch.row_of_token, batch.task_of_row, lambda: 0.5):
            loss, _ = row_losses(model if forward is None else forward, batch, whole_logits=True)
            (0.5 * loss.sum()).backward()
    return reader.scores().inner_products


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return float((found - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize("checkpointing", [None, True, False])
def test_adapters_under_kernels_are_read_in_every_micro_batch(
    kernels: Any, checkpointing: bool | None
) -> None:
    model = adapted()
    batches = [padded(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(trained(model))
    expected = per_task_scores(model, trained(model), batches, v, 4).inner_products
    kernels(model)
    before = attached(model)
    assert len([one for one in before if "apply" in one]) == 4
    assert len([one for one in before if one.endswith("mlp.forward")]) == 2
    if checkpointing is not None:
        # Layers are run again in the backward, so the plain forms must last until it is over.
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing})
        model.enable_input_require_grads()
        model.train()
    found = read(model, batches, v, readable=lambda: plain_forms(model))
    assert agree(found, expected)
    assert attached(model) == before


def test_without_the_plain_forms_the_kernels_hide_the_adapters(kernels: Any) -> None:
    """And both forms are one function."""
    model = adapted()
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(trained(model))
    expected = per_task_scores(model, trained(model), batches, v, 4).inner_products
    kernels(model, lora_mlp_kernel=False)
    assert agree(per_task_scores(model, trained(model), batches, v, 4).inner_products, expected)
    with pytest.raises(BypassedModule, match=r"went around 16 of 28 modules, such as .*self_attn"):
        read(model, batches, v)


def test_adapters_of_some_projections_leave_axolotls_own_plain_forms(kernels: Any) -> None:
    model = adapted(["q_proj", "v_proj"])
    batches = [padded(make_rows(6, 1), TASKS)]
    v = random_v(trained(model))
    expected = per_task_scores(model, trained(model), batches, v, 4).inner_products
    kernels(model)
    assert agree(read(model, batches, v, readable=lambda: plain_forms(model)), expected)


def test_kernels_come_back_after_an_error(kernels: Any) -> None:
    model = adapted()
    kernels(model)
    before = attached(model)

    def step() -> None:
        with plain_forms(model):
            assert attached(model) != before
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        step()
    assert attached(model) == before


def test_the_forward_of_another_package_stays() -> None:
    model = make_model("llama")
    mlp = model.model.layers[0].mlp
    mlp.forward = mlp.forward
    with plain_forms(model):
        assert "forward" in mlp.__dict__


class LinearAttention(nn.Module):
    """Calls its projections as Axolotl's patched GatedDeltaNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(4, 4)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        fused = getattr(self, "apply_in_proj_fused", None)
        return self.in_proj(states) if fused is None else fused(states)


def test_linear_attention_calls_its_projections() -> None:
    module = LinearAttention()
    called: list[str] = []
    module.in_proj.register_forward_hook(lambda *_: called.append("plain"))
    module.apply_in_proj_fused = lambda states: called.append("fused")
    with plain_forms(module):
        module(torch.zeros(1, 4))
    module(torch.zeros(1, 4))
    assert called == ["plain", "fused"]


@pytest.mark.parametrize("by_layer", [False, True])
def test_compiled_modules_are_read_and_run_compiled_again(by_layer: bool) -> None:
    model = make_model("llama")
    batches = [padded(make_rows(6, seed), TASKS) for seed in (1, 2)]
    v = random_v(trained(model))
    expected = per_task_scores(model, trained(model), batches, v, 4).inner_products
    ran: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            ran.append(graph)
            return graph.forward(*args)

        return run

    torch.compiler.reset()
    run: Any = model
    if by_layer:
        for layer in model.model.layers:
            layer.compile(backend=backend)
    else:
        run = torch.compile(model, backend=backend)
    run(**batches[0].inputs)
    assert ran
    ran.clear()
    found = read(model, batches, v, run, readable=lambda: plain_forms(model, compiled=True))
    assert agree(found, expected)
    assert not ran
    run(**batches[0].inputs)
    assert ran
