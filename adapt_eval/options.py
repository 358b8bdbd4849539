"""What `adapt-eval run` is asked for, and whether it can be had."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt_eval import mirror
from adapt_eval.model import Model, read_object
from adapt_eval.server import SERVERS, check_server
from adapt_eval.suite import PUNKT, Suite

_BACKENDS = ("hf", "vllm", *SERVERS)
_DTYPES = ("auto", "float32", "bfloat16", "float16")
# Arguments of lm-eval's models that are known already -> by what.
_DECIDED = {
    "pretrained": "RUN",
    "peft": "RUN",
    "lora_local_path": "RUN",
    "tokenizer": "RUN",
    "dtype": "--dtype",
    "device": "--device",
    "batch_size": "--batch-size",
}


@dataclass(frozen=True)
class Options:
    """What `adapt-eval run` was asked for; stored in the manifest as it was resolved.

    Attributes:
        run: model directory, adapter, output directory of a run, or Hub name.
        suite: name or file.
        only: benchmarks to measure; all when empty. `skip` leaves some out.
        output: where results go; None is `<run>/eval/<suite>`.
        data_roots: mirrors of datasets.
        limit: items of each task; None is all.
        profile: `chat` asks for generated answers through the chat template.
        apply_chat_template: to every benchmark; the profile leaves those that rank answers alone.
        fewshot_as_multiturn: with a template, examples are turns of the conversation.
        batch_size: a number, `auto` or `auto:N`.
        model_args: further arguments of lm-eval's model, `key=value,key=value`.
        backend: `hf`, `vllm`, or an OpenAI-compatible server: `local-completions` or
            `local-chat-completions`.
        allow_code_execution: run programs that the model writes, where the kernel contains them.
        unsafe: run them where it does not, too.
    """

    run: str
    suite: str = "ood11"
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    output: str | None = None
    data_roots: Sequence[str] = ()
    limit: int | None = None
    profile: str = "base"
    apply_chat_template: bool = False
    fewshot_as_multiturn: bool = True
    batch_size: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    backend: str = "hf"
    model_args: str | None = None
    allow_code_execution: bool = False
    unsafe: bool = False
    force: bool = False


def check(options: Options, suite: Suite, roots: Sequence[Path]) -> None:
    """
    Raises:
        ValueError: an option has no such value, or a benchmark lacks a permission or data.
    """
    mirror.check_roots(roots)
    if options.profile not in ("base", "chat"):
        raise ValueError(f"--profile {options.profile}: there are base and chat")
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit {options.limit}: at least 1")
    if not re.fullmatch(r"[1-9][0-9]*|auto(:[1-9][0-9]*)?", options.batch_size):
        raise ValueError(
            f"--batch-size {options.batch_size}: a number of 1 or more, or auto (auto:N "
            "searches N times)"
        )
    arguments = parse_model_args(options.model_args)
    if options.backend not in _BACKENDS:
        raise ValueError(f"--backend {options.backend}: there are {', '.join(_BACKENDS)}")
    if options.backend in SERVERS:
        check_server(options.backend, arguments, options.device, options.dtype)
    if options.dtype not in _DTYPES:
        raise ValueError(f"--dtype {options.dtype}: there are {', '.join(_DTYPES)}")
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu|npu)(:\d+)?", options.device):
        raise ValueError(f"--device {options.device}: there are auto, cpu, mps, cuda, cuda:1...")
    coding = [one.task for one in suite.benchmarks if one.runs_code]
    if coding and not options.allow_code_execution:
        skips = " ".join(f"--skip {task}" for task in coding)
        raise ValueError(
            f"{', '.join(coding)}: scoring runs programs that the model writes. Add "
            f"--allow-code-execution (see docs/evaluation.md for what holds them), or {skips}"
        )
    if coding and not options.unsafe:
        _need_containment(coding)
    wanting = [one.task for one in suite.benchmarks if PUNKT in one.needs]
    if wanting and not mirror.use_nltk_data(roots):
        raise ValueError(
            f"{', '.join(wanting)}: needs NLTK's punkt_tab; set NLTK_DATA to a folder that has it, "
            f"let adapt-eval fetch get it, or --skip {wanting[0]}"
        )


def parse_model_args(text: str | None) -> dict[str, str]:
    """
    Args:
        text: `key=value,key=value`, as lm-eval's --model_args.

    Raises:
        ValueError: it has another form, or names what another option or the run decides.
    """
    found: dict[str, str] = {}
    for one in (text or "").split(",") if text else ():
        key, separator, value = one.partition("=")
        if not separator or not key.strip() or not value:
            raise ValueError(f"--model-args {text}: key=value, several with commas between them")
        key = key.strip()
        if key in _DECIDED:
            raise ValueError(f"--model-args {key}: {_DECIDED[key]} says this; leave it out here")
        if key in found:
            raise ValueError(f"--model-args {key}: is given twice; keep one")
        found[key] = value
    return found


def _need_containment(coding: Sequence[str]) -> None:
    from adapt_eval.sandbox.run import bubblewrap_works

    if not bubblewrap_works():
        skips = " ".join(f"--skip {task}" for task in coding)
        raise ValueError(
            f"{', '.join(coding)}: nothing here contains programs that the model writes: "
            "bubblewrap is not installed, or may not make namespaces. Install `bwrap` and allow "
            f"user namespaces, or {skips}, or run them with your own rights by --unsafe, in a "
            "container or a machine that may be lost"
        )


def check_template(model: Model) -> None:
    """
    Raises:
        ValueError: the model's tokenizer has no chat template.
    """
    for folder in reversed(model.folders):
        config = folder / "tokenizer_config.json"
        if (folder / "chat_template.jinja").is_file():
            return
        if config.is_file() and read_object(config).get("chat_template"):
            return
    raise ValueError(f"{model.name}: its tokenizer has no chat template; use --profile base")


def pick_device(device: str) -> str:
    """The device that `auto` means here."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
