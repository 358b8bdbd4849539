"""How much memory a process will need, estimated from a recipe and the model's config; no weights
are loaded.

Weights, gradients and states of the optimizer are counted by their types; what a forward and
backward hold is counted on tensors without data (`fake_step.py`). Not in it: how the allocator
splits its blocks, and kernels that hold more than PyTorch's own. R ranks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapt_axolotl.commands.preview.fake_step import StepBytes, StepShape, step_bytes
from adapt_axolotl.integration.build import micro_batch_tokens
from adapt_axolotl.integration.recipe_config import PlannedRun
from adapt_axolotl.meta_step.learner import MetaSettings
from adapt_axolotl.metagradient.finite_difference import FINITE_DIFFERENCE
from adapt_axolotl.metagradient.head_loss import CHUNK

# Of the estimate: what it was off by on a CPU (docs/cost.md), and room for what is not in it.
MARGIN = 0.2
# CUDA's context and the libraries' workspaces.
CUDA = 2**29

# Bytes a trained weight, beside those that are of the weight's own type: two moments.
STATES = (
    ("4bit", 1.0),
    ("8bit", 2.0),
    ("adafactor", 0.0),
    ("lion", 1),
    ("muon", 1),
    ("sgd", 1),
)
# bitsandbytes: 4 bits with scales of blocks of 64, quantised too (arXiv 2305.14314); 8 bits.
QUANTISED = {4: 0.516, 8: 1.0}

# What a model's code may raise that cannot be made or run without data.
_OF_A_MODEL = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the process with most.

    Attributes:
        weights: of the model and its adapters.
        optimizer: its states.
        step: gradients and activations of a training step at its peak.
        adapt: what measuring for the mixture adds to that.
        total: all of it and CUDA's own.
        remedies: what would lower it, in words; the largest part first.
        obstacle: why it could not be estimated; the rest is then 0.
    """

    weights: int = 0
    optimizer: int = 0
    step: int = 0
    adapt: int = 0
    total: int = 0
    remedies: tuple[str, ...] = ()
    obstacle: str | None = None


def estimated_memory(planned: PlannedRun, processes: int) -> MemoryEstimate:
    """Of a recipe that is trained by so many processes."""
    from transformers import AutoConfig

    cfg = planned.config
    shape = step_shape(planned)
    try:
        config = AutoConfig.from_pretrained(cfg.base_model_config or cfg.base_model)
        found = step_bytes(config, shape)
    except _OF_A_MODEL as error:
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0] if said else 'no message'}"
        return MemoryEstimate(obstacle=reason)
    return of_process(planned, found, shape, processes)


def of_process(
    planned: PlannedRun, found: StepBytes, shape: StepShape, processes: int
) -> MemoryEstimate:
    """What of a model's step is on one of R processes."""
    cfg = planned.config
    stage = sharding_stage(cfg) if processes > 1 else 0
    sharded = [processes if stage >= least else 1 for least in (1, 2, 3)]
    bits = 4 if cfg.load_in_4bit else 8 if cfg.load_in_8bit else None
    linear = found.frozen_linear
    if bits is not None:
        linear = int(QUANTISED[bits] * found.frozen_linear_weights)
    weights = (linear + found.other_frozen + found.trained) // sharded[2]
    name = str(getattr(cfg.optimizer, "value", cfg.optimizer) or "adamw_torch_fused").lower()
    states = int(states_of(name, found)) // sharded[0]
    # Gradients that are sharded are whole only layer by layer, as are sharded weights.
    step = found.step
    if sharded[1] > 1:
        step = max(0, step - found.trained) + found.trained // sharded[1] + found.largest_layer
    if sharded[2] > 1:
        step += 2 * found.largest_layer
    elif stage < 2 and processes > 1:
        step += found.trained  # the buckets in which gradients are summed
    if bits is not None:
        step += found.largest_layer  # a layer's weights, wide
    # AdamW of PyTorch's default form makes a tensor for each weight.
    own_copy = found.trained if name in ("adamw_torch", "adamw_hf") else 0
    step = max(step, (found.trained + own_copy) // sharded[1])
    adds = adapt_adds(planned, found, shape, step, stage, processes)
    return MemoryEstimate(
        weights=weights,
        optimizer=states,
        step=step,
        adapt=adds,
        total=weights + states + step + adds + CUDA,
        remedies=remedies(planned, shape, name, stage, processes),
    )


def step_shape(planned: PlannedRun) -> StepShape:
    """What of the recipe decides how much a training step holds."""
    cfg, spec = planned.config, planned.spec
    tokens = micro_batch_tokens(spec, planned.tasks.pools)
    sequences = 1 if spec.sample_packing and spec.packs_into_one else spec.micro_batch_size
    half = torch.float16 if cfg.fp16 else torch.bfloat16 if cfg.bf16 or cfg.bfloat16 else None
    dtype = cfg.torch_dtype if isinstance(cfg.torch_dtype, torch.dtype) else torch.float32
    return StepShape(
        sequences=sequences,
        tokens=tokens // sequences,
        dtype=dtype,
        autocast=half,
        lora=lora_arguments(cfg) if cfg.adapter else None,
        checkpointing=bool(cfg.gradient_checkpointing),
        fused_loss=spec.fused_loss,
        accumulates=spec.gradient_accumulation_steps > 1,
        attention="eager" if cfg.attn_implementation == "eager" else "sdpa",
    )


def lora_arguments(cfg: Any) -> dict[str, Any]:
    """PEFT's, of Axolotl's keys."""
    named = cfg.lora_target_modules
    return {
        "r": cfg.lora_r,
        "lora_alpha": cfg.lora_alpha,
        "target_modules": "all-linear" if cfg.lora_target_linear or not named else named,
        "modules_to_save": cfg.lora_modules_to_save or None,
        "use_dora": bool(cfg.peft_use_dora),
    }


def sharding_stage(cfg: Any) -> int:
    """What processes share: 1 the states of the optimizer, 2 also gradients, 3 also weights."""
    if cfg.fsdp_config or cfg.fsdp:
        return 3
    file = cfg.deepspeed
    if isinstance(file, str) and Path(file).is_file():
        file = json.loads(Path(file).read_text(encoding="utf-8"))
    zero = file.get("zero_optimization", {}) if isinstance(file, dict) else {}
    return int(zero.get("stage", 0))


def states_of(optimizer: str, found: StepBytes) -> float:
    """Bytes of an optimizer's states; of an unknown one, those of AdamW."""
    eight_bit_lion = "lion" in optimizer and "8bit" in optimizer
    for part, size in STATES:
        if part in optimizer and not eight_bit_lion:
            # Moments by their number are of the weights' type, else of so many bytes a weight.
            whole = found.trained if isinstance(size, int) else found.trained_weights
            return whole * size
    return float(found.trained_weights if eight_bit_lion else 2 * found.trained)


def adapt_adds(
    planned: PlannedRun,
    found: StepBytes,
    shape: StepShape,
    step: int,
    stage: int,
    processes: int,
) -> int:
    """Bytes that measuring holds beyond the training step (docs/cost.md has what was counted)."""
    every = 4 * shape.sequences * shape.tokens * found.vocabulary
    logits = min(4 * CHUNK, every)
    meta, adapt = planned.meta, planned.spec.adapt
    if isinstance(meta, MetaSettings):
        v = found.trained * (2 if shape.dtype == torch.float16 else 1)
        if stage == 3:
            v //= processes
            # A head that is sharded sees all supervised tokens of a validation micro-batch at once,
            # at most all of it. Where training makes all logits, its step holds as many.
            if shape.fused_loss:
                logits = every
        if meta.estimators[0] is FINITE_DIFFERENCE:
            return max(0, 2 * v + 3 * logits - step)
        return v + 2 * logits
    by_losses = planned.meta is not None or adapt.follows_losses or adapt.log_task_losses
    takes = by_losses or planned.plan.learn_rows
    return 2 * logits if takes and shape.fused_loss else 0


def remedies(
    planned: PlannedRun, shape: StepShape, optimizer: str, stage: int, processes: int
) -> tuple[str, ...]:
    """Changes of the recipe that lower what a process holds and are not made yet."""
    cfg = planned.config
    found = []
    if not shape.checkpointing:
        found.append("gradient_checkpointing: true")
    if not shape.fused_loss:
        found.append("a fused loss (cut_cross_entropy or liger_fused_linear_cross_entropy: true)")
    if planned.spec.micro_batch_size > 1:
        found.append("a smaller micro_batch_size, with gradient_accumulation_steps raised to match")
    if shape.lora is None and "8bit" not in optimizer:
        found.append("optimizer: adamw_8bit")
    if shape.lora is None:
        found.append("adapter: lora")
    elif not cfg.load_in_4bit:
        found.append("adapter: qlora with load_in_4bit: true")
    if processes > 1 and stage < 3:
        found.append("fsdp_config (FSDP2)")
    if isinstance(planned.meta, MetaSettings):
        found.append("adapt.learned.measure: training_losses")
    found.append("a smaller sequence_len")
    return tuple(found)
