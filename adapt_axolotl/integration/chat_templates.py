"""Chat templates of a recipe's own that cannot be read. They are parsed and not run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

_KEY = "chat_template_jinja"


class _Generation(Extension):
    """Transformers' own tag, which marks the answers."""

    tags = {"generation"}  # noqa: RUF012 (as jinja2 has it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_mistakes(recipe: Mapping[str, Any]) -> list[str]:
    """What is wrong with each `chat_template_jinja:` that is used."""
    found = []
    for where, keys in _places(recipe):
        template = keys.get(_KEY)
        # With another chat_template: the key is not used.
        if isinstance(template, str) and keys.get("chat_template") in (None, "", "jinja"):
            wrong = _wrong(template)
            found += [] if wrong is None else [f"{where}{_KEY}: {wrong}"]
    return found


def _places(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", recipe
    for key in ("datasets", "test_datasets"):
        for number, entry in enumerate(recipe.get(key) or []):
            if isinstance(entry, Mapping):
                yield f"{key}[{number}].", entry


def _wrong(template: str) -> str | None:
    """Of a template, or of the file with one."""
    text, place = template, ""
    if os.path.isfile(template):
        place = f"{template}, "
        try:
            text = Path(template).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            return f"{template} cannot be read ({error}); correct the path, or the file"
    elif template.endswith(".jinja"):  # Axolotl would take the path for the template
        return f"there is no file {template}; correct the path"
    try:
        Environment(extensions=[_Generation, "jinja2.ext.loopcontrols"]).parse(text)
    except TemplateSyntaxError as error:
        said = str(error.message).rstrip(".")
        return f"{place}line {error.lineno} is no Jinja: {said}; correct it there"
    except RecursionError:
        return f"{place}is nested too deeply; write it flatter"
    return None
