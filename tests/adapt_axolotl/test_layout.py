"""Which folder may import what: no circle, and one folder alone at Axolotl and Trainer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "adapt_axolotl"

# From the bottom up: a folder imports those before it, never those behind.
FLOORS = (
    "data",
    "mixture",
    "metagradient",
    "budget",
    "sampling",
    "config",
    "recipe",
    "records",
    "meta_step",
    "run",
    "integration",
    "trainer",
    "commands",
)
# What breaks with a release of somebody else. Models and tokenizers of Transformers are public.
INTERNALS = re.compile(
    r"(axolotl|accelerate|trl|deepspeed)(\.|$)"
    r"|transformers\.(trainer|training_args|integrations|modeling_layers|optimization)"
)
TRAINER_NAMES = re.compile(r"Trainer|TrainingArguments|set_seed|get_scheduler")
MAY_IMPORT = {
    "data": {"numpy", "datasets"},
    "mixture": {"numpy", "scipy"},
    "metagradient": {"torch"},
    "budget": {"numpy", "torch"},
    "sampling": {"numpy", "torch"},
    "meta_step": {"numpy", "torch"},
    "run": {"numpy"},
}
STANDARD = {"adapt_axolotl", "adapt_common"}


def files(repository: Path) -> list[Path]:
    return sorted((repository / PACKAGE).rglob("*.py"))


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import of a file, also those inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a name comes from"
            yield from ((node.module or "", alias.name) for alias in node.names)


def folder_of(file: Path, repository: Path) -> str:
    return file.relative_to(repository / PACKAGE).parts[0].removesuffix(".py")


def test_every_folder_imports_only_floors_below_it(repository: Path) -> None:
    for file in files(repository):
        own = folder_of(file, repository)
        if own == "__init__":
            continue
        for module, _ in imports(file):
            if module.startswith(f"{PACKAGE}."):
                other = module.split(".")[1]
                assert FLOORS.index(other) <= FLOORS.index(own), f"{file} imports {module}"


def test_no_file_imports_itself_through_others(repository: Path) -> None:
    """Imports inside functions and for types included."""
    paths = [*files(repository), *(repository / "adapt_eval").rglob("*.py")]
    modules = {".".join(file.relative_to(repository).with_suffix("").parts) for file in paths}
    graph: dict[str, set[str]] = {}
    for file in paths:
        own = ".".join(file.relative_to(repository).with_suffix("").parts)
        found = {name for pair in imports(file) for name in (pair[0], ".".join(pair))}
        graph[own] = found & modules
    list(TopologicalSorter(graph).static_order())  # CycleError names the files


def test_compat_alone_imports_internals_of_axolotl_and_trainer(repository: Path) -> None:
    strays = []
    for file in files(repository):
        for module, name in imports(file):
            trainer = module == "transformers" and TRAINER_NAMES.search(name)
            if INTERNALS.match(module) or trainer:
                strays.append(f"{file.relative_to(repository)}: {module} {name}".strip())
    assert strays == []


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_the_core_imports_only_what_any_training_loop_has(folder: str, repository: Path) -> None:
    import sys

    allowed = MAY_IMPORT[folder] | STANDARD | sys.stdlib_module_names
    for file in (repository / PACKAGE / folder).rglob("*.py"):
        found = {module.split(".")[0] for module, _ in imports(file)}
        assert found <= allowed, f"{file} imports {', '.join(sorted(found - allowed))}"


def test_adapt_eval_and_adapt_common_do_not_import_the_plugin(repository: Path) -> None:
    for package in ("adapt_eval", "adapt_common"):
        for file in (repository / package).rglob("*.py"):
            assert not [module for module, _ in imports(file) if module.startswith(PACKAGE)], file


def test_what_tests_share_is_no_test(repository: Path) -> None:
    for file in (repository / "tests").rglob("*.py"):
        for module, _ in imports(file):
            assert not re.match(r"tests\..*\btest_", module), f"{file} imports {module}"
