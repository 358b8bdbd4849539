"""Models behind an OpenAI-compatible server, asked through lm-eval's `local-completions`.

RUN stays the folder of the model that the server serves: its weights name the result, and its
tokenizer and its context are what prompts are cut to. Whether the server serves these weights is
what nobody here can see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from adapt_eval.errors import RunFailed
from adapt_eval.model import read_object

CHAT = "local-chat-completions"
SERVERS = ("local-completions", CHAT)
# Arguments that say how the server is reached, not what it answers.
CONNECTION = ("num_concurrent", "max_retries", "timeout", "verify_certificate", "ca_cert_path")
_SECRET = ("auth_token", "header")
_CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx")


def check_server(backend: str, arguments: Mapping[str, str], device: str, dtype: str) -> None:
    """
    Args:
        arguments: of --model-args.

    Raises:
        ValueError: there is no address, an option that the server alone decides, or a secret that
            would be stored with the results.
    """
    if "base_url" not in arguments:
        path = "chat/completions" if backend == CHAT else "completions"
        raise ValueError(
            f"--backend {backend}: where is the server? Add --model-args "
            f"base_url=http://localhost:8000/v1/{path}"
        )
    for name, value in (("--device", device), ("--dtype", dtype)):
        if value != "auto":
            raise ValueError(f"{name} {value}: the server decides this; leave it out")
    for name in _SECRET:
        if name in arguments:
            raise ValueError(
                f"--model-args {name}: would be stored with the results; set OPENAI_API_KEY instead"
            )


def check_chat(task: str, generates: bool, template: bool) -> None:
    """
    Args:
        generates: whether all answers are generated, none ranked.
        template: whether prompts go through the chat template.

    Raises:
        ValueError: a chat server cannot answer the task.
    """
    if not generates:
        raise ValueError(
            f"{task}: ranks answers by likelihood, which a chat server does not tell; use "
            f"--backend local-completions, or --skip {task}"
        )
    if not template:
        raise ValueError(
            f"--backend {CHAT}: takes conversations; add --profile chat or --apply-chat-template"
        )


def server_arguments(run: str, folder: Path, tokenizer: Path) -> dict[str, Any]:
    """Arguments of lm-eval's model that follow from RUN; --model-args may say otherwise.

    Args:
        run: RUN as the user gave it, which is what `vllm serve RUN` names the model.
        folder: of the full model.
        tokenizer: folder of the tokenizer.
    """
    config = read_object(folder / "config.json")
    context = next((config[key] for key in _CONTEXTS if config.get(key)), None)
    return {
        "model": run,
        "tokenizer": str(tokenizer),
        "tokenizer_backend": "huggingface",
        # lm-eval's default cuts every prompt to 2,048 tokens, and says nothing.
        **({"max_length": context} if context else {}),
    }


@contextlib.contextmanager
def told(url: str) -> Iterator[None]:
    """What goes wrong between here and a server, as one message.

    Raises:
        RunFailed: it did not answer, refused, or answered something else.
    """
    import aiohttp
    import requests

    try:
        yield
    except (
        requests.RequestException,
        aiohttp.ClientError,
        TimeoutError,
        UnboundLocalError,
    ) as error:
        # Of an answer that it did not get lm-eval tells the text, which has no value then.
        cause = error.__context__ if isinstance(error, UnboundLocalError) else error
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            text = " ".join(cause.response.text.split())[:200]
            raise _refused(url, f"{cause.response.status_code}: {text}") from error
        if isinstance(cause, aiohttp.ClientResponseError):
            raise _refused(url, f"{cause.status}: {cause.message}") from error
        raise RunFailed(
            f"{url}: no answer from the server ({type(cause).__name__}); start it, or set base_url "
            "in --model-args. The same command continues"
        ) from error
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise RunFailed(
            f"{url}: the server's answer lacks something ({type(error).__name__}: {error}). "
            "Benchmarks that rank answers need the log-probabilities of a prompt (echo and "
            "logprobs of /v1/completions), which not every server tells; leave them out with --skip"
        ) from error


def _refused(url: str, said: str) -> RunFailed:
    return RunFailed(
        f"{url}: the server refused a request ({said}); see to the server, or to base_url and "
        "model in --model-args. The same command continues"
    )
