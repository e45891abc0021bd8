"""Reading the files of a model's folder, with mistakes in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from include.core.errors import ConfigError

_TAGS = "tag:yaml.org,2002:"
_READ_AS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing", "timestamp": "a date"}
"""By YAML's own tag, what a text without quotes is read as."""


class _Trap(yaml.MarkedYAMLError):
    """What YAML takes, and means something else than its writer does."""

    def __init__(self, problem: str, node: yaml.Node, fix: str) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)
        self.fix = fix


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that is there twice, of which YAML takes the last, a key that is no text, and a no that is read as
    false. Ten times as fast where libyaml is there."""

    def construct_document(self, node: yaml.Node) -> Any:
        waiting, seen = [node], set()
        while waiting:
            item = waiting.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, yaml.ScalarNode):
                _refuse_other_booleans(item)
            if isinstance(item, yaml.MappingNode):
                keys = [key for key, _ in item.value if isinstance(key, yaml.ScalarNode)]
                _refuse_other_than_texts(keys)
                _refuse_repeated(keys)
                waiting += [part for pair in item.value for part in pair]
            elif isinstance(item, yaml.SequenceNode):
                waiting += item.value
        return super().construct_document(node)


def _refuse_repeated(keys: list[yaml.ScalarNode]) -> None:
    known: set[tuple[str, str]] = set()
    for key in keys:
        if (key.tag, key.value) in known:
            raise _Trap(f"the key {key.value} is there twice", key, "Remove one: YAML would take the last")
        known.add((key.tag, key.value))


def _refuse_other_than_texts(keys: list[yaml.ScalarNode]) -> None:
    for key in keys:
        if read_as := _READ_AS.get(key.tag.removeprefix(_TAGS)):
            raise _Trap(f"the key {key.value} is read as {read_as}", key, f'Write "{key.value}", with quotes')


def _refuse_other_booleans(node: yaml.ScalarNode) -> None:
    """YAML 1.1 reads yes, no, on and off as booleans, 1.2 as texts; nobody can tell which a file means."""
    if node.tag == f"{_TAGS}bool" and node.value.lower() not in ("true", "false"):
        meant = "true" if node.value.lower() in ("yes", "on") else "false"
        what = f"{node.value} is read as {meant}"
        raise _Trap(what, node, f'Write "{node.value}", with quotes, for the text, or {meant}')


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8; naming file and line.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=short_path(path)) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line} is not UTF-8", where=short_path(path), fix="Save the file as UTF-8") from None


def read_yaml(path: Path) -> object:
    """Parse a YAML file.

    Raises:
        ConfigError: naming file, line and column.
    """
    text = read_text(path)
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        if isinstance(error, _Trap) and mark:
            what = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
            raise ConfigError(what, where=short_path(path), fix=error.fix) from None
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"not valid YAML{place}: {error.problem}", where=short_path(path)) from None
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # as a tag's reader has it
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}", where=short_path(path)) from None


def find_scalar(path: Path, keys: Sequence[str | int]) -> tuple[int, str, str] | None:
    """Where a value without quotes stands in a YAML file: its line, its text there, and what that is read as.

    Returns:
        None where there is none, or it is read as text.
    """
    node = yaml.compose(read_text(path), Loader=_Loader)
    for key in keys:
        inside = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in inside if name.value == key), None)
        else:
            node = inside[key] if isinstance(key, int) and key < len(inside) else None
    if not isinstance(node, yaml.ScalarNode) or node.tag.removeprefix(_TAGS) not in _READ_AS:
        return None
    return node.start_mark.line + 1, node.value, _READ_AS[node.tag.removeprefix(_TAGS)]


def short_path(path: Path) -> str:
    """The path from ``include`` on: what a message names."""
    return "/".join(path.parts[path.parts.index("include") :]) if "include" in path.parts else str(path)
