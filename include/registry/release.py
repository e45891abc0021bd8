"""What a person or a policy approves: a version with all that it works with, as one digest over seven parts.

It is taken where the version is judged, named by the approval, and taken anew where the version is promoted, goes back
into production or scores. A part that is another one by then is named.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from include.core import catalogue
from include.core.errors import DataError, TamperedError
from include.core.files import read_yaml
from include.core.release import ReleasePart
from include.core.settings import PROJECT_ROOT
from include.core.spec import ModelSpec
from include.features import fingerprint
from include.lakehouse import decisions, reference_profiles
from include.lakehouse.decisions import Decision, Kind, Outcome, Reason, canonical_json
from include.lakehouse.schemas import TRAINING_SET, TRAINING_SETS
from include.lakehouse.tables import Lakehouse
from include.registry import registration
from include.registry.versions import Version

Content = Mapping[str, str]
"""What a part consists of: by name a version, or the beginning of a SHA-256."""

CODE = PROJECT_ROOT
CODE_FOLDERS = ("dags", "plugins", "include", "feast_delta", "feature_repo")
MODELS = "include/models"
"""Of these folders a release has that of its own model alone: another team's is not part of it."""
CACHE = "__pycache__"
"""What Python makes of the sources beside it. Compiled code anywhere else is imported where there is no source."""
COMPILED = ".so"
AT_THE_TOP = (".py", ".pth", ".pyc", COMPILED)
"""Files beside the packages that run, or stand for a package, by lying there: ``sitecustomize.py``, ``x.pth``."""
TITLES: Mapping[ReleasePart, str] = {
    ReleasePart.MODEL_FILES: "model files",
    ReleasePart.FEATURE_SERVICE: "feature service",
    ReleasePart.DATA_VERSIONS: "data versions",
    ReleasePart.REFERENCE_PROFILE: "reference profile",
    ReleasePart.EXPECTATION_SUITE: "expectation suite",
    ReleasePart.ENVIRONMENT_LOCK: "environment lock",
    ReleasePart.DAG_BUNDLE: "DAG bundle",
}
MOST_NAMED = 3
SHORT = 12
"""Characters of a digest that a person reads."""


@dataclass(frozen=True)
class Change:
    """A part that is another one than at approval."""

    part: ReleasePart
    names: Sequence[str]
    """What of it differs."""

    def __str__(self) -> str:
        more = f" and {len(self.names) - MOST_NAMED} more" if len(self.names) > MOST_NAMED else ""
        return f"{TITLES[self.part]} ({', '.join(self.names[:MOST_NAMED])}{more})"


@dataclass(frozen=True)
class Release:
    """A version and what it works with."""

    parts: Mapping[ReleasePart, Content]

    @cached_property
    def digests(self) -> Mapping[ReleasePart, str]:
        """A SHA-256 for each part."""
        return {part: _sha256(canonical_json(content)) for part, content in self.parts.items()}

    @cached_property
    def digest(self) -> str:
        """One SHA-256 over all parts."""
        return _sha256(canonical_json(self.digests))

    def changes(self, now: Release) -> list[Change]:
        """The parts that are others in ``now``."""
        return [
            Change(part, _differing(self.parts.get(part, {}), now.parts.get(part, {})))
            for part in ReleasePart
            if self.digests.get(part) != now.digests.get(part)
        ]

    def recorded(self) -> dict[str, Any]:
        """As a decision keeps it; `read` reads it."""
        return {"digest": self.digest, "parts": {str(part): dict(content) for part, content in self.parts.items()}}


def of(spec: ModelSpec, lake: Lakehouse, version: Version) -> Release:
    """The release of a version as everything is now. Milliseconds: of the model's files the record of what they have to
    be counts, which whoever loads them is held to (`registration`).

    Raises:
        TamperedError: a tag of the version is not what was registered.
    """
    files = registration.of(spec, lake, version).files
    return Release(
        {
            ReleasePart.MODEL_FILES: {name: _short(str(told["sha256"])) for name, told in files.items()},
            ReleasePart.FEATURE_SERVICE: {
                "service": version.feature_service,
                **{name: _short(_sha256(sql)) for name, sql in fingerprint.of(spec, version.features).items()},
            },
            ReleasePart.DATA_VERSIONS: _data_versions(spec, lake, version),
            ReleasePart.REFERENCE_PROFILE: {
                name: _short(digest) for name, digest in reference_profiles.digests(spec, lake, version.version).items()
            },
            ReleasePart.EXPECTATION_SUITE: _expectations(spec),
            ReleasePart.ENVIRONMENT_LOCK: _packages(),
            ReleasePart.DAG_BUNDLE: _code(spec),
        }
    )


def if_registered(spec: ModelSpec, lake: Lakehouse, version: Version) -> Release | None:
    """As `of`; None where its tags are not those that were registered, which the first check of a gate says."""
    try:
        return of(spec, lake, version)
    except TamperedError:
        return None


def read(decision: Decision | None) -> Release | None:
    """The release that a gate has judged, or an approval is of; None where it recorded none."""
    told = decision.inputs.get("release") if decision else None
    parts = told.get("parts") if isinstance(told, dict) else None
    return Release({ReleasePart(name): content for name, content in parts.items()}) if parts else None


def approved(spec: ModelSpec, lake: Lakehouse, version: Version) -> Release | None:
    """The release of a version that was approved last; None where an approval named none."""
    made = decisions.history(
        lake, spec.name, Kind.APPROVAL, since=version.known_at, subject=registration.subject(version)
    )
    named = [item for item in made if item.outcome == Outcome.APPROVED and item.inputs.get("release")]
    return read(max(named, key=lambda item: item.recorded_at, default=None))


def judged(spec: ModelSpec, lake: Lakehouse, version: Version) -> Release | None:
    """The release of a version that its production gate judged last; None where it has judged none."""
    made = decisions.history(
        lake, spec.name, Kind.PRODUCTION_GATE, since=version.known_at, subject=registration.subject(version)
    )
    return read(max(made, key=lambda item: item.recorded_at, default=None))


def sorted_out(changes: Sequence[Change], refusing: Collection[ReleasePart]) -> tuple[list[Change], list[Change]]:
    """Those that void an approval by the rule of model.yaml, and those that are said alone."""
    return [item for item in changes if item.part in refusing], [item for item in changes if item.part not in refusing]


def reasons(changes: Sequence[Change]) -> list[str]:
    return [Reason.RELEASE_CHANGED.about(item.part.value) for item in changes]


def described(changes: Sequence[Change]) -> str:
    """``expectation suite (expectations), DAG bundle (dags/score_batch.py)``."""
    return ", ".join(map(str, changes))


def _differing(before: Content, after: Content) -> list[str]:
    found = []
    for name in sorted({*before, *after}):
        if name not in after:
            found.append(f"{name} is gone")
        elif name not in before:
            found.append(f"{name} is new")
        elif before[name] != after[name]:
            told = "" if _is_digest(after[name]) else f" {before[name]}, now {after[name]}"
            found.append(f"{name}{told}")
    return found


def _data_versions(spec: ModelSpec, lake: Lakehouse, version: Version) -> Content:
    """The tables and versions that it was made of, and the files that hold its training set there."""
    table, key = TRAINING_SETS.of(spec), version.tag("training_set")
    made_of = dict(named.rpartition("@")[::2] for named in version.tag("data.version").split())
    number = int(version.tag("training_set.version"))
    try:
        files = _short(_sha256(canonical_json(sorted(lake.paths(table, [(TRAINING_SET, "=", key)], version=number)))))
    except DataError:  # the table, or that version of it, is kept no more
        files = "gone"
    return made_of | {table.name: f"{key}@{number}", f"files of {table.name}": files}


def _expectations(spec: ModelSpec) -> Content:
    """The rules, in whatever order of keys; comments do not count."""
    told = read_yaml(spec.folder / "expectations.yaml")
    content = told if isinstance(told, dict) else {"rules": told}
    return {f"expectations.yaml {name}": _short(_sha256(canonical_json(rules))) for name, rules in content.items()}


def _packages() -> Content:
    """What is installed where this process looks for packages, by the names of their records: the first one counts."""
    found: dict[str, str] = {"python": ".".join(map(str, sys.version_info[:3]))}
    beside: dict[str, list[str]] = defaultdict(list)
    for folder in dict.fromkeys(map(Path, filter(None, sys.path))):
        records = sorted(folder.glob("*.dist-info")) if folder.is_dir() else []
        for record in records:
            name, _, version = record.name.removesuffix(".dist-info").partition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
        for file in sorted(folder.iterdir()) if records else ():
            if file.suffix in AT_THE_TOP and file.is_file():
                beside[file.name].append(_of_size(file) if file.suffix == COMPILED else _of_file(file))
    return found | {name: _short(_sha256(canonical_json(digests))) for name, digests in beside.items()}


def _code(spec: ModelSpec) -> Content:
    """The files of the package, and the model's own, as they lie where they are imported from; model.yaml by its
    sections, whose comments do not count."""
    found = {path.relative_to(CODE).as_posix(): path for name in CODE_FOLDERS for path in _files(CODE / name)}
    found = {name: path for name, path in found.items() if not name.startswith(f"{MODELS}/")}
    own = {path.relative_to(spec.folder).as_posix(): path for path in _files(spec.folder)}
    found |= {f"{MODELS}/{spec.name}/{name}": path for name, path in own.items() if name not in catalogue.FILES}
    sections = spec.model_dump(mode="json", exclude={"features"})
    return {
        **{name: _short(_of_file(path)) for name, path in sorted(found.items())},
        **{f"model.yaml {name}": _short(_sha256(canonical_json(told))) for name, told in sections.items()},
    }


def _files(folder: Path) -> list[Path]:
    """Those that can be imported or read there: no hidden ones, nothing that Python leaves. Linked folders are
    followed, as an import does, each once."""
    found, seen = [], set[str]()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in seen else sorted(x for x in folders if x != CACHE and not x.startswith("."))
        if real not in seen:
            found += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        seen.add(real)
    return [path for path in found if path.is_file()]


def _of_size(path: Path) -> str:
    """Libraries have hundreds of megabytes: their package's version has to do, and how long they are."""
    return str(path.stat().st_size)


def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _short(digest: str) -> str:
    return digest[:32]


def _is_digest(text: str) -> bool:
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)
