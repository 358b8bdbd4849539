"""Whether a benchmark's metric can be compared item by item, before a model is asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from adapt_eval.suite import Benchmark

_TRIED = (0.0, 1.0, 1.0, 0.5)


def check_metric(benchmark: Benchmark, leaves: Mapping[str, ConfigurableTask]) -> None:
    """A comparison pairs the scores of items, so the metric has to be their mean, and more of it
    better. A metric that a task does not declare is one that lm-eval averages.

    Args:
        leaves: name -> task, without groups.

    Raises:
        ValueError: the metric is none of that.
    """
    name = benchmark.metric.rsplit(",", 1)[0]
    for leaf in leaves.values():
        declared = leaf.aggregation()
        if name not in declared:
            continue
        remedy = "; change `metric:` in the suite, or leave the benchmark out"
        if not _is_mean(declared[name]):
            means = sorted(
                one
                for one, function in declared.items()
                if _is_mean(function) and leaf.higher_is_better().get(one) is not False
            )
            how = getattr(declared[name], "__name__", "a function of its own")
            others = f"; there is {', '.join(means)}" if means else ""
            raise ValueError(
                f"{benchmark.task}: {name} is no mean over items (lm-eval takes {how} of all of "
                f"them), so runs cannot be compared item by item{others}{remedy}"
            )
        if leaf.higher_is_better().get(name) is False:
            raise ValueError(
                f"{benchmark.task}: less of {name} is better, and a comparison takes more for "
                f"better{remedy}"
            )


def _is_mean(aggregation: Callable[[list[Any]], Any]) -> bool:
    """By trying it: tasks bring functions of their own, and some of them are means."""
    try:
        found = aggregation(list(_TRIED))
    except (TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError):
        return False  # it wants something else than a number for each item
    return isinstance(found, int | float) and math.isclose(found, sum(_TRIED) / len(_TRIED))
