"""Reading the files of a model's folder, with mistakes in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from include.core.errors import ConfigError


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that is there twice, of which YAML takes the last. Ten times as fast where libyaml is there."""

    def construct_document(self, node: yaml.Node) -> Any:
        waiting, seen = [node], set()
        while waiting:
            item = waiting.pop()
            if id(item) in seen or not isinstance(item, yaml.CollectionNode):
                continue
            seen.add(id(item))
            if isinstance(item, yaml.MappingNode):
                _refuse_repeated([key for key, _ in item.value])
                waiting += [part for pair in item.value for part in pair]
            else:
                waiting += item.value
        return super().construct_document(node)


def _refuse_repeated(keys: list[yaml.Node]) -> None:
    scalars = [key for key in keys if isinstance(key, yaml.ScalarNode)]
    known: set[tuple[str, str]] = set()
    for key in scalars:
        if (key.tag, key.value) in known:
            raise yaml.MarkedYAMLError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
        known.add((key.tag, key.value))


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
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"not valid YAML{place}: {error.problem}", where=short_path(path)) from None
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:  # as a tag's reader has it
        raise ConfigError(f"not valid YAML: {str(error).splitlines()[0]}", where=short_path(path)) from None


def short_path(path: Path) -> str:
    """The path from ``include`` on: what a message names."""
    return "/".join(path.parts[path.parts.index("include") :]) if "include" in path.parts else str(path)
