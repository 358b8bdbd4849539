"""Models and batches for the estimators' tests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from adapt_axolotl.metagradient.in_backward import InBackward
from adapt_axolotl.metagradient.losses import row_losses
from adapt_axolotl.metagradient.scores import scores_from_rows
from adapt_axolotl.metagradient.task_batch import TaskBatch

FAMILIES = ("qwen3", "llama", "gemma3")
_COMMON = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "use_cache": False,
}

# Of Qwen3-0.6B, Llama-3.2-1B and Gemma-3-1B: all sizes but the number of layers.
RELEASED: dict[str, dict[str, int]] = {
    "qwen3": {
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "llama": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "gemma3": {
        "vocab_size": 262_144,
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
    },
}


def make_model(
    family: str,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    moved_by: float = 0.1,
    **changes: object,
):
    torch.manual_seed(seed)
    values = {**_COMMON, "attn_implementation": "eager", **changes}
    model: PreTrainedModel
    if family == "qwen3":
        values = {"tie_word_embeddings": True, **values}
        model = Qwen3ForCausalLM(Qwen3Config(**values))
    elif family == "llama":
        values = {"tie_word_embeddings": True, **values}
        model = LlamaForCausalLM(LlamaConfig(**values))
    else:
        model = Gemma3ForCausalLM(
            Gemma3TextConfig(
                sliding_window=16, layer_types=["sliding_attention", "full_attention"], **values
            )
        )
    # Norm weights start at 1 or 0; move everything, so that no rule is tested at a special point.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += moved_by * torch.randn_like(parameter)
    model = model.to(dtype).eval()
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            # The rotary tables are constants that every family makes in float32.
            module.inv_freq = module.inv_freq.type(torch.float32)
    return model


def make_exact_model(family: str, **changes: object):
    """In float64 throughout: norms and the softmax of eager attention compute in float32 else."""
    model = make_model(family, dtype=torch.float64, attn_implementation="sdpa", **changes)
    set_exact_norms(model)
    return model


def set_exact_norms(model: torch.nn.Module) -> None:
    """Norms in the type of what they are given."""
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = partial(_rms_norm, module)


def _rms_norm(norm: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    scaled: torch.Tensor = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    return norm.weight * scaled


def trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def make_rows(count: int, seed: int = 0, length: tuple[int, int] = (5, 14)) -> list[torch.Tensor]:
    """Token rows; the first third of each is the prompt."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(*length, (count,), generator=generator)
    return [torch.randint(3, 61, (int(n),), generator=generator) for n in lengths]


def padded(rows: list[torch.Tensor], tasks: list[int]) -> TaskBatch:
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), 2)
    labels = torch.full_like(ids, -100)
    numbers = torch.full_like(ids, -1)
    for line, row in enumerate(rows):
        ids[line, : len(row)] = row
        labels[line, len(row) // 3 : len(row)] = row[len(row) // 3 :]
        numbers[line, : len(row)] = line
    mask = (numbers >= 0).long()
    return TaskBatch(
        {"input_ids": ids, "attention_mask": mask}, labels, numbers, torch.tensor(tasks)
    )


def packed(rows: list[torch.Tensor], tasks: list[int]) -> TaskBatch:
    """All rows in one line, told apart by position_ids that start again."""
    ids = torch.cat(rows)[None]
    labels = torch.cat([torch.where(torch.arange(len(r)) < len(r) // 3, -100, r) for r in rows])[
        None
    ]
    numbers = torch.cat([torch.full((len(r),), n) for n, r in enumerate(rows)])[None]
    positions = torch.cat([torch.arange(len(r)) for r in rows])[None]
    return TaskBatch(
        {"input_ids": ids, "position_ids": positions}, labels, numbers, torch.tensor(tasks)
    )


def random_v(parameters: list[torch.nn.Parameter], seed: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        for p in parameters
    ]


def read_in_backward(model, parameters, batches, v, scale=1.0, context=torch.enable_grad):
    """Scores from backwards of `scale` times the sum of token losses."""
    reader = InBackward(model, parameters, v)
    products = []
    try:
        for batch in batches:
            reader.begin(batch.row_of_token, batch.labels)
            with context():
                sums, _ = row_losses(model, batch, whole_logits=True)
            torch.autograd.grad(scale * sums.sum(), parameters, allow_unused=True)
            products.append(reader.collect(scale, len(batch.task_of_row)))
    finally:
        reader.remove()
    tokens = torch.cat([batch.tokens_of_rows() for batch in batches])
    tasks = torch.cat([batch.task_of_row for batch in batches])
    return scores_from_rows(torch.cat(products), tokens, tasks, 4)


def relative_error(
    found: torch.Tensor | Sequence[torch.Tensor], expected: torch.Tensor | Sequence[torch.Tensor]
) -> float:
    """The largest difference over the largest of what is expected; of one tensor, or of several
    together."""
    if not isinstance(found, torch.Tensor):
        assert [one.shape for one in found] == [one.shape for one in expected]
        found = torch.cat([one.flatten() for one in found])
    if not isinstance(expected, torch.Tensor):
        expected = torch.cat([one.flatten() for one in expected])
    return float((found - expected).abs().max() / expected.abs().max())
