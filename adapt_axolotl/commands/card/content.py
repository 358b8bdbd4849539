"""The text of a recipe card: Markdown with the YAML header of a model card."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from adapt_axolotl.commands.card.evaluation import comparison, header, scores, table
from adapt_axolotl.commands.show import markdown_table
from adapt_axolotl.config.methods import SOURCES
from adapt_axolotl.recipe.names import is_hub_name, task_name
from adapt_axolotl.records.effects import LEGEND, TITLE, effects_table, read_effects, summary
from adapt_axolotl.records.provenance import PLUGIN
from adapt_axolotl.records.read import FinishedRun
from adapt_axolotl.records.stands_out import stands_out
from adapt_eval.comparison.run import Run


def card(
    run: FinishedRun, recipe: str, measured: Mapping[str, Run], twin: FinishedRun | None
) -> str:
    """The card.

    Args:
        run: what it is about.
        recipe: the run's recipe as it is shared, beside the card.
        measured: suite -> benchmark results of the run.
        twin: a run to compare with, or None.
    """
    raw = yaml.safe_load(recipe)
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    parts = [
        f"---\n{_header(run, raw, measured)}\n---",
        f"# {run.name}",
        _summary(run, raw),
        f"## Recipe\n\n[recipe.yml](recipe.yml), sha256 `{digest}`:",
        f"<details><summary>show it</summary>\n\n{_fenced(recipe)}\n\n</details>",
        f"## Data and budget\n\n{_data(run, raw)}",
        f"## Mixture\n\n{_mixture(run)}",
    ]
    if (effects := read_effects(run.folder)) is not None:
        columns, rows = effects_table(effects)
        told = table(columns, rows, set(range(1, len(columns))))
        parts.append(f"## {TITLE}\n\n{told}\n\n{LEGEND}\n\n{summary(effects)}")
    if measured:
        parts.append("## Benchmarks")
        parts += [scores(one) for one in measured.values()]
    if twin is not None:
        parts.append(_twin(run, twin))
    parts.append(f"## Reproduce\n\n{_reproduce(run)}")
    return "\n\n".join(parts) + "\n"


def _header(run: FinishedRun, raw: Mapping[str, Any], measured: Mapping[str, Run]) -> str:
    data = ModelCardData(
        base_model=_on_the_hub([raw.get("base_model")]),
        datasets=_on_the_hub(entry["path"] for entry in raw["datasets"]),
        library_name="peft" if raw.get("adapter") else "transformers",
        pipeline_tag="text-generation",
        tags=["axolotl", "adapt", "task-mixture", f"mixture-{run.config['mixture']}"],
        model_name=run.name,
        eval_results=[result for one in measured.values() for result in header(one)] or None,
    )
    return data.to_yaml().rstrip()


def _on_the_hub(names: Iterable[Any]) -> list[str] | None:
    """Those that name a repository of the hub, None if none does: a header must not link to a
    local folder."""

    every = dict.fromkeys(map(str, names))
    return [name for name in every if "/" in name and is_hub_name(name)] or None


def _summary(run: FinishedRun, raw: Mapping[str, Any]) -> str:
    ledger, names = run.ledger, run.config["tasks"]
    mixture = run.config["mixture"]
    source = SOURCES.get(mixture, "ADAPT, arXiv 2512.04555")
    in_steps = f", in {run.meta_steps:,} meta steps" if run.meta_steps else ""
    how = (
        f"The mixture of its {len(names)} tasks was learned while it trained{in_steps} ({source})."
        if run.learned
        else f"It trained on {len(names)} tasks in a fixed mixture ({mixture})."
    )
    if before := ledger.get("tokens_spent_before"):
        how += f" The runs that this mixture comes from took {before:,} supervised tokens more."
    begun = (
        "Trained from random weights with the architecture of"
        if raw.get("reinit_weights")
        else "Fine-tuned from"
    )
    return (
        f"{begun} `{raw.get('base_model')}`, on {ledger['used']:,} supervised tokens, with "
        "[Axolotl](https://github.com/axolotl-ai-cloud/axolotl) and its plugin adapt-axolotl. "
        f"{how} {stands_out(run.history)}"
    ).strip()


def _data(run: FinishedRun, raw: Mapping[str, Any]) -> str:
    ledger = run.ledger
    sources: dict[str, list[str]] = {}
    for entry in raw["datasets"]:
        files = entry.get("data_files") or entry["path"]
        for file in files if isinstance(files, list) else [files]:
            sources.setdefault(task_name(entry), []).append(f"`{file}`")
    rows = [
        (
            name,
            ", ".join(dict.fromkeys(sources.get(name, []))),
            f"{task['rows']:,}",
            f"{task['available']:,}",
            f"{task['tokens']:,}",
            f"{task['repeats']:.2f}",
            _loss(task["first_validation_loss"]),
            _loss(task["last_validation_loss"]),
        )
        for name, task in ledger["tasks"].items()
    ]
    losses = ("first loss", "last loss")
    columns = ("task", "data", "rows", "tokens in them", "tokens trained on", "repeats", *losses)
    meta = ""
    if ledger["meta_tokens"]:
        charged = "are part of the budget" if ledger["meta_tokens_charged"] else "come on top"
        meta = f" Meta steps read {ledger['meta_tokens']:,} tokens, which {charged}."
    return (
        f"The budget was {ledger['budget']:,} supervised tokens (labels other than -100). "
        f"Training used {ledger['used']:,} of them in {ledger['steps']:,} optimizer steps.{meta}"
        "\n\nRows and tokens are those of the training data, without the rows held out for "
        "validation; repeats are passes over the rows; losses are validation losses per "
        f"supervised token.\n\n{table(columns, rows, {*range(2, 8)})}"
    )


def _mixture(run: FinishedRun) -> str:
    used = max(1, run.ledger["used"])
    rows = [
        (
            name,
            f"{run.mixture['average'][name]:.1%}",
            f"{run.mixture['final'][name]:.1%}",
            f"{run.ledger['tasks'][name]['tokens'] / used:.1%}",
        )
        for name in run.mixture["final"]
    ]
    plot = (
        "![Shares of the tasks over the tokens trained on](mixture.png)\n\n" if run.history else ""
    )
    columns = ("task", "average share", "final share", "share of the tokens trained on")
    return plot + table(columns, rows, {1, 2, 3})


def _twin(run: FinishedRun, twin: FinishedRun) -> str:
    recipes = [_flat(yaml.safe_load(one.recipe)) for one in (run, twin)]
    keys = dict.fromkeys([*recipes[0], *recipes[1]])
    differ = [f"`{key}`" for key in keys if recipes[0].get(key) != recipes[1].get(key)]
    parts = [
        f"## Against {twin.name}\n\nThe same tasks with `mixture: {twin.config['mixture']}`. The "
        f"recipes differ in {', '.join(differ) or 'nothing'}. This is one run of each: with "
        "another seed the numbers change too, so small differences mean little.",
        markdown_table([twin.folder, run.folder]),
        *comparison(twin, run),
    ]
    return "\n\n".join(parts)


def _flat(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Top-level keys, and those of the `adapt:` block one by one."""
    block = {f"adapt.{key}": value for key, value in raw["adapt"].items()}
    return block | {key: value for key, value in raw.items() if key != "adapt"}


def _reproduce(run: FinishedRun) -> str:
    commands = [*_install(run), "# Then, where recipe.yml is:", "axolotl train recipe.yml"]
    if run.learned and run.moved:
        commands += [
            "# The mixture that was learned, as the fixed weights of a recipe:",
            "adapt-axolotl freeze OUTPUT_DIR -o static.yml",
        ]
    versions = ", ".join(f"{name} {one}" for name, one in run.config["versions"].items() if one)
    git = run.config["git"]
    commit = ""
    if git is not None:
        changed = ", with uncommitted changes" if git["dirty"] else ""
        commit = f" It was started in a repository at commit `{git['commit']}`{changed}."
    processes = run.config["processes"]
    return (
        f"{_fenced(chr(10).join(commands), 'bash')}\n\n"
        f"The run had seed {run.config['seed']} and {processes} "
        f"process{'es' * (processes != 1)}.{commit} Versions: {versions}."
    )


def _install(run: FinishedRun) -> list[str]:
    """Lines that install what the run ran with. adapt-axolotl is on no package index."""
    versions, source = run.config["versions"], run.config.get("plugin")
    # Without the local part of a build, as in 2.9.1+cpu, which an index does not have.
    pins = [
        f"{name}=={one.partition('+')[0]}"
        for name, one in versions.items()
        if one and name != PLUGIN
    ]
    if source is not None and source["url"] is not None:
        address = f'"{PLUGIN} @ git+{source["url"]}@{source["commit"]}"'
        return [" ".join(["pip install", address, *pins])]
    lines = [
        f"# {PLUGIN} {versions[PLUGIN]} is not on a package index; in a clone of its repository:"
    ]
    if source is not None:
        changed = "   # the run had uncommitted changes on top" if source["dirty"] else ""
        lines.append(f"git checkout {source['commit']}{changed}")
    return [*lines, " ".join(["pip install -e .", *pins])]


def _fenced(text: str, language: str = "yaml") -> str:
    """A code block; its fence is longer than any in the text."""
    ticks = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _loss(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
