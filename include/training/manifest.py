"""What the files of a model are: a SHA-256 and a size each, and one digest over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from include.lakehouse.decisions import canonical_json

Manifest = Mapping[str, Mapping[str, str | int]]
"""By path in the model's folder: ``sha256`` and ``size``. Plain values, for it travels with the reference to a run."""


def of(folder: Path) -> Manifest:
    """The manifest of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): of_file(path) for path in files}


def of_file(path: Path) -> Mapping[str, str | int]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def digest(manifest: Manifest) -> str:
    """One SHA-256 for the names and contents of all files."""
    return hashlib.sha256(canonical_json(manifest).encode()).hexdigest()
