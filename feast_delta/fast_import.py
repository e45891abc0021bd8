"""Feast imported without the run-time checks of its classes' arguments, which take most of the time of the import.

Feast decorates its classes with ``typeguard.typechecked``, which parses and compiles the source of each method anew.
`enable` belongs at the start of a process that means to import Feast and whose definitions are checked elsewhere (by
mypy, or by ``feast apply``, which never passes here).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def enable() -> None:
    """From now on the first import of Feast is a fast one. Nothing is imported here, so it costs nothing.

    Where Feast has been imported before, its checks stay. Whoever else uses typeguard keeps all of it.
    """
    if not any(isinstance(finder, _FeastFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FeastFinder())


class _FeastFinder:
    """Finds Feast as the other finders do, and runs it unchecked."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "feast":
            return None
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec and spec.loader:
            loader, run = spec.loader, spec.loader.exec_module

            def run_unchecked(module: ModuleType) -> None:
                with _unchecked():
                    run(module)

            loader.exec_module = run_unchecked  # type: ignore[method-assign]  # of this one loader
        return spec


@contextmanager
def _unchecked() -> Iterator[None]:
    """Classes of Feast are left as they are by typeguard; all else is not."""
    import typeguard

    checked = typeguard.typechecked

    def typechecked(target: Any = None, **options: Any) -> Any:
        of_feast = isinstance(target, type) and target.__module__.partition(".")[0] == "feast"
        return target if of_feast else checked(target, **options)

    typeguard.typechecked = typechecked
    try:
        yield
    finally:
        typeguard.typechecked = checked
