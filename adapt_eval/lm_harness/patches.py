"""lm-eval made quiet, and its progress bars turned into calls."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.evaluator
import transformers

Progress = Callable[[int, int], None]
# lm-eval's modules of models, and what they draw bars with.
_MODELS = {
    "lm_eval.models.huggingface": ("tqdm",),
    "lm_eval.models.vllm_causallms": ("tqdm",),
    "lm_eval.models.api_models": ("tqdm", "tqdm_asyncio"),
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence lm-eval, transformers and datasets: they print to stdout, which is for data, write
    many log lines and draw bars."""
    names = ("lm_eval", "transformers", "datasets", "torchao", "torch", "accelerate")
    loggers = [logging.getLogger(name) for name in names]
    levels = [one.level for one in loggers]
    bars = datasets.utils.logging.is_progress_bar_enabled()
    verbose = logging.getLogger("adapt_eval").isEnabledFor(logging.DEBUG)
    try:
        if not verbose:
            for one in loggers:
                one.setLevel(logging.ERROR)
            datasets.disable_progress_bars()
            transformers.utils.logging.disable_progress_bar()
        with contextlib.redirect_stdout(sys.stderr if verbose else io.StringIO()):
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def requests_to(progress: Progress) -> Iterator[None]:
    """Report what lm-eval's own bars would have shown.

    Args:
        progress: called with the requests answered so far and their total.
    """

    class Bar:
        def __init__(self, iterable: Any = None, total: int | None = None, **_: Any) -> None:
            self.iterable, self.total, self.done = iterable, total or 0, 0

        def __iter__(self) -> Iterator[Any]:
            return iter(self.iterable)

        def update(self, count: int = 1) -> None:
            self.done += count
            progress(self.done, self.total)

        def close(self) -> None:
            pass

    class Gather:
        """For several requests to a server at a time."""

        @staticmethod
        async def gather(*asked: Awaitable[Any], **_: Any) -> list[Any]:
            done = 0

            async def one(answer: Awaitable[Any]) -> Any:
                nonlocal done
                found = await answer
                done += 1
                progress(done, len(asked))
                return found

            return await asyncio.gather(*map(one, asked))

    # lm-eval also asks git about the working directory; outside of a repository git complains.
    replacements = [
        (lm_eval.api.task, "tqdm", Bar),
        (lm_eval.evaluator, "get_git_commit_hash", lambda: None),
    ]
    for name, bars in _MODELS.items():
        if (module := sys.modules.get(name)) is not None:
            replacements += [(module, bar, Bar if bar == "tqdm" else Gather) for bar in bars]
    originals = [getattr(module, name) for module, name, _ in replacements]
    for module, name, ours in replacements:
        setattr(module, name, ours)
    try:
        yield
    finally:
        for (module, name, _), original in zip(replacements, originals, strict=True):
            setattr(module, name, original)
