"""What varies, by name: one of the package's own, or a user's by its path."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TypeVar

from include.core.errors import ConfigError

T = TypeVar("T")


def choose(known: Mapping[str, T], name: str, where: str) -> T:
    """The item that model.yaml names.

    Args:
        known: the package's own, by name.
        name: one of those, or a path such as ``my_package.metrics:wape``.
        where: file and key, for the message.

    Raises:
        ConfigError: there is no such item.
    """
    if name in known:
        return known[name]
    if ":" in name:
        try:
            found: T = resolve_name(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (the import runs the user's code, which may raise any)
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(f"{name} cannot be imported: {said}", where=where) from None
        kinds = {type(item) for item in known.values()}
        if type(found) not in kinds:
            wanted = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ConfigError(f"{name} is a {type(found).__name__}, not a {wanted}", where=where)
        return found
    raise ConfigError(
        f"{name!r} is not known",
        where=where,
        fix=f"Use one of {', '.join(sorted(known))}, or a path package.module:name",
    )


def recorded(known: Mapping[str, T], name: str, named: str, where: str) -> T:
    """The item that a tag of a version names. Code is imported because model.yaml names it, never because a tag does.

    Args:
        named: the name in model.yaml now.

    Raises:
        ConfigError: it is none of the package's own, and not the one that model.yaml names.
    """
    if name in known or name == named:
        return choose(known, name, where)
    raise ConfigError(
        f"{name!r} is neither one of the package's own nor named by model.yaml",
        where=where,
        fix=f"Use a version that was made with {named}, or name {name} in model.yaml again",
    )
