"""Load a model for lm-eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import get_model
from lm_eval.utils import handle_arg_string
from safetensors import SafetensorError

from adapt_eval.errors import RunFailed
from adapt_eval.lm_harness.patches import quiet
from adapt_eval.server import SERVERS, server_arguments, told

# lm-eval 0.4.11 imports ray with vLLM, and a name that vLLM dropped after 0.20.
_VLLM_NEEDS = (
    "lm-eval's vllm model needs ray, and up to lm-eval 0.4.11 a vLLM up to 0.20: "
    "pip install ray 'vllm<0.21'"
)


def build_model(
    backend: str,
    run: str,
    folder: str,
    adapter: str | None,
    device: str,
    batch_size: str,
    dtype: str,
    more: Mapping[str, str],
) -> LM:
    """Load a model.

    Args:
        backend: `hf`, `vllm` or one of `SERVERS`.
        run: name of the model, for a server.
        folder: of the full model.
        adapter: folder of LoRA weights for it, or None.
        batch_size: a number, `auto` or `auto:N`.
        more: further arguments of lm-eval's model, passed through as its command would.

    Raises:
        ValueError: the backend is not installed, or does not take an argument.
        RunFailed: the model cannot be loaded.
    """
    arguments: dict[str, Any] = {"pretrained": folder, "dtype": dtype}
    own_tokenizer = adapter if adapter and _has_tokenizer(adapter) else None
    if backend == "vllm":
        try:
            import vllm  # noqa: F401
        except ImportError as error:
            raise ValueError("--backend vllm: vLLM is not installed; use --backend hf") from error
        if adapter:
            arguments["lora_local_path"] = adapter
    elif backend == "hf":
        if adapter:
            arguments["peft"] = adapter
        if own_tokenizer:
            arguments["tokenizer"] = own_tokenizer
    else:
        assert backend in SERVERS
        arguments = server_arguments(run, Path(folder), Path(own_tokenizer or folder))
    arguments |= {key: handle_arg_string(value) for key, value in more.items()}
    extra = {"batch_size": batch_size, "max_batch_size": None, "device": device}
    try:
        with quiet():
            model: LM = get_model(backend).create_from_arg_obj(arguments, extra)
    except ImportError as error:
        remedy = _VLLM_NEEDS if backend == "vllm" else "install what is missing"
        raise ValueError(f"--backend {backend}: {error}; {remedy}") from error
    except TypeError as error:
        said = ", ".join(more) or "none"
        raise ValueError(
            f"--model-args: lm-eval's {backend} model does not take one of them ({said}): {error}; "
            "leave it out"
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise RunFailed(
            f"cannot load the model in {folder}: {type(error).__name__}: {error}. If memory ran "
            "out, try another --device or a smaller --batch-size"
        ) from error
    if backend in SERVERS:
        _tell(model, str(arguments["base_url"]))
    return model


def _has_tokenizer(adapter: str) -> bool:
    return (Path(adapter) / "tokenizer_config.json").is_file()


def _tell(model: Any, url: str) -> None:
    """Let what goes wrong while a server is asked be one message."""

    def telling(ask: Any) -> Any:
        def asked(*arguments: Any, **options: Any) -> Any:
            with told(url):
                return ask(*arguments, **options)

        return asked

    for name in ("_loglikelihood_tokens", "generate_until"):
        setattr(model, name, telling(getattr(model, name)))
