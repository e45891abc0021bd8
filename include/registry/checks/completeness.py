"""Whether a version has all that those after the training need of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    from include.registry.evidence import Evidence

LOCK = "requirements.txt"
"""The file in which MLflow keeps the packages that a model was fitted with."""


def _has_artifacts(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Are there files, and an MLmodel among them?"""
    files = [file for file in evidence.folder.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    complete = any(file.name == "MLmodel" for file in files) and size > 0
    detail = f"{len(files)} files, {size:,} bytes" + ("." if complete else ", no MLmodel among them.")
    return CheckResult("has_artifacts", complete, detail, value=len(files))


def _has_description(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it say, in MLflow, what it is?"""
    described = bool(evidence.candidate.own_description)
    return CheckResult("has_description", described, "It has a description." if described else "It has no description.")


def _has_signature(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it say which columns it takes, and what it gives?"""
    signature = evidence.logged.signature
    complete = bool(signature and signature.inputs and signature.outputs)
    detail = (
        f"Signature with {len(signature.inputs)} inputs." if complete else "It has no signature of inputs and outputs."
    )
    return CheckResult("has_signature", complete, detail)


def _has_tags(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it have the tags that model.yaml asks for?"""
    missing = [name for name in params["names"] if not evidence.candidate.tags.get(name, "").strip()]
    detail = f"It has no tag {', '.join(missing)}: set it in MLflow." if missing else "It has all required tags."
    return CheckResult("has_tags", not missing, detail)


def _has_owner(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does the version, or its registered model, say in MLflow who answers for it?"""
    from include.registry import versions

    owner = evidence.candidate.tags.get("owner", "").strip() or versions.owner(evidence.spec).strip()
    detail = f"{owner} answers for it." if owner else "Nobody answers for it: set the model's tag owner in MLflow."
    return CheckResult("has_owner", bool(owner), detail)


def _has_environment(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it name the exact packages that it was fitted with?"""
    name, file = "has_environment", evidence.folder / LOCK
    if not file.is_file():
        return CheckResult(name, False, f"It has no {LOCK}: what it was fitted with is not known.")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    packages = [line for line in lines if line and not line.startswith("#")]
    loose = [line for line in packages if "==" not in line]
    if loose or not packages:
        return CheckResult(name, False, f"Its {LOCK} does not name the version of {', '.join(loose) or 'any package'}.")
    return CheckResult(name, True, f"Its {LOCK} names the versions of {len(packages)} packages.", value=len(packages))


def _predicts(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does it load, and predict a finite number for each row of its input example?"""
    example = evidence.example
    if example is None:
        return CheckResult("predicts", False, "It has no input example to predict.")
    predicted = evidence.predict(example)
    passed = len(predicted) == len(example) and all(math.isfinite(value) for value in predicted)
    detail = f"{len(predicted)} predictions for the {len(example)} rows of its input example"
    detail += ", all finite." if passed else ", not all finite or not one per row."
    return CheckResult("predicts", passed, detail)


def _has_model_card(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is there a model card among its files, and does it say all that one has to?"""
    from include.training import card

    name, file = "has_model_card", evidence.folder / card.FILE
    if not file.is_file():
        return CheckResult(name, False, f"It has no {card.FILE}: train it anew.")
    missing = card.missing(file.read_text(encoding="utf-8", errors="replace"))
    if missing:
        return CheckResult(name, False, f"Its {card.FILE} says nothing of: {', '.join(missing)}.")
    return CheckResult(name, True, f"Its {card.FILE} has all {len(card.SECTIONS)} parts.")


def _rebuilds(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does the same model come out, when it is fitted again from what is recorded of it?"""
    from include.registry import rebuild

    built = rebuild.of(evidence)
    said = rebuild.described(evidence.spec, built)
    return CheckResult("rebuilds", built.alike, f"{said[0].upper()}{said[1:]}.", built.distance, built.tolerance)


CHECKS = (
    Check("has_artifacts", _has_artifacts),
    Check("has_description", _has_description),
    Check("has_signature", _has_signature),
    Check("has_tags", _has_tags, {"names": Param(tuple)}),
    Check("has_owner", _has_owner),
    Check("has_environment", _has_environment),
    Check("predicts", _predicts),
    Check("has_model_card", _has_model_card),
    Check("rebuilds", _rebuilds),
)
