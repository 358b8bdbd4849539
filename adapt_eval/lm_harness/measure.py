"""Ask a model the items of one benchmark and score its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lm_eval
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

from adapt_eval.lm_harness.patches import Progress, quiet, requests_to
from adapt_eval.lm_harness.rows import check_scale, metrics, row
from adapt_eval.lm_harness.seeds import SEEDS, seed_langdetect
from adapt_eval.lm_harness.tasks import Prepared
from adapt_eval.suite import Benchmark


@dataclass(frozen=True)
class Measured:
    """What came out of one benchmark.

    Attributes:
        score: the primary metric, exactly as lm-eval reports it, over the suite's scale of it.
        metrics: all that lm-eval reports, by its keys; for a group also `subtask/key`.
        rows: one mapping for each item and filter.
    """

    score: float
    metrics: Mapping[str, float]
    rows: Sequence[Mapping[str, Any]] = field(repr=False, default=())


def measure(
    model: LM, prepared: Prepared, limit: int | None, allow_code: bool, progress: Progress
) -> Measured:
    """Measure a benchmark. A prepared benchmark can be measured once.

    Args:
        limit: items of each task; None is all.
        allow_code: whether programs that the model writes may be run.
        progress: called with the requests answered so far and their total.

    Raises:
        ValueError: lm-eval does not report the suite's metric, or ignored its shots; the model's
            context leaves no room for a prompt beside the answers.
    """
    benchmark = prepared.benchmark
    check_room(benchmark, prepared.leaves, model)
    seed_langdetect()
    with quiet(), requests_to(progress):
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=[prepared.name],
            task_manager=prepared.manager,
            num_fewshot=benchmark.shots,
            limit=limit,
            bootstrap_iters=0,
            apply_chat_template=prepared.template,
            fewshot_as_multiturn=prepared.multiturn,
            confirm_run_unsafe_code=allow_code,
            random_seed=SEEDS["random"],
            numpy_random_seed=SEEDS["numpy"],
            torch_random_seed=SEEDS["torch"],
            fewshot_random_seed=SEEDS["fewshot"],
        )
    assert results is not None
    _check_shots(benchmark, prepared.leaves)
    found = metrics(results["results"], set(prepared.leaves))
    if benchmark.metric not in found:
        known = sorted({key.rsplit("/", 1)[-1] for key in found})
        raise ValueError(
            f"{benchmark.task}: no metric {benchmark.metric!r}; lm-eval reports "
            f"{', '.join(known)}. Change `metric:` in the suite"
        )
    rows = [row(benchmark, leaf, one) for leaf, many in results["samples"].items() for one in many]
    check_scale(benchmark, rows)
    return Measured(found[benchmark.metric] / benchmark.scale, found, rows)


def check_room(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask], model: LM) -> None:
    """Prompt and answer share the model's context.

    Raises:
        ValueError: the answers alone may fill it.
    """
    context = getattr(model, "max_length", None)
    for leaf in leaves.values():
        if leaf.OUTPUT_TYPE != "generate_until" or context is None:
            continue
        asked = leaf.config.generation_kwargs or {}
        tokens = asked.get("max_gen_toks", getattr(model, "max_gen_toks", 0))
        if tokens >= context:
            raise ValueError(
                f"{benchmark.task}: answers may take {tokens} tokens and the model's whole context "
                f"is {context}; take a model with a longer one, or --skip {benchmark.task}"
            )


def _check_shots(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask]) -> None:
    for leaf in leaves.values():
        if (leaf.config.num_fewshot or 0) != benchmark.shots:
            raise ValueError(
                f"{benchmark.task}: lm-eval's task fixes {leaf.config.num_fewshot} shots, the "
                f"suite says {benchmark.shots}; change the suite"
            )
