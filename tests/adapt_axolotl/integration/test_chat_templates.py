"""A chat template that Jinja cannot read is told before training, and none is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapt_axolotl.integration.chat_templates import template_mistakes

GOOD = """{% for message in messages %}
{% if loop.first %}{{ bos_token }}{% endif %}
{%- if message.role == 'assistant' %}{% generation %}{{ message.content }}{% endgeneration %}
{%- else %}{{ message.content }}{% continue %}{% endif %}
{% endfor %}"""
UNCLOSED = "{% for message in messages %}\n{{ message.content }}\n"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"chat_template_jinja": GOOD}, []),
        ({"chat_template": "chatml", "chat_template_jinja": "{{ unused"}, []),
        ({"chat_template_jinja": "{{ raise_exception('x' * 10**10) }}"}, []),  # not run
        (
            {"chat_template": "jinja", "chat_template_jinja": "a\n{{ b }\n"},
            ["chat_template_jinja: line 2 is no Jinja: unexpected '}'; correct it there"],
        ),
        (
            {"datasets": [{}, {"chat_template_jinja": "{% generate %}"}]},
            ["datasets[1].chat_template_jinja: line 1 is no Jinja: Encountered unknown tag"],
        ),
        (
            {"chat_template_jinja": "bad.jinja"},
            ["chat_template_jinja: bad.jinja, line 2 is no Jinja: Unexpected end of template"],
        ),
        (
            {"chat_template_jinja": "none.jinja"},
            ["chat_template_jinja: there is no file none.jinja; correct the path"],
        ),
        ({"chat_template_jinja": "{{" + "(" * 100_000}, ["chat_template_jinja: is nested too"]),
    ],
)
def test_a_template_that_cannot_be_read_is_told_with_its_key_and_line(
    keys: dict[str, Any], says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.jinja").write_text(UNCLOSED)
    found = template_mistakes(keys)
    assert len(found) == len(says)
    for mistake, part in zip(found, says, strict=True):
        assert mistake.startswith(part)
