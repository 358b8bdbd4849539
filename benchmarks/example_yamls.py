"""Which estimator of gradient products each of Axolotl's example YAMLs gets: of its features
(`example_features.py`) a tiny model is built, and the run's own choice decides, self-check and a
training step that is read included.

    python benchmarks/example_yamls.py FOLDER [YAML ...]

FOLDER is `examples` of Axolotl's source distribution (`pip download --no-deps --no-binary :all:
axolotl==VERSION`). Writes docs/measured/example_yamls.jsonl, a line for each YAML; where YAMLs are
named, by their paths in FOLDER, new lines of these alone.

Models of YAMLs that shard by FSDP2 are sharded over two processes by gloo. Not as in training: all
others are on one process, where parameters that ZeRO-3 would shard have its mark, so that what is
not read of them there is not read here; text rows; frozen 4-bit and 8-bit weights are plain ones;
the activation inside Axolotl's MLP kernel, which needs CUDA, is torch's; kernels that fuse the
norms of queries and keys with their rotation, and those of experts, are left out.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import multiprocessing
import re
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import gelu, silu

from adapt_axolotl.config.adapt import AdaptConfig
from adapt_axolotl.data.pools import TaskPools
from adapt_axolotl.integration.candidates import candidate_estimators
from adapt_axolotl.integration.eval_mode import evaluation_mode
from adapt_axolotl.integration.plain_forms import plain_forms
from adapt_axolotl.integration.spec import TrainingSpec
from adapt_axolotl.meta_step.choice import EstimatorChoice
from adapt_axolotl.meta_step.reader import BackwardReader
from adapt_axolotl.meta_step.rows import MeasuringRows
from adapt_axolotl.metagradient.direction import direction
from adapt_axolotl.metagradient.in_backward import IN_BACKWARD, BypassedModule
from adapt_axolotl.metagradient.ranks import Ranks
from adapt_axolotl.metagradient.sharded import trained_parameters
from adapt_axolotl.run.plan import Estimate
from benchmarks.example_features import (
    features,
    other_than_sft,
    products_refused,
    recipes,
    refused,
    sharding,
)
from benchmarks.fsdp_modules import shard
from benchmarks.tiny_families import VOCABULARY, tiny_config, tiny_model

MEASURED = Path(__file__).resolve().parents[1] / "docs" / "measured" / "example_yamls.jsonl"
TASKS = ("a", "b")
NO_CODE = "not built: the code of this family is in its model's repository"


def all_lines(folder: Path, named: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A line for each YAML: where it is, what it trains, its features, the estimator and why. Where
    some are named, the others have their old lines."""
    known: dict[str, tuple[str, str]] = {}
    old = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    kept = {line["yaml"]: line for line in old if named and line["yaml"] not in named}
    lines = []
    for path, raw in recipes(folder).items():
        if path in kept:
            lines.append(kept[path])
            continue
        line: dict[str, Any] = {"yaml": path}
        lines.append(line)
        if other_than_sft(raw):
            line["no_sft"] = other_than_sft(raw)
            continue
        line |= {"sharding": sharding(raw), "features": features(raw)}
        if refused(raw):
            line["refused"] = refused(raw)
            continue
        if products_refused(raw):
            line["products_refused"] = products_refused(raw)
            continue
        key = json.dumps(line["features"], sort_keys=True)
        if key not in known:
            known[key] = in_a_process(line["features"])
            print(*known[key], path, key, flush=True)
        line["estimator"], line["reason"] = known[key]
    return lines


def in_a_process(what: dict[str, Any]) -> tuple[str, str]:
    """`estimator_of` in a process of its own, since Axolotl's kernels patch classes for good; in
    two where parameters are sharded."""
    context = multiprocessing.get_context("fork")
    count = 2 if what.get("sharded") else 1
    with tempfile.TemporaryDirectory() as folder:
        ends, processes = [], []
        for rank in range(count):
            ours, theirs = context.Pipe()
            answer = partial(_answer, theirs, what, Ranks(rank, count), Path(folder) / "meet")
            processes.append(context.Process(target=answer))
            processes[-1].start()
            theirs.close()
            ends.append(ours)
        found: set[tuple[str, str]] = set()
        for end, process in zip(ends, processes, strict=True):
            try:
                found.add(end.recv())
            except EOFError:
                found.add(("", "not built: the process ended without an answer"))
            process.join()
    assert len({name for name, _ in found}) == 1, found
    return min(found)


def _answer(end: Any, what: dict[str, Any], ranks: Ranks, meet: Path) -> None:
    if ranks.count > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"file://{meet}",
            rank=ranks.rank,
            world_size=ranks.count,
            # Processes that wait for each other end the measurement.
            timeout=datetime.timedelta(minutes=3),
        )
    end.send(estimator_of(what, ranks))


def estimator_of(what: dict[str, Any], ranks: Ranks) -> tuple[str, str]:
    """(its name, why none before it was taken) of a model with these features; the name is empty
    where no such model can be built."""
    logging.disable(logging.INFO)
    reasons: list[str] = []
    say = SimpleNamespace(info=reasons.append, warning=reasons.append)
    try:
        model = built(what)
    except ValueError as error:
        return "", str(error)
    loss = torch.sum if what.get("other_loss") else None
    trainer: Any = SimpleNamespace(model=model, compute_loss_func=loss, label_smoother=None)
    trainer.args = SimpleNamespace(bf16=False, fp16=False, optim="adamw_torch", world_size=1)
    spec = spec_of(what)
    with _instead("adapt_axolotl.integration.candidates.LOG", say):
        candidates = candidate_estimators(spec, Estimate(100, 8.0), len(TASKS), trainer)
    if ranks.count > 1:
        shard(model)
    if what.get("zero3"):
        for parameter in model.parameters():
            parameter.ds_id = 0
    parameters = trained_parameters(model)
    rows = measuring_rows()
    readable = partial(plain_forms, model, compiled=spec.compiled)
    choice = EstimatorChoice(
        candidates,
        model,
        rows,
        len(TASKS),
        ranks,
        seed=0,
        half_precision=False,
        fused_loss=spec.fused_loss,
        readable=readable,
    )
    batches = rows.batches(np.arange(8), rank=ranks.rank, ranks=ranks.count)
    with _instead("adapt_axolotl.meta_step.choice.LOG", say):
        with evaluation_mode(model):
            weights = torch.tensor([0.5, 0.5])
            v = direction(model, parameters, batches, weights, reduce=ranks.sum).v
            choice.settle(v)
        if choice.current is IN_BACKWARD:
            reader = BackwardReader(
                model,
                parameters,
                v,
                len(TASKS),
                ranks,
                fused_loss=spec.fused_loss,
                readable=readable,
            )
            try:
                read_a_step(model, reader, batches)
            except BypassedModule as error:
                choice.drop(str(error))
                with evaluation_mode(model):
                    choice.settle(v)
    dropped = [one for one in reasons if " not " in one and "agrees" not in one]
    return choice.current.name, "; ".join(dropped)


def read_a_step(model: Any, reader: BackwardReader, batches: Any) -> None:
    model.train()
    for batch in batches:
        tokens = int((batch.labels[:, 1:] != -100).sum())
        with reader.micro_batch(
            batch.labels, batch.row_of_token, batch.task_of_row, lambda tokens=tokens: 1 / tokens
        ):
            model(**batch.inputs, labels=batch.labels).loss.backward()
    reader.scores()


def built(what: dict[str, Any]) -> Any:
    """A tiny model with these features."""
    model: Any = tiny_model(what["family"]) if _has_code(what["family"]) else None
    if model is None:
        raise ValueError(NO_CODE)
    model.config.use_cache = False
    if what.get("router_loss"):
        model.config.output_router_logits = True
    if what.get("qat"):
        quantise(model, what["qat"])
    if what.get("unfrozen"):
        patterns = [re.compile(_any_layer(one)) for one in what["unfrozen"]]
        for name, parameter in model.named_parameters():
            # A tiny model may be the text part alone, whose layers are at another place.
            names = (name, name.replace("model.", "model.language_model.", 1))
            parameter.requires_grad_(any(one.match(n) for one in patterns for n in names))
    if what.get("adapter"):
        model = adapted(model, what)
        set_kernels(model, what)
    if what.get("compiled"):
        for module in model.modules():
            if type(module).__name__.endswith("DecoderLayer"):
                module.compile(backend="eager")
    return model


def _has_code(family: str) -> bool:
    try:
        tiny_config(family)
    except (KeyError, ValueError):
        return False
    return True


def _any_layer(pattern: str) -> str:
    """The same pattern for the few layers of a tiny model."""
    return re.sub(r"layers(\\?\.)(\(\d+(\|\d+)*\)|[\d\[\]\-+]+)(?=\\?\.)", r"layers\1\\d+", pattern)


def adapted(model: Any, what: dict[str, Any]) -> Any:
    """With adapters on the same modules, at a point where none of their parts is 0."""
    from peft import LoraConfig, get_peft_model

    targets = what.get("targets") or None
    if isinstance(targets, str) and targets != "all-linear":
        targets = _any_layer(targets)
        names = [name for name, _ in model.named_modules()]
        # A tiny model may be the text part alone, whose layers are at another place.
        other = targets.replace("language_model.model", "model.language_model")
        forms = (targets, targets.replace("language_model.", ""), other, f".*{targets}")
        targets = next((one for one in forms if any(re.fullmatch(one, n) for n in names)), targets)
    model = get_peft_model(
        model,
        LoraConfig(
            r=4,
            target_modules=targets,
            target_parameters=what.get("target_parameters"),
            modules_to_save=what.get("modules_to_save"),
            use_dora=what.get("dora", False),
            task_type="CAUSAL_LM",
        ),
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter += 0.02 * torch.randn_like(parameter)
    return model.eval()


def set_kernels(model: Any, what: dict[str, Any]) -> None:
    """Axolotl's LoRA kernels by its own code, where they fit the family."""
    from axolotl.kernels import lora
    from axolotl.monkeypatch.lora_kernels import apply_lora_kernel_patches, patch_self_attn_lora
    from axolotl.utils.dict import DictDefault

    kernels: Any = lora
    kernels.swiglu_forward, kernels.swiglu_backward = _in_torch(silu)
    kernels.geglu_forward, kernels.geglu_backward = _in_torch(gelu)
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(AssertionError, NotImplementedError, ValueError),
    ):
        config = {"model_type": model.get_base_model().config.model_type}
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        cfg = DictDefault(base_model=folder, **dict.fromkeys(what.get("kernels", []), True))
        if cfg.lora_qkv_kernel or cfg.lora_o_kernel:
            patch_self_attn_lora(cfg)
        if what.get("kernels"):
            apply_lora_kernel_patches(model, cfg)


def _in_torch(activation: Any) -> tuple[Any, Any]:
    def forward(gate: Any, up: Any) -> Any:
        return activation(gate) * up

    def backward(gradient: Any, gate: Any, up: Any) -> tuple[Any, Any, Any]:
        gradient = gradient.view_as(gate)
        with torch.enable_grad():
            gate, up = gate.detach().requires_grad_(), up.detach().requires_grad_()
            hidden = forward(gate, up)
        return hidden.detach(), *torch.autograd.grad(hidden, (gate, up), gradient)

    return forward, backward


def quantise(model: Any, weight_dtype: str) -> None:
    """As quantisation-aware training does it."""
    from axolotl.utils.quantization import TorchAOQuantDType, prepare_model_for_qat

    activations = {"mxfp4": "mxfp4", "int4": "int8", "ternary": "int8"}
    if weight_dtype not in activations:
        raise ValueError(f"not built: {weight_dtype} needs a GPU or a package of its own")
    prepare_model_for_qat(
        model,
        TorchAOQuantDType.from_string(weight_dtype),
        {"mxfp4": 32, "int4": 16}.get(weight_dtype),
        TorchAOQuantDType.from_string(activations[weight_dtype]),
    )


def spec_of(what: dict[str, Any]) -> TrainingSpec:
    learned = {"measure": "products"}
    return TrainingSpec(
        adapt=AdaptConfig(token_budget=1000, mixture="learned", learned=learned),  # type: ignore[arg-type]
        seed=0,
        micro_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=None,
        sequence_len=16,
        eval_sequence_len=16,
        sample_packing=False,
        eval_sample_packing=False,
        packs_into_one=False,
        compiled=what.get("compiled", False),
        flex_attention=what.get("flex_attention", False),
        fused_loss=what.get("fused_loss", False),
        weighs_tokens=False,
        deduplicate=False,
        prepared=Path("prepared"),
        output_dir=Path("run"),
        resumes_by_itself=False,
    )


def measuring_rows() -> MeasuringRows:
    """Eight rows of two tasks."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(6, 12, 8)
    ids = [generator.integers(3, VOCABULARY, length).tolist() for length in lengths]
    labels = [[-100, -100, *row[2:]] for row in ids]
    return MeasuringRows(
        Dataset.from_dict({"input_ids": ids, "labels": labels}),
        TaskPools(TASKS, np.arange(8) % 2, lengths - 2, lengths),
        pad_token_id=2,
        micro_batch_tokens=48,
        device=torch.device("cpu"),
    )


@contextlib.contextmanager
def _instead(place: str, value: Any) -> Any:
    """`value` in place of a module's name."""
    module, _, name = place.rpartition(".")
    owner = sys.modules[module]
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def main() -> None:
    torch.set_num_threads(1)
    torch._dynamo.config.suppress_errors = True  # as Axolotl sets it
    lines = all_lines(Path(sys.argv[1]), sys.argv[2:])
    MEASURED.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
