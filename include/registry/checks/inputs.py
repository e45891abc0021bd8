"""Whether a version's features may be used, can be had, and are the same where they are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from include.core.column import has_personal_name
from include.registry.checks.check import Check, CheckResult, Param

if TYPE_CHECKING:
    from include.registry.evidence import Evidence

TOLERANCE = 1e-6
"""Relative: an online store keeps no more of a 32-bit number."""
MOST_NAMED = 5


def _no_personal_features(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Is none of its features personal data, or made of a column that is, by declaration or by its name?

    A column that was tagged ``pii: true`` after the version was trained counts, too.
    """
    from include.features import query

    spec, confirmed = evidence.spec, set(params["confirmed"])
    named = {column for column in spec.columns if has_personal_name(column)} - confirmed - set(spec.entity.keys)
    among = {
        feature
        for feature in evidence.candidate.features
        if feature in spec.personal_columns or (has_personal_name(feature) and feature not in confirmed)
    }
    found = sorted(among | query.reads(spec, spec.personal_columns | named))
    if not found:
        detail = f"None of its {len(evidence.candidate.features)} features is, or is made of, personal data."
        return CheckResult("no_personal_features", True, detail, value=0, threshold=0)
    detail = (
        f"{_some(found)}: personal data, by declaration or by name. Leave it out of features.sql and train anew, or "
        "name what is none as confirmed."
    )
    return CheckResult("no_personal_features", False, detail, value=len(found), threshold=0)


def _features_resolvable(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Does Feast's registry have the feature service that it was trained on, with each of its features?"""
    version = evidence.candidate
    service = evidence.store.get_feature_service(version.feature_service)
    known = {feature.name for view in service.feature_view_projections for feature in view.features}
    missing = [name for name in version.features if name not in known]
    detail = (
        f"{service.name} has no {_some(missing)}: run build_features, or train anew."
        if missing
        else f"{service.name} has each of its {len(version.features)} features."
    )
    return CheckResult("features_resolvable", not missing, detail, value=len(missing), threshold=0)


def _training_serving_skew(evidence: Evidence, params: Mapping[str, Any]) -> CheckResult:
    """Are the features of rows that it was fitted to what the stores say of the same keys at the same time?

    The offline store is asked about each row; the online one about those whose values there are of the row's own time.
    """
    from include.features import query, store
    from include.lakehouse.schemas import EVENT_TIMESTAMP
    from include.training import training_set

    name, version, keys = "training_serving_skew", evidence.candidate, list(evidence.spec.entity.keys)
    rows = evidence.own_rows
    some = np.sort(np.random.default_rng(evidence.spec.training.seed).permutation(len(rows))[: params["rows"]])
    rows = rows.iloc[some].reset_index(drop=True)
    named, features = [*keys, EVENT_TIMESTAMP], list(version.features)
    _, offline = training_set.point_in_time(evidence.spec, evidence.store, version.feature_service, rows[named])
    offline = rows[named].merge(offline, on=named, how="left")
    differing = {"offline": _differing(rows[features].to_numpy(), offline[features].to_numpy(dtype=np.float64))}
    compared = rows[features].size
    if params["online"]:
        entities = [{str(key): value for key, value in row.items()} for row in rows[keys].to_dict("records")]
        served = store.read_online(evidence.store, version.feature_service, entities)
        seconds = np.array([served[feature + query.TIMESTAMP_SUFFIX] for feature in features], dtype=np.int64).max(0)
        same_time = seconds == rows[EVENT_TIMESTAMP].map(lambda at: int(at.timestamp())).to_numpy()
        online = np.array([served[feature] for feature in features], dtype=np.float64).T
        differing["online"] = _differing(rows.loc[same_time, features].to_numpy(), online[same_time])
        compared += int(same_time.sum()) * len(features)
    counts = {side: found.sum(axis=0) for side, found in differing.items()}
    share = float(sum(found.sum() for found in counts.values())) / max(compared, 1)
    wrong = [f"{features[place]} {side}" for side, found in counts.items() for place in np.flatnonzero(found)]
    detail = f"{share:.2%} of {compared:,} values differ from those of its training set, {params['most']:.2%} may" + (
        f": {_some(wrong)}." if wrong else "."
    )
    return CheckResult(name, share <= params["most"], detail, value=share, threshold=params["most"])


def _differing(trained: Any, served: Any) -> Any:
    """One flag a value: of a null the other one has to be null, too."""
    same = np.isclose(trained.astype(np.float64), served, rtol=TOLERANCE, atol=0, equal_nan=True)
    return ~same


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


CHECKS = (
    Check("no_personal_features", _no_personal_features, {"confirmed": Param(tuple, ())}),
    Check("features_resolvable", _features_resolvable),
    Check(
        "training_serving_skew",
        _training_serving_skew,
        {
            "rows": Param(int, 200, low=1, high=100_000),
            "most": Param(float, 0.0, 0, 1),
            "online": Param(bool, True),
        },
    ),
)
