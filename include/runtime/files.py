"""The stack's own small files: nobody else's to read, whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from include.core.errors import StackError


def write_private(path: Path, text: str) -> None:
    """Write a file at once, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path, shape: TypeAdapter[Any], say: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none.

    A file of another shape was cut off or edited, or another release wrote it: it is kept beside as ``.broken``, and
    said.
    """
    try:
        return dict(shape.validate_json(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StackError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, RecursionError):
        pass
    kept = path.with_name(f"{path.name}.broken")
    path.replace(kept)
    (say or print)(f"{path} was broken: it is made anew, and kept as {kept.name}")
    return {}
