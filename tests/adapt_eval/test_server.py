"""A model behind an OpenAI-compatible server gets the answers and scores of the same model loaded
here, and what goes wrong with a server is one message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.errors import RunFailed
from adapt_eval.options import Options, check
from adapt_eval.progress import Reporter
from adapt_eval.results import read_result
from adapt_eval.run import run_suite
from adapt_eval.suite import load_suite
from tests.support.completions_server import Served, serving

TASKS = ("tiny_sums", "tiny_passages", "tiny_instructions")
LIMIT = 8


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[tuple[str, Served]]:
    with serving(model) as started:
        yield started


def measured(model: Path, folder: Path, **options: Any) -> Path:
    settings = {"suite": "tiny", "skip": ["tiny_programs"], "limit": LIMIT, **options}
    with Reporter() as reporter:
        run_suite(Options(str(model), output=str(folder), **settings), reporter)
    return folder


def asked(url: str, more: str = "", path: str = "completions") -> str:
    return f"base_url={url}/v1/{path}{more}"


@pytest.fixture(scope="module")
def direct(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("direct") / "here"
    return measured(model, folder, device="cpu", batch_size="1")


def answers(folder: Path, task: str) -> list[Any]:
    table = pyarrow.parquet.read_table(folder / f"{task}.samples.parquet")
    return [json.loads(one) for one in table["filtered"].to_pylist()]


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", ",num_concurrent=3", ",tokenized_requests=False"])
def test_answers_and_scores_are_those_of_the_model_loaded_here(
    more: str, model: Path, server: tuple[str, Served], direct: Path, tmp_path: Path
) -> None:
    url, served = server
    served.asked.clear()
    arguments = asked(url, more)
    batch = "2" if "concurrent" in more else "auto"
    folder = measured(
        model,
        tmp_path / "there",
        backend="local-completions",
        model_args=arguments,
        batch_size=batch,
    )
    kinds = {type(one["prompt"]) for _, one in served.asked}
    assert kinds == ({str} if "tokenized" in more else {list})
    for task in TASKS:
        ours, theirs = (read_result(one / f"{task}.json").content for one in (folder, direct))
        assert ours.metrics == theirs.metrics
        if task == "tiny_sums":
            # Log-probabilities: in single precision here, in double there.
            for there, here in zip(answers(folder, task), answers(direct, task), strict=True):
                assert [float(one[0]) for one in there] == pytest.approx(
                    [float(one[0]) for one in here], abs=1e-4
                )
        else:
            assert answers(folder, task) == answers(direct, task)
    result = compare(read_arms([str(direct), str(folder)], None))
    assert [one.difference for one in result.benchmarks] == [0.0] * 3
    assert any("another backend" in one for one in result.notes)


@pytest.mark.slow
def test_a_chat_server_gets_conversations(
    model: Path, server: tuple[str, Served], tmp_path: Path
) -> None:
    url, served = server
    served.asked.clear()
    here = measured(model, tmp_path / "here", only=["tiny_passages"], profile="chat", device="cpu")
    there = measured(
        model,
        tmp_path / "there",
        only=["tiny_passages"],
        profile="chat",
        backend="local-chat-completions",
        model_args=asked(url, path="chat/completions"),
    )
    assert answers(there, "tiny_passages") == answers(here, "tiny_passages")
    roles = {tuple(turn["role"] for turn in one["messages"]) for _, one in served.asked}
    assert roles == {("user", "assistant", "user")}  # one example, then the question


@pytest.mark.slow
@pytest.mark.parametrize("more", [",max_retries=1", ",max_retries=1,num_concurrent=2"])
def test_what_a_server_does_wrong_is_one_message_and_the_same_command_goes_on(
    more: str, model: Path, server: tuple[str, Served], tmp_path: Path
) -> None:
    url, served = server
    call: dict[str, Any] = {"backend": "local-completions", "only": ["tiny_sums"]}
    for state, says in (
        ({"broken": 404}, r"/v1/completions: the server refused a request \(404: "),
        ({"silent": True}, r"lacks something .*need the log-probabilities of a prompt"),
    ):
        try:
            vars(served).update(state)
            with pytest.raises(RunFailed, match=says):
                measured(model, tmp_path, model_args=asked(url, more), **call)
        finally:
            served.broken, served.silent = None, False
    # How the server is reached is no part of the result.
    measured(model, tmp_path, model_args=asked(url), **call)
    assert read_result(tmp_path / "tiny_sums.json").content.items == LIMIT


@pytest.mark.slow
def test_a_server_that_is_not_there_is_one_message(model: Path, tmp_path: Path) -> None:
    for more in ("", ",num_concurrent=2"):
        with pytest.raises(RunFailed, match=r"127.0.0.1:9/.*no answer from the server"):
            measured(
                model,
                tmp_path,
                backend="local-completions",
                only=["tiny_sums"],
                model_args=asked("http://127.0.0.1:9", f",max_retries=1{more}"),
            )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"backend": "other"},
            "--backend other: there are hf, vllm, local-completions, local-chat",
        ),
        ({"model_args": "model=a"}, "where is the server. Add --model-args base_url=http"),
        ({"device": "cpu"}, "--device cpu: the server decides this; leave it out"),
        ({"dtype": "float32"}, "--dtype float32: the server decides this; leave it out"),
        ({"model_args": "base_url=u,auth_token=t"}, "auth_token: would be stored .*OPENAI_API_KEY"),
    ],
)
def test_what_only_the_server_decides_and_secrets_are_refused(
    options: dict[str, Any], says: str
) -> None:
    asks = {"backend": "local-completions", "model_args": "base_url=u", **options}
    suite = load_suite("tiny").select(["tiny_sums"], ())
    with pytest.raises(ValueError, match=says):
        check(Options("model", **asks), suite, [])


def test_a_chat_server_is_asked_only_what_it_can_answer(model: Path, tmp_path: Path) -> None:
    call = {"backend": "local-chat-completions", "model_args": "base_url=u"}
    with pytest.raises(ValueError, match="tiny_sums: ranks answers by likelihood, which a chat"):
        measured(model, tmp_path, only=["tiny_sums"], profile="chat", **call)
    with pytest.raises(ValueError, match="takes conversations; add --profile chat or"):
        measured(model, tmp_path, only=["tiny_passages"], **call)
