"""What a training step holds in memory, from the model's config alone: the step is run on tensors
that have a shape and no data, and every block of memory that it would take is counted.

A fake tensor computes nothing, so a large model takes seconds. Counted like this a step agrees with
what PyTorch's allocator hands out on a CPU (docs/cost.md). Attention is PyTorch's own, which like
flash attention holds no scores.

Dimensions: B sequences, T tokens, V vocabulary, H features.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Tokens whose logits a fused loss holds at once; Liger and cut cross-entropy take about so many.
FUSED_AT_ONCE = 64


@dataclass(frozen=True)
class StepShape:
    """What of a recipe decides how much a step holds.

    Attributes:
        sequences: B, of a micro-batch.
        tokens: T.
        dtype: of the weights.
        autocast: the type that training computes in where it is not theirs, or None.
        lora: keyword arguments of PEFT's LoraConfig, or None where all weights are trained.
        checkpointing: activations of layers are computed again.
        fused_loss: the logits of all positions are never made.
        accumulates: gradients of earlier micro-batches are there.
        attention: `sdpa`, or `eager` where scores are held.
    """

    sequences: int
    tokens: int
    dtype: torch.dtype
    autocast: torch.dtype | None = None
    lora: Mapping[str, Any] | None = None
    checkpointing: bool = False
    fused_loss: bool = False
    accumulates: bool = False
    attention: str = "sdpa"


@dataclass(frozen=True)
class StepBytes:
    """Bytes of a whole model on one process.

    Attributes:
        frozen_linear: weights of frozen linear layers but the head, which may be quantised.
        frozen_linear_weights: how many numbers these are.
        other_frozen: all other frozen weights and buffers.
        trained: trained weights.
        trained_weights: how many numbers these are.
        largest_layer: weights of the largest module that sharding gathers at once.
        vocabulary: V.
        step: the peak of a forward and backward beyond the weights, gradients included.
    """

    frozen_linear: int
    frozen_linear_weights: int
    other_frozen: int
    trained: int
    trained_weights: int
    largest_layer: int
    vocabulary: int
    step: int


def step_bytes(config: Any, shape: StepShape) -> StepBytes:
    """
    Args:
        config: a Transformers config of a causal language model.
        shape: of the step.

    Raises:
        RuntimeError, ValueError, TypeError, ...: the model cannot be made or run without data.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(
            config, attn_implementation=shape.attention, dtype=shape.dtype
        )
        base.config.use_cache = False
        if shape.checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            base.enable_input_require_grads()
        model = base if shape.lora is None else _with_adapters(base, shape.lora)
    model.train()
    with FakeTensorMode():
        _on_fake_tensors(model)
        trained = [one for one in model.parameters() if one.requires_grad]
        gradients = sum(map(_bytes, trained)) if shape.accumulates else 0
        if shape.accumulates:
            for parameter in trained:
                parameter.grad = torch.empty_like(parameter)
        return _of(base, model, gradients + _peak_of_a_step(model, base, shape))


def _with_adapters(model: Any, lora: Mapping[str, Any]) -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(model, LoraConfig(**lora), low_cpu_mem_usage=True)


def _on_fake_tensors(model: nn.Module) -> None:
    """Meta tensors have no device of their own, which decides what attention holds; made before, as
    PEFT cannot convert fake ones."""
    made: dict[int, Any] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            if isinstance(tensor, nn.Parameter):
                made[id(tensor)] = nn.Parameter(made[id(tensor)], tensor.requires_grad)
        one: Tensor = made[id(tensor)]
        return one

    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    held[name] = fake(tensor)  # type: ignore[assignment]


def _peak_of_a_step(model: nn.Module, base: Any, shape: StepShape) -> int:
    ids = torch.zeros(shape.sequences, shape.tokens, dtype=torch.long)
    lower = (
        contextlib.nullcontext()
        if shape.autocast is None
        else torch.autocast("cpu", dtype=shape.autocast)
    )
    with CountedMemory(model) as memory:
        with lower:
            if shape.fused_loss:
                states = base.get_decoder()(input_ids=ids).last_hidden_state
                loss = _FusedLoss.apply(states, base.get_output_embeddings().weight)
            else:
                loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
    return memory.most


class CountedMemory(TorchDispatchMode):
    """Counts the memory that operations hand out within it.

    Args:
        model: its weights are there before, and are not counted.

    Attributes:
        most: bytes held at once at the peak.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.most = 0
        self._held = 0
        self._known: dict[int, object] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            for one in (tensor, tensor.grad):
                if one is not None:
                    storage = one.untyped_storage()
                    self._known[storage._cdata] = storage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            self._held -= size

        self._known[key] = weakref.ref(storage, gone)
        self._held += size
        self.most = max(self.most, self._held)


class _FusedLoss(torch.autograd.Function):
    """() what Liger's fused loss holds for (B, T, H) states and a (V, H) weight."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor) -> Tensor:
        weight = weight.to(states.dtype)
        logits = states.new_empty(2 * FUSED_AT_ONCE, weight.shape[0])  # and their softmax
        by_weight = None
        if ctx.needs_input_grad[1]:
            by_weight = torch.empty_like(weight)
            torch.empty_like(weight).float()  # of a chunk, before Liger adds it
        ctx.gradients = torch.empty_like(states), by_weight
        return logits.new_empty(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        found, ctx.gradients = ctx.gradients, None
        return found


def _of(base: Any, model: nn.Module, step: int) -> StepBytes:
    head = base.get_output_embeddings()
    linear = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not head and not module.weight.requires_grad
    ]
    every = {id(one): one for one in (*model.parameters(), *model.buffers())}.values()
    trained = [one for one in every if one.requires_grad]
    layers = [
        sum(_bytes(one) for one in module.parameters())
        for module in base.modules()
        if type(module).__name__.endswith("Layer")
    ]
    embeddings = _bytes(base.get_input_embeddings().weight)
    frozen_linear = sum(map(_bytes, linear))
    return StepBytes(
        frozen_linear=frozen_linear,
        frozen_linear_weights=sum(one.numel() for one in linear),
        other_frozen=sum(_bytes(one) for one in every if not one.requires_grad) - frozen_linear,
        trained=sum(map(_bytes, trained)),
        trained_weights=sum(one.numel() for one in trained),
        largest_layer=max([*layers, embeddings]),
        vocabulary=base.get_input_embeddings().weight.shape[0],
        step=step,
    )


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
