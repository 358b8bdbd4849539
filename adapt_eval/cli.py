"""The `adapt-eval` command. Heavy imports stay inside the commands, so that --help is quick.

stdout is data, stderr is talk. Options come from the flag, else the environment
(ADAPT_EVAL_<COMMAND>_<OPTION>), else the file that --config names, else the default.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from adapt_common.argument_help import with_argument_help
from adapt_eval.comparing_commands import compare, overlap, report
from adapt_eval.errors import (
    FAILED,
    INTERRUPTED,
    NOT_COMPARABLE,
    USAGE,
    NotComparable,
    RunFailed,
)
from adapt_eval.measuring_commands import fetch, run, suites


def _examples(*commands: str) -> str:
    """The end of a help text, one command a line."""
    return "\b\nExamples:\n" + "\n".join(f"  adapt-eval {one}" for one in commands)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "ADAPT_EVAL", "help_option_names": ["-h", "--help"]},
    help="Measure fine-tuned models on benchmarks and compare runs with statistical tests.",
    epilog=_examples(
        "run runs/adapt --data-root mirror --allow-code-execution",
        "compare runs/uniform runs/adapt",
    ),
)


def _version(wanted: bool) -> None:
    """Of this package, and of lm-eval, which measures."""
    if wanted:
        from adapt_common.provenance import package_versions

        found = package_versions(("adapt-axolotl", "adapt-eval", "lm_eval"))
        ours = found["adapt-axolotl"] or found["adapt-eval"]
        measures = f"lm-eval {found['lm_eval']}" if found["lm_eval"] else "compares only"
        typer.echo(f"adapt-eval {ours} ({measures})")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show tracebacks and the libraries' logs.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="YAML file of options: {run: {limit: 100}, ...}.")
    ] = None,
) -> None:
    """Reads what holds for all commands."""
    if debug:
        import logging

        os.environ["ADAPT_EVAL_DEBUG"] = "1"
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("adapt_eval").setLevel(logging.DEBUG)
    if config is not None:
        context.default_map = _options_file(config, context)


# In the order of --help.
app.command(epilog=_examples("suites", "suites ood11 --json"))(suites)
app.command(
    epilog=_examples(
        "run runs/adapt --data-root mirror --allow-code-execution",
        "run runs/adapt --suite tiny --allow-code-execution",
        "run org/model --limit 100 --skip humaneval --skip mbpp",
    )
)(run)
app.command(
    epilog=_examples(
        "compare runs/uniform runs/adapt",
        "compare uniform=runs/u1,runs/u2 adapt=runs/a1,runs/a2 --json",
        "compare old new --fail-on regression",
        "compare uniform=runs/u1,runs/u2 adapt=runs/a1,runs/a2 --plan --smallest-effect 0.02",
    )
)(compare)
app.command(
    epilog=_examples(
        "report runs/uniform runs/adapt",
        "report uniform=runs/uniform adapt=runs/adapt --output adapt.html --charts charts",
    )
)(report)
app.command(epilog=_examples("overlap runs/adapt", "overlap runs/adapt --train data"))(overlap)
app.command(epilog=_examples("fetch mirror", "fetch mirror --suite mine.yaml"))(fetch)


def _options_file(file: Path, context: typer.Context) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"--config {file}: cannot be read: {error}") from error
    assert isinstance(context.command, typer.core.TyperGroup)
    commands = context.command.commands
    if not isinstance(content, dict):
        raise ValueError(f"--config {file}: a mapping of commands to options")
    for name, options in content.items():
        if name not in commands:
            raise ValueError(f"--config {file}: no command {name!r}; {', '.join(commands)}")
        known = {one.name for one in commands[name].params}
        if unknown := sorted(set(options or {}) - known):
            raise ValueError(f"--config {file}: {name} has no option {', '.join(unknown)}")
    return content


def main() -> None:
    """Console script. 0 ok, 1 failed, 2 usage, 3 gate failed, 4 not comparable, 130 interrupted."""
    from click import ClickException

    try:
        code = with_argument_help(typer.main.get_command(app))(standalone_mode=False)
    except NotComparable as error:
        _fail(str(error), NOT_COMPARABLE)
    except RunFailed as error:
        _fail(str(error), FAILED)
    except ValueError as error:
        _fail(str(error), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except ClickException as error:
        _fail(error.format_message(), USAGE)
    except OSError as error:
        _fail(f"{error}; see to the file, or give another place", FAILED)
    if code == INTERRUPTED:
        _fail("interrupted; finished benchmarks are kept, the same command continues", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    if os.environ.get("ADAPT_EVAL_DEBUG"):
        import traceback

        traceback.print_exc()
    typer.echo(f"adapt-eval: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
