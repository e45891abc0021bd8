"""The registered models: every folder below include/models that has a model.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import ValidationError

from include.core.errors import ConfigError
from include.core.files import find_scalar, read_yaml, short_path
from include.core.settings import Settings
from include.core.spec import ModelSpec

MODELS = Settings.load(need=()).models_folder
"""Where the models' folders are: here, unless the environment names another place."""
FILES = ("model.yaml", "features.sql", "expectations.yaml")


def registered(root: Path = MODELS) -> tuple[str, ...]:
    """Names of the model folders, sorted. A folder counts as soon as one of its three files is there."""
    return tuple(sorted(folder.name for folder in root.iterdir() if _is_model(folder)))


@cache
def load(name: str, root: Path = MODELS) -> ModelSpec:
    """Load and check one model.

    Raises:
        ConfigError: naming file and key.
    """
    folder = root / name
    for file in FILES:
        if not (folder / file).is_file():
            raise ConfigError(
                f"{file} is missing", where=short_path(folder), fix="Every model needs " + ", ".join(FILES)
            )
    path = folder / "model.yaml"
    content = read_yaml(path)
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error, path), where=short_path(path)) from None
    if spec.name != name:
        raise ConfigError(f"key name: is {spec.name!r} but the folder is {name!r}", where=short_path(path))
    spec._folder = folder
    return spec


def _is_model(folder: Path) -> bool:
    try:
        return folder.is_dir() and any((folder / file).exists() for file in FILES)
    except OSError:  # one that may not be looked into is shown as broken, and takes no other one away
        return True


def _explain(error: ValidationError, path: Path) -> str:
    parts = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_type":
            message = _no_text(path, item["loc"]) or message
        elif item["type"] == "tuple_type" and isinstance(item["input"], str):
            message = f"a list is expected: [{item['input']}]"
        parts.append(f"key {key}: {message}" if key else message)
    return "; ".join(parts)


def _no_text(path: Path, keys: tuple[str | int, ...]) -> str:
    """What YAML has made of a text without quotes; empty where it is something else."""
    if (found := find_scalar(path, keys)) is None:
        return ""
    line, text, read_as = found
    if not text:
        return f"has no value in line {line}, and a text is expected"
    return f'{text} in line {line} is read as {read_as}, and a text is expected: write "{text}", with quotes'
