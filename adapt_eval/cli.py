"""The `adapt-eval` command. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Benchmarks for fine-tuned models. So far it lists suites; running and comparing come.",
)


@app.callback()
def root() -> None:
    """Keeps the commands named when there is only one."""


@app.command(epilog="Examples: adapt-eval suites ; adapt-eval suites ood11 --json")
def suites(
    name: Annotated[str | None, typer.Argument(help="A suite's name, or a YAML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the suites, or the benchmarks of one: family, metric, shots, items, chance, needs."""
    import json
    from dataclasses import asdict

    from adapt_eval.suite import load_suite, suite_names

    if name is None:
        names = suite_names()
        typer.echo(json.dumps(names) if as_json else "\n".join(names))
        return
    suite = load_suite(name)
    if as_json:
        typer.echo(json.dumps(asdict(suite), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{suite.name}: {suite.note}")
    for column in ("task", "family", "metric", "shots", "items", "chance", "needs"):
        table.add_column(column)
    for one in suite.benchmarks:
        numbers = (str(one.shots), f"{one.items:,}", f"{one.chance:.2f}")
        table.add_row(one.task, one.family, one.metric, *numbers, ", ".join(one.needs))
    Console().print(table)


def main() -> None:
    """Console script. Exit codes: 0 ok, 1 failed, 2 usage or config."""
    try:
        app()
    except ValueError as error:
        typer.echo(f"adapt-eval: {error}", err=True)
        sys.exit(2)
