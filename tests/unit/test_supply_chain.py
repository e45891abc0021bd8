"""What comes from elsewhere is what was looked at: each package by its hash, each action by its commit."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from include.core.settings import PROJECT_ROOT

WORKFLOWS = sorted((PROJECT_ROOT / ".github").rglob("*.y*ml"))
COMMIT = re.compile(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}")
INSTALLERS = [
    *(PROJECT_ROOT / name for name in ("Dockerfile", "Makefile", ".ci/run", "include/runtime/bootstrap.sh")),
    *WORKFLOWS,
]


def requirements() -> list[str]:
    """The requirements of the lock, each with what belongs to it."""
    lines = (PROJECT_ROOT / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def test_every_requirement_is_pinned_and_has_its_hashes() -> None:
    hashed = re.compile(r"[\w.-]+(\[[\w,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}( .*)?")
    assert len(requirements()) > 300
    assert [line for line in requirements() if not hashed.fullmatch(line)] == []


@pytest.mark.parametrize("file", INSTALLERS, ids=lambda file: str(file.relative_to(PROJECT_ROOT)))
def test_every_installation_asks_for_hashes_and_fetches_no_tools_of_its_own(file: object) -> None:
    commands = file.read_text().replace("\\\n", " ").splitlines()  # type: ignore[attr-defined]
    installs = [line for line in commands if re.search(r"\bpip\"? install\b", line) and not line.startswith("#")]
    for option in ("--require-hashes", "--no-build-isolation"):
        assert [line for line in installs if line.count(option) != len(re.findall(r"\bpip\"? install\b", line))] == []


def test_every_package_of_the_tests_browser_has_its_hash_and_no_address() -> None:
    folder = PROJECT_ROOT / "tests" / "chromium"
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    assert lock.pop("")["dependencies"] == wanted
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert [name for name, found in lock.items() if not found["integrity"].startswith("sha512-")] == []
    assert [name for name, found in lock.items() if "resolved" in found] == []  # the registry is the machine's
    commands = (PROJECT_ROOT / "tests" / "browser.py").read_text()
    assert '"ci"' in commands
    assert commands.count('"install"') == commands.count('"--require-hashes"') == 1  # of npm itself, by npm.txt
    assert "tool" not in commands  # uv's, which knows no hashes
    entries = [line for line in (folder / "npm.txt").read_text().split("\n") if re.match(r"\w", line)]
    assert entries
    assert [line for line in entries if not re.fullmatch(r"[\w-]+==[\d.]+ \\", line)] == []


def uses(node: object) -> list[str]:
    """Every action that a workflow uses, at whatever depth."""
    if isinstance(node, dict):
        own = [node["uses"]] if isinstance(node.get("uses"), str) else []
        return own + [found for value in node.values() for found in uses(value)]
    return [found for value in node for found in uses(value)] if isinstance(node, list) else []


def test_every_action_is_pinned_by_its_commit_and_may_only_read() -> None:
    workflows = [yaml.safe_load(file.read_text()) for file in WORKFLOWS]
    assert [workflow["permissions"] for workflow in workflows] == [{"contents": "read"}] * len(workflows)
    found = [action for workflow in workflows for action in uses(workflow)]
    assert found
    assert [action for action in found if not (action.startswith("./") or COMMIT.fullmatch(action))] == []
