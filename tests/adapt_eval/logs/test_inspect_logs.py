"""Logs of Inspect, made here with its mock model."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from adapt_eval.comparison.arms import read_arms
from adapt_eval.comparison.compare import compare
from adapt_eval.comparison.schema import Comparison
from adapt_eval.errors import NotComparable
from adapt_eval.logs.inspect_logs import InspectLogs
from tests.support.log_files import made_lm_eval_output

Make = Callable[..., Path]
ITEMS = 20


def test_without_inspect_ai_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "inspect_ai.log", None)
    file = tmp_path / "log.eval"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"log\.eval: is a log of Inspect.*pip install inspect_ai"):
        read_arms([f"a={file}", f"b={file}"], None)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Ask a model that knows some of the answers, and log it."""
    inspect_ai = pytest.importorskip(
        "inspect_ai",
        reason="inspect_ai is not installed: it wants a newer pydantic than Axolotl; make inspect",
    )
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate, system_message

    class Words:
        """For tiktoken's encoding, which it would fetch from a network."""

        def encode(self, text: str, **_: object) -> list[str]:
            return text.split()

        encode_ordinary = encode

    try:
        import tiktoken

        for name in ("get_encoding", "encoding_for_model"):
            monkeypatch.setattr(tiktoken, name, lambda _: Words())
    except ImportError:
        pass  # earlier releases do not count tokens

    def made(
        name: str,
        right: float,
        *,
        system: str | None = None,
        epochs: int = 1,
        shift: int = 0,
        ask: str = "Say",
    ) -> Path:
        drawn = random.Random(name)
        samples = [Sample(input=f"{ask} {n}", target=str(n + shift), id=n) for n in range(ITEMS)]
        answers = [
            ModelOutput.from_content("mockllm/model", str(n) if drawn.random() < right else "no")
            for _ in range(epochs)
            for n in range(ITEMS)
        ]
        solver = [*([system_message(system)] if system else []), generate()]
        task = inspect_ai.Task(
            dataset=samples, solver=solver, scorer=match(), name="say", epochs=epochs
        )
        model = get_model("mockllm/model", custom_outputs=answers)
        folder = tmp_path / name
        inspect_ai.eval(
            task,
            model=model,
            log_dir=str(folder),
            display="none",
            max_connections=1,
            max_samples=1,
        )
        return folder

    return made


def compared(*runs: Path, allow: bool = False) -> Comparison:
    return compare(read_arms([str(run) for run in runs], None), allow_differences=allow)


def test_two_logs_are_paired_by_what_was_asked(make: Make) -> None:
    from inspect_ai.log import read_eval_log

    runs = [make("good", 0.9), make("bad", 0.3)]
    result = compared(*runs)
    (one,) = result.benchmarks
    logs = [read_eval_log(str(next(run.glob("*.eval")))) for run in runs]
    said = [log.results.scores[0].metrics["accuracy"].value for log in logs]
    assert (one.b, one.a) == pytest.approx(said, rel=1e-12)
    right = [[s.scores["match"].value == "C" for s in log.samples] for log in logs]
    wins = sum(b and not a for a, b in zip(*right, strict=True))
    losses = sum(a and not b for a, b in zip(*right, strict=True))
    assert (one.task, one.n, one.wins, one.losses) == ("say", ITEMS, wins, losses)
    assert one.test == "McNemar mid-p"


def test_a_sample_of_several_epochs_is_one_item(make: Make) -> None:
    runs = [make("a", 0.6, epochs=3), make("b", 0.5, epochs=3)]
    (one,) = compared(*runs).benchmarks
    assert one.n == ITEMS
    scores = {item.scores["match"] for item in InspectLogs().read(runs[0]).tasks["say"].items}
    assert scores - {0.0, 1.0}


def test_other_settings_prompts_and_targets_are_refused(make: Make) -> None:
    base = make("base", 0.5)
    with pytest.raises(NotComparable, match=r"solver is .* in one, .*system_message"):
        compared(base, make("brief", 0.5, system="Be brief"))
    with pytest.raises(NotComparable, match="epochs is 1 in one, 2 in the other"):
        compared(base, make("epochs", 0.5, epochs=2))
    with pytest.raises(NotComparable, match="targets of 20 of 20 items differ"):
        compared(base, make("shift", 0.5, shift=1), allow=True)
    with pytest.raises(NotComparable, match="no item is in both runs"):
        compared(base, make("ask", 0.5, ask="Write"))
    with pytest.raises(NotComparable, match=r"different harnesses .*lm-eval.*measure them with"):
        compared(base, made_lm_eval_output(base.parent / "lm", {"say": [1.0] * ITEMS}))


def test_damage_is_one_message_with_file_and_remedy(make: Make) -> None:
    base, other = make("base", 0.5), make("other", 0.5)
    file = next(other.glob("*.eval"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"\.eval: cannot be read .*restore the file, or run"):
        compared(base, other)
    file.write_bytes(whole)
    (other / f"again_{file.name}").write_bytes(whole)
    with pytest.raises(ValueError, match=r"say was measured twice.*give one file"):
        compared(base, other)
