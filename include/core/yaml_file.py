"""Reading a YAML file, with mistakes in one line."""

from __future__ import annotations

from pathlib import Path

import yaml

from include.core.errors import ConfigError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast as the one in Python, where libyaml is there."""


def read_yaml(path: Path) -> object:
    """Parse a YAML file.

    Raises:
        ConfigError: naming file, line and column.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  (a safe one)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"not valid YAML{place}: {error.problem}", where=short_path(path)) from None


def short_path(path: Path) -> str:
    """The path from ``include`` on: what a message names."""
    return "/".join(path.parts[path.parts.index("include") :]) if "include" in path.parts else str(path)
