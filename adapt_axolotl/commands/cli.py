"""The `adapt-axolotl` command. Heavy imports stay inside the commands, so that --help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from adapt_axolotl.commands.data_commands import prepare, tiny
from adapt_axolotl.commands.ending import fail
from adapt_axolotl.commands.recipe_commands import init, plan, twin, validate
from adapt_axolotl.commands.run_commands import card, effects, freeze, rows, show
from adapt_common.argument_help import with_argument_help

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tools around ADAPT runs. Training itself is `axolotl train RECIPE`.",
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from adapt_common.provenance import package_versions

    ours, axolotl = package_versions(("adapt-axolotl", "axolotl")).values()
    beside = "axolotl is not installed" if axolotl is None else f"axolotl {axolotl}"
    typer.echo(f"adapt-axolotl {ours} ({beside})")
    raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, help="Print versions.")
    ] = False,
) -> None:
    """What stands before a command."""


# In the order of --help, each with an example.
_COMMANDS = (
    (tiny, "tiny data/tiny"),
    (show, "show runs/adapt_tiny_cpu runs/uniform_tiny_cpu"),
    (freeze, "freeze runs/adapt_tiny_cpu -o frozen.yml"),
    (rows, "rows runs/my_adapt -o rows.jsonl"),
    (effects, "effects runs/my_adapt --rows 128"),
    (twin, "twin my_adapt.yml --mixture uniform -o my_uniform.yml"),
    (init, "init my.yml -o my_adapt.yml --token-budget 10%"),
    (plan, "plan recipes/adapt_tiny_cpu.yml"),
    (card, "card runs/adapt_tiny_cpu --twin runs/uniform_tiny_cpu"),
    (validate, "validate recipes/adapt_tiny_cpu.yml theirs.yml --allow uploads"),
)
for _command, _example in _COMMANDS:
    app.command(epilog=f"Example: adapt-axolotl {_example}")(_command)
app.add_typer(prepare, name="prepare")


def main() -> None:
    """Console script. 0 done, 1 the machine or the network failed, 2 a mistake in what was asked
    for, 130 interrupted; errors are one message, without a traceback."""
    from click import ClickException

    try:
        code = with_argument_help(typer.main.get_command(app))(standalone_mode=False)
    except ClickException as error:
        if error.format_message():  # none where the help was shown instead
            fail(error.format_message(), 2)
        code = 2
    except ValueError as error:
        fail(str(error), 2)
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        fail(f"{error.filename}: {error.strerror}; correct the path that was given", 2)
    except OSError as error:
        fail(f"{error}; see to the file or the network and try again", 1)
    except (KeyboardInterrupt, typer.Abort):
        fail("interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
