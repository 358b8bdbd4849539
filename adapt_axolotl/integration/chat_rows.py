"""What is wrong with conversations, read as Axolotl's type chat_template reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from adapt_axolotl.integration.row_types import messages_column

# Axolotl's names for roles, where an entry has no roles: of its own.
_ROLES = {"human": "user", "gpt": "assistant"}
# Keys of an entry that choose what is trained by something else than the role.
_CHOSEN_BY_MESSAGE = ("message_field_training", "message_field_training_detail")

Message = Mapping[str, Any]


def conversations(entry: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> list[Message]:
    """All messages of some rows, as far as they are messages."""
    found: list[Message] = []
    for row in rows:
        value = _decoded(row.get(messages_column(entry)))
        if isinstance(value, list):
            found += [one for one in value if isinstance(one, Mapping)]
    return found


def without_messages(
    entry: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> list[tuple[int, str]]:
    """The rows at which Axolotl stops because they hold no list of messages: the number of each,
    from 0, and what is wrong with it."""
    column = messages_column(entry)
    wrong = ((number, _no_messages(row.get(column))) for number, row in enumerate(rows))
    return [(number, f"{column} {text}") for number, text in wrong if text is not None]


def _no_messages(value: Any) -> str | None:
    if value is None:
        return "is null or missing"
    decoded = _decoded(value)
    if decoded is None:
        return "is text that is not JSON"
    if decoded == []:
        return "has no message"
    if isinstance(decoded, list):
        others = [one for one in decoded if not isinstance(one, Mapping)]
        return f"holds {others[0]!r:.80}, which is no message" if others else None
    # Axolotl goes on with one message in place of a list.
    if isinstance(value, Mapping):
        return None
    return f"is {decoded!r:.80} and no list of messages"


def _decoded(value: Any) -> Any:
    """Messages may be kept as JSON in text; None where it is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def without_roles(entry: Mapping[str, Any], messages: list[Message]) -> str | None:
    """No message says who speaks, at which Axolotl stops."""
    key = _property(entry, "role")
    keys = sorted({name for one in messages for name, value in one.items() if value is not None})
    if not messages or key in keys or "role" in keys:
        return None
    sharegpt = {"from", "value"} <= set(keys)
    meant = "role: from, content: value" if sharegpt else "role: ..., content: ..."
    return (
        f"no message has the key {key}, which says who speaks; the keys are {', '.join(keys)}: set "
        f"message_property_mappings: {{{meant}}}"
    )


def without_trained_role(entry: Mapping[str, Any], messages: list[Message]) -> str | None:
    """No message has a role that is trained on, so there is nothing to learn."""
    if not messages or _chosen_otherwise(entry, messages):
        return None
    if any(_trained(entry, one) for one in messages):
        return None
    return (
        f"no message has a role of roles_to_train ({', '.join(_asked(entry))}); the roles are "
        f"{', '.join(_roles_seen(entry, messages))}: correct roles_to_train:, or name under roles: "
        "what each of them stands for"
    )


def without_answers(entry: Mapping[str, Any], messages: list[Message]) -> str | None:
    """Messages to learn from, all of them empty."""
    if _chosen_otherwise(entry, messages):
        return None
    role = _property(entry, "role")
    trained = [one for one in messages if _trained(entry, one)]
    content = [value for one in trained for key, value in one.items() if key not in (role, "role")]
    if not trained or any(content):
        return None
    return f"every message of {', '.join(_roles_seen(entry, trained))} is empty"


def _trained(entry: Mapping[str, Any], message: Message) -> bool:
    asked = _asked(entry)
    meant = {_meaning(entry, role) for role in asked}
    role = str(message.get(_property(entry, "role"), message.get("role")))
    return role in asked or _meaning(entry, role) in meant


def _asked(entry: Mapping[str, Any]) -> list[str]:
    asked = entry.get("roles_to_train")
    return [str(role) for role in (["assistant"] if asked is None else asked)]


def _roles_seen(entry: Mapping[str, Any], messages: list[Message]) -> list[str]:
    key = _property(entry, "role")
    roles = (one.get(key, one.get("role")) for one in messages)
    return list(dict.fromkeys(str(role) for role in roles if role is not None))


def _meaning(entry: Mapping[str, Any], role: str) -> str:
    """The role that Axolotl takes a name for."""
    own = entry.get("roles")
    if not isinstance(own, Mapping) or not own:
        return _ROLES.get(role, role)
    return {str(name): str(target) for target, names in own.items() for name in names or ()}.get(
        role, role
    )


def _chosen_otherwise(entry: Mapping[str, Any], messages: list[Message]) -> bool:
    """Whether what is trained may not follow from the roles alone."""
    asked = entry.get("roles_to_train")
    return (
        not (asked is None or (isinstance(asked, list) and asked))
        or "all" in (entry.get("train_on_eos"), entry.get("train_on_eot"))
        or any(entry.get(key) for key in _CHOSEN_BY_MESSAGE)
        # Parts of a message may say so themselves.
        or any(isinstance(value, list) for one in messages for value in one.values())
    )


def _property(entry: Mapping[str, Any], name: str) -> str:
    """The key of a message that holds its role or its content."""
    mapped = entry.get("message_property_mappings")
    mapped = mapped if isinstance(mapped, Mapping) else {}
    return str(mapped.get(name) or entry.get(f"message_field_{name}") or name)
