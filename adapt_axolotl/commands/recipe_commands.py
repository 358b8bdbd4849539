"""The commands that read a recipe: init, twin, plan, validate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from adapt_axolotl.commands.new_file import NewFile, print_or_write

TwinMixture = Literal["uniform", "proportional", "temperature", "round_robin"]


def twin(
    recipe: Annotated[
        Path,
        typer.Argument(help="An ADAPT recipe, or the output directory of a run.", exists=True),
    ],
    mixture: Annotated[TwinMixture, typer.Option(help="The static mixture of the twin.")],
    output: NewFile = None,
) -> None:
    """Write the static twin of a recipe, to compare with: another mixture and output_dir, the same
    budget, data, seed and everything else."""
    from adapt_axolotl.commands.twin import recipe_of, static_twin

    try:
        made = static_twin(recipe_of(recipe), mixture)
    except ValueError as error:
        raise ValueError(f"{recipe}: {error}") from error
    print_or_write(made.text, output)
    for line in made.changed:
        typer.echo(f"changed  {line}", err=True)
    for key in made.shared:
        typer.echo(f"the same {key}: give the twin one of its own, or remove it", err=True)


def init(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="An Axolotl YAML that trains on several datasets.", exists=True, dir_okay=False
        ),
    ],
    output: NewFile = None,
    token_budget: Annotated[
        str | None,
        typer.Option(help="Supervised tokens to train on: a share, or a number. Default: 5%."),
    ] = None,
) -> None:
    """Turn an Axolotl YAML into an ADAPT recipe: lines are added, none is changed.

    Adds the plugin, its trainer, the `adapt:` block and a task name to each dataset, and says what
    was there already and which keys mean something else here.
    """
    from adapt_axolotl.commands.init import adapt_recipe

    try:
        done = adapt_recipe(recipe.read_bytes().decode(), token_budget)
    except ValueError as error:
        raise ValueError(f"{recipe}: {error}") from error
    print_or_write(done.text, output)
    for line in done.added:
        typer.echo(f"added    {line}", err=True)
    for line in done.present:
        typer.echo(f"present  {line}", err=True)
    for line in done.meanings:
        typer.echo(f"note     {line}", err=True)


def plan(
    recipe: Annotated[Path, typer.Argument(help="An ADAPT recipe.", exists=True, dir_okay=False)],
    processes: Annotated[
        int, typer.Option(min=1, help="Number of processes (GPUs) that will train together.")
    ] = 1,
    gpu: Annotated[
        float | None,
        typer.Option(min=0, help="Memory of a GPU in GiB: estimate whether a process fits it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast a run: tasks, tokens, optimizer steps, how often rows repeat, what meta steps and
    validation losses cost, and warnings; with --gpu also the memory of a process.

    Tokenises the data and keeps it for training; loads no model and needs no GPU. `validate` is
    quicker and lists all mistakes; this command stops at the first.
    """
    import contextlib
    import json
    from dataclasses import asdict

    # Axolotl logs to stdout, which is for the plan.
    with contextlib.redirect_stdout(sys.stderr):
        from adapt_axolotl.commands.preview.forecast import forecast
        from adapt_axolotl.commands.preview.notes import notes
        from adapt_axolotl.commands.preview.table import plan_table
        from adapt_axolotl.commands.preview.warnings import warnings
        from adapt_axolotl.integration.recipe_config import planned_run

        planned = planned_run(recipe, processes)
        run = forecast(planned.plan, planned.tasks, planned.spec.adapt, planned.meta)
    told = notes(run, planned.spec.sequence_len)
    found = [*planned.here, *warnings(run, planned.spec.sequence_len)]
    content = {**asdict(run), "notes": told, "warnings": found}
    if gpu is not None:
        from adapt_axolotl.commands.preview.memory import estimated_memory, step_shape
        from adapt_axolotl.commands.preview.memory_note import memory_note

        with contextlib.redirect_stdout(sys.stderr):
            memory = estimated_memory(planned, processes)
        told.append(memory_note(memory, gpu, step_shape(planned)))
        content["memory"] = asdict(memory)
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    from rich.console import Console

    Console().print(plan_table(run, told, found, recipe.name))


def validate(
    recipes: Annotated[list[Path], typer.Argument(help="ADAPT recipes.")],
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept what a recipe could do beyond training: remote_code, plugins, imports, "
            "paths, uploads, or all; repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check recipes without running anything that they name.

    Lists all mistakes at once, in keys, tasks, files and the first rows of local files; what a
    stranger's recipe could do beyond training; and the licences of datasets on the hub. Exit code
    0: all are accepted; 2: one is not.
    """
    import contextlib
    import json
    from dataclasses import asdict

    with contextlib.redirect_stdout(sys.stderr):  # Axolotl logs to stdout
        from adapt_axolotl.commands.validate import validate as judge

        found = [judge(recipe, allow or ()) for recipe in recipes]
    if as_json:
        typer.echo(json.dumps([{**asdict(one), "passed": one.passed} for one in found], indent=2))
    else:
        typer.echo("\n".join(line for one in found for line in one.lines()))
    if not all(one.passed for one in found):
        raise typer.Exit(2)
