"""A version's way through the stages: gates, approval, promotion, rejection, roll-back. Done first, then recorded."""

from include.registry.steps.approval import answer, approve, describe_question
from include.registry.steps.gate import check_production, check_staging, conclude_gate, move_to_staging, run_check
from include.registry.steps.promotion import promote
from include.registry.steps.rebuild import rebuild_version
from include.registry.steps.registration import name_versions, record_profile, register_candidate
from include.registry.steps.rejection import check_drift, find_window_to_check, reject
from include.registry.steps.request import answer_request, collect_requests, record_request, request_transition
from include.registry.steps.rolling_back import (
    former_version,
    go_back,
    list_production,
    offer_versions,
    record_choice,
    require_roll_back,
    roll_back,
    smoke_score,
)

__all__ = [
    "answer",
    "answer_request",
    "approve",
    "check_drift",
    "check_production",
    "check_staging",
    "collect_requests",
    "conclude_gate",
    "describe_question",
    "find_window_to_check",
    "former_version",
    "go_back",
    "list_production",
    "move_to_staging",
    "name_versions",
    "offer_versions",
    "promote",
    "rebuild_version",
    "record_choice",
    "record_profile",
    "record_request",
    "register_candidate",
    "reject",
    "request_transition",
    "require_roll_back",
    "roll_back",
    "run_check",
    "smoke_score",
]
