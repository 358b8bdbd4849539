"""Write docs/estimators.md: which estimator of gradient products each of Axolotl's example YAMLs
gets, of what `benchmarks/example_yamls.py` measured. `--check` fails when the page on disk is not
what this makes.

    python docs/estimators.py [--check]
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

from generated import FOLDER, write_or_check

from adapt_common.markdown import table

MEASURED = FOLDER / "measured" / "example_yamls.jsonl"
TEXT = """\
# The estimator of each example YAML

Written by `docs/estimators.py` from [measured/example_yamls.jsonl](measured/example_yamls.jsonl).
With `adapt.learned.measure: products`, which estimator of gradient products runs under Axolotl
0.19's example YAMLs ([estimators](architecture.md#estimators-of-gradient-products)).

Of each YAML we took what decides this: the family of the model, what is trained, LoRA kernels
(those that Axolotl switches on by itself on one GPU included), fused loss, compilation,
quantisation-aware training. Of that a tiny model with random weights was built from Transformers'
own classes, and a run's own choice decided, on a CPU: obstacles, the self-check against one
backward a task, and a training step that is read. `benchmarks/example_yamls.py` says what differs
from training. Two tasks, eight rows a step. The choice is not told how many tokens a step holds, so
`split_batches` always comes after the finite difference here. In a run whose micro-batches hold 512
tokens of a task, or more, and whose parameters are whole it comes first, so llama-4 with flex
attention, which stands as `finite_difference`, gets `split_batches`.

{summary}

The models of YAMLs that shard by FSDP2 were sharded over two processes, with the modules that
Axolotl makes units of it.
{sharded}
Nothing was sharded by ZeRO-3, where a trained head under a fused loss, experts, Mamba and layers
that quantise are not read; parameters had its mark, so that they are not read here either. The
YAMLs that train under it and get `in_backward` train adapters of linear layers, or embeddings and a
head: the patterns of Mixtral 8x22B's experts match no name in Transformers 5. These two, mixtral_22
and bigstral, do not start as they are: Axolotl's patch for them imports a class that Transformers 5
has no more.

The sinks of gpt-oss are left out of the direction
([what is left out](architecture.md#estimators-of-gradient-products)): 8 of the 61,296 trained
parameters of the tiny model, 1,536 of the 20.9 billion of gpt-oss-20b (24 layers of 64 heads). How
much of the direction they hold is asked for in a run; in the real model it was not measured. Mamba,
linear attention and short convolutions are read whole. On GPUs other kernels run in them, which was
not measured.

FSDP1 is refused for every task mixture. Parameters on the CPU under FSDP2, experts that are spread
over processes, and LISA, are refused for gradient products only
([what is refused](yaml_keys.md#what-is-refused)); their YAMLs stand as `refused`, and count as
accepted, not as `in_backward`. "Not built" is not known, and counts as not `in_backward` but in the
last line.

## Why not

{reasons}

## By YAML

{by_yaml}
"""
REFUSED = "a task mixture is refused"
ONLY_PRODUCTS = "gradient products are refused"


def main() -> int:
    lines = [json.loads(line) for line in MEASURED.read_text(encoding="utf-8").splitlines()]
    return write_or_check({"estimators.md": page(lines)}, __file__)


def page(lines: list[dict[str, Any]]) -> str:
    """The page of these YAMLs."""
    sft = [line for line in lines if "no_sft" not in line]
    accepted = [line for line in sft if "refused" not in line]
    built = [line for line in accepted if estimator_of(line)]
    sharded = [line for line in built if line["sharding"] == "fsdp2"]
    others = Counter(why(line) for line in sft if estimator_of(line) != "in_backward")
    return TEXT.format(
        summary=table(
            ("of", "YAMLs", "in_backward"),
            [
                _counted("all that fine-tune under supervision", sft),
                _counted("those of them that a task mixture accepts", accepted),
                _counted("those of these whose like could be built here", built),
            ],
            right=(1, 2),
        ),
        sharded=(
            f"{_read(sharded)} of the {len(sharded)} of them that are accepted and could be built "
            "here get `in_backward`."
        ),
        reasons=table(
            ("reason", "YAMLs"),
            [(reason, str(count)) for reason, count in sorted(others.items(), key=_by_count)],
            right=(1,),
        ),
        by_yaml=table(
            ("YAML", "family", "estimator", "shards by", "why"),
            [
                (
                    f"`{line['yaml']}`",
                    line["features"]["family"],
                    estimator_of(line) or "-",
                    line["sharding"] or "",
                    "" if estimator_of(line) == "in_backward" else why(line),
                )
                for line in sft
            ],
        ),
    )


def estimator_of(line: dict[str, Any]) -> str:
    """The estimator; `refused` where gradient products alone are, empty where there is none."""
    found: str = "refused" if "products_refused" in line else line.get("estimator", "")
    return found


def why(line: dict[str, Any]) -> str:
    """Why it does not get `in_backward`, without the names of modules."""
    if "refused" in line:
        key = line["refused"]
        if key in ("fsdp", "fsdp_config"):
            return f"{REFUSED}: FSDP1"
        more = " (images or sound)" if key == "skip_prepare_dataset" else ""
        return f"{REFUSED}: `{key}`{more}"
    if "products_refused" in line:
        return f"{ONLY_PRODUCTS}: `{line['products_refused']}`"
    reason = line["reason"]
    found = re.search(r"has no rule for ([^;]*)", reason)
    if found:
        kinds = {name.split(".")[-1] for name in found[1].split(", ")}
        return f"no rule for {', '.join(f'`{kind}`' for kind in sorted(kinds))}"
    found = re.search(r"because (.*?)(;|$)|does not fit this model \((.*?)\); using", reason)
    text = (found[1] or found[3]) if found else reason
    text = re.sub(
        r"share of \S+ belongs to no row: .*", "share of a module belongs to no row", text
    )
    text = re.sub(r"went around \d+ of \d+ modules, such as .*", "goes around modules", text)
    return text.split(". ")[0]


def _counted(name: str, lines: list[dict[str, Any]]) -> tuple[str, str, str]:
    read = _read(lines)
    return name, str(len(lines)), f"{read} ({read / len(lines):.0%})"


def _read(lines: list[dict[str, Any]]) -> int:
    return sum(estimator_of(line) == "in_backward" for line in lines)


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


if __name__ == "__main__":
    sys.exit(main())
