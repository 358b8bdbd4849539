"""Answers of a benchmark that is not finished yet: a run that dies asks only what is missing.

lm-eval scores a benchmark when all of its requests are answered, which for BBH takes hours. Each
answer is appended to a file as lm-eval reports it; when the same model is asked again under the
same circumstances, requests that are in the file are not asked. What is left is batched anew, so a
log-probability may differ in its last digits from that of a run that was never interrupted.

lm-eval's own response cache is not keyed by the model; the name of this file has to be.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from lm_eval.api.model import LM, CacheHook, hash_args

_ASKED = ("loglikelihood", "loglikelihood_rolling", "generate_until")


@contextlib.contextmanager
def kept(model: LM, file: Path) -> Iterator[None]:
    """Within it, answers of the model are written to the file, and those in it are not asked for.

    Args:
        file: one answer a line; made where it is missing.

    Raises:
        ValueError: the file is damaged, but for a last line that was cut off.
    """
    known = _read(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    originals = {name: getattr(model, name) for name in _ASKED}
    with file.open("a", encoding="utf-8") as stream:
        model.set_cache_hook(_Hook(stream))
        for name in _ASKED:
            setattr(model, name, _only_missing(name, originals[name], known))
        try:
            yield
        finally:
            model.set_cache_hook(CacheHook(None))
            for name, original in originals.items():
                setattr(model, name, original)


class _Hook(CacheHook):
    """Gets each answer from lm-eval as soon as there is one."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(None)
        self._stream = stream

    def add_partial(self, attr: str, req: Iterable[Any], res: Any) -> None:
        line = {"request": hash_args(attr, req), "answer": res}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


def _only_missing(name: str, ask: Any, known: dict[str, Any]) -> Any:
    def answered(requests: list[Any], **options: Any) -> list[Any]:
        answers = [
            None if _drawn(one) else known.get(hash_args(name, one.args)) for one in requests
        ]
        missing = [one for one, answer in zip(requests, answers, strict=True) if answer is None]
        if not missing:
            return answers
        new = iter(ask(missing, **options))
        return [next(new) if answer is None else answer for answer in answers]

    return answered


def _drawn(request: Any) -> bool:
    """Whether the answer is drawn at random: then each repeat gets its own."""
    settings = request.args[1] if len(request.args) > 1 else None
    return isinstance(settings, dict) and bool(settings.get("do_sample", False))


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    whole, _, cut = text.rpartition("\n")
    if cut:  # killed while it was written
        file.write_text(whole + "\n" if whole else "", encoding="utf-8")
    known = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            content = json.loads(line)
            answer = content["answer"]
            known[content["request"]] = tuple(answer) if isinstance(answer, list) else answer
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file}: line {number} is damaged ({error}); delete the file, and the benchmark "
                "is asked from its beginning"
            ) from error
    return known
