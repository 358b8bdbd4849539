"""Change a few keys in the text of a recipe; everything else stays byte for byte.

A YAML library would write the whole file anew, without its comments. Here PyYAML says where things
stand, and text is inserted or replaced there. The changed text is loaded again and must say exactly
what was asked for: no odd shape of YAML can be changed into something else.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml


def repeated_keys(text: str) -> list[str]:
    """A sentence for each key that stands twice in one block of a YAML text: the last one counts,
    without a word.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    found = []
    seen: set[int] = set()
    stack = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            stack += node.value
        if isinstance(node, yaml.MappingNode):
            stack += [value for _, value in node.value]
            counts = Counter(key.value for key, _ in node.value if key.tag != _MERGE)
            found += [f"{key}: given twice; remove one" for key, n in counts.items() if n > 1]
    return found


_MERGE = "tag:yaml.org,2002:merge"


class RecipeText:
    """A recipe's text and the changes to it.

    Args:
        text: a YAML mapping whose top-level keys stand on lines of their own.

    Raises:
        ValueError: it is something else.
    """

    def __init__(self, text: str) -> None:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.values: dict[str, Any] = yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(f"it is not YAML: {error}; correct it there") from error
        if not isinstance(root, yaml.MappingNode) or root.flow_style:
            raise ValueError("a recipe is a YAML file with keys such as base_model: on lines")
        self._text = text
        self._pairs = {str(key.value): (key, value) for key, value in root.value}
        self._keys = sorted(key.start_mark.index for key, _ in root.value)
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._margin = " " * root.start_mark.column
        self._edits: list[tuple[int, int, str]] = []
        self._wanted = copy.deepcopy(self.values)

    def add(self, block: str, before: str | None = None) -> None:
        """Add top-level keys.

        Args:
            block: their lines.
            before: the key above which, and above the comment right above which, they go; None for
                the end of the file.
        """
        self._wanted |= yaml.safe_load(block)
        lines = "".join(self._margin + line + self._newline for line in block.splitlines())
        if before in self._pairs:
            self._edit(self._start_with_comment(before), lines + self._newline)
        else:
            whole = self._text.endswith("\n") or not self._text
            self._edit(len(self._text), ("" if whole else self._newline) + self._newline + lines)

    def replace(self, key: str, block: str) -> None:
        """Put other lines in the place of a top-level key and its value."""
        del self._wanted[key]
        self._wanted |= yaml.safe_load(block)
        lines = self._newline.join(self._margin + line for line in block.splitlines())
        start = self._pairs[key][0].start_mark.index
        self._edit(start, lines.removeprefix(self._margin), end=self._end(key))

    def set_inside(self, key: str, inner: str, value: str) -> None:
        """Give a key in the block of a top-level key another word for its value; a new key goes
        below the block's first one."""
        self._wanted[key][inner] = value
        block = self._pairs[key][1]
        for name, old in block.value:
            if name.value == inner:
                self._edit(old.start_mark.index, value, end=old.end_mark.index)
                return
        first = block.value[0]
        if block.flow_style:
            self._edit(first[1].end_mark.index, f", {inner}: {value}")
        else:
            column = " " * first[0].start_mark.column
            self._edit(self._end_inside(block, 0), f"{self._newline}{column}{inner}: {value}")

    def remove_inside(self, key: str, inner: str) -> None:
        """Take a key and its value out of a block, with the comment behind it; comments on lines of
        their own stay.

        Raises:
            ValueError: it comes from an anchor.
        """
        del self._wanted[key][inner]
        block = self._pairs[key][1]
        places = [n for n, (name, _) in enumerate(block.value) if name.value == inner]
        if not places:
            raise ValueError(f"{key}.{inner}: comes from an anchor; write {key}: out without it")
        place = places[0]
        start, end = block.value[place][0].start_mark.index, block.value[place][1].end_mark.index
        if not block.flow_style:
            line = self._text.rfind("\n", 0, start)
            self._edit(self._end_of_line(line), "", end=self._end_inside(block, place))
        elif place:
            self._edit(block.value[place - 1][1].end_mark.index, "", end=end)
        else:
            self._edit(start, "", end=block.value[1][0].start_mark.index)

    def append(self, key: str, item: str) -> None:
        """Add an item to the list that is the value of a top-level key."""
        name, value = self._pairs[key]
        self._wanted[key] = [*(self.values[key] or []), item]
        if isinstance(value, yaml.SequenceNode) and value.flow_style:
            if value.value:
                self._edit(value.value[-1].end_mark.index, f", {item}")
            else:
                self._edit(value.end_mark.index - 1, item)
            return
        empty = not isinstance(value, yaml.SequenceNode)
        column = name.start_mark.column + 2 if empty else value.start_mark.column
        self._edit(self._end(key), f"{self._newline}{' ' * column}- {item}")

    def name_entries(self, key: str, names: Sequence[str | None]) -> None:
        """Add `task:` behind the `path:` of the entries of `datasets` or `test_datasets`.

        Args:
            key: which of the two.
            names: a name for each entry; None leaves it as it is.

        Raises:
            ValueError: an entry does not spell out its path, so there is no place for the name.
        """
        for index, (entry, name) in enumerate(zip(self._pairs[key][1].value, names, strict=True)):
            if name is None:
                continue
            self._wanted[key][index] = {**self.values[key][index], "task": name}
            pairs = entry.value if isinstance(entry, yaml.MappingNode) else []
            paths = [(one, value) for one, value in pairs if one.value == "path"]
            if not paths:
                raise ValueError(
                    f"{key}[{index}]: its path is written elsewhere, through an anchor; add "
                    f"task: {name} to the entry by hand"
                )
            path, value = paths[0]
            if entry.flow_style:
                self._edit(value.end_mark.index, f", task: {as_scalar(name)}")
            else:
                column = " " * path.start_mark.column
                line = f"{self._newline}{column}task: {as_scalar(name)}"
                self._edit(self._end_of_line(path.start_mark.index), line)

    def result(self) -> str:
        """The changed text.

        Raises:
            ValueError: this shape of YAML cannot be changed by inserting lines.
        """
        text = self._text
        # A set: entries that are one anchored entry get one edit.
        for start, end, inserted in sorted(set(self._edits), reverse=True):
            text = text[:start] + inserted + text[end:]
        try:
            faithful = yaml.safe_load(text) == self._wanted
        except yaml.YAMLError:
            faithful = False
        if not faithful:
            raise ValueError(
                "its YAML is written in a way that cannot be changed line by line (anchors that "
                "stand for whole lists or entries); write those out, or make the change by hand"
            )
        return text

    def _edit(self, start: int, inserted: str, *, end: int | None = None) -> None:
        self._edits.append((start, start if end is None else end, inserted))

    def _end_of_line(self, place: int) -> int:
        end = self._text.find("\n", place)
        if end < 0:
            return len(self._text)
        return end - 1 if self._text[end - 1] == "\r" else end

    def _end(self, key: str) -> int:
        """Where the last line of a key's value ends; comments and blank lines below it belong to
        what follows."""
        return self._end_of(self._pairs[key][0], self._keys)

    def _end_inside(self, block: yaml.MappingNode, place: int) -> int:
        """The same for the key at a place in a block."""
        siblings = [name.start_mark.index for name, _ in block.value]
        return self._end_of(block.value[place][0], sorted([*siblings, *self._keys]))

    def _end_of(self, name: yaml.Node, keys: Sequence[int]) -> int:
        """Where the lines of a key end, at the latest where the next one of `keys` starts."""
        start = name.start_mark.index
        stop = next((place for place in keys if place > start), None)
        lines = self._text[start:stop].splitlines(keepends=True)
        while len(lines) > 1 and _is_comment_or_blank(lines[-1]):
            lines.pop()
        last = lines[-1].rstrip("\r\n")
        return start + sum(len(line) for line in lines[:-1]) + len(last)

    def _start_with_comment(self, key: str) -> int:
        """Where the comment right above a key starts, or the key itself where there is none, or
        where the comment opens the file and so is about the whole of it."""
        start = self._text.rfind("\n", 0, self._pairs[key][0].start_mark.index) + 1
        place = start
        for line in reversed(self._text[:start].splitlines(keepends=True)):
            if not line.lstrip().startswith("#"):
                return place
            place -= len(line)
        return start


def as_scalar(text: str) -> str:
    """Text as YAML, in quotes where it would be read as something else (`no`, `1e5`, `a: b`)."""
    try:
        plain = yaml.safe_load(f"[{text}]") == [text]
    except yaml.YAMLError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)


def _is_comment_or_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")
