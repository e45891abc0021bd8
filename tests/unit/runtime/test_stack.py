"""The stack's own decisions: ports, disk, secrets. The running stack is tested end to end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from include.core.errors import StackError
from include.runtime import stack as module
from include.runtime.environment import of_work
from include.runtime.stack import Stack, _kept


@pytest.fixture
def taken() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_default_port_in_use_is_replaced_and_said(tmp_path: Path, taken: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "DEFAULT_PORTS", {"airflow": taken, "mlflow": module.free_port()})
    said: list[str] = []
    ports = Stack(tmp_path)._choose_ports({}, said.append)
    assert ports["airflow"] != taken
    assert said == [f"Port {taken} is in use: airflow takes {ports['airflow']}"]


def test_a_named_port_in_use_is_one_clear_error(tmp_path: Path, taken: int) -> None:
    with pytest.raises(StackError, match=rf"port {taken} for airflow is in use\. Choose another: AIRFLOW_PORT="):
        Stack(tmp_path, {"airflow": taken})._choose_ports({}, print)


def test_ports_stay_those_of_the_last_start(tmp_path: Path, taken: int) -> None:
    last = {name: module.free_port() for name in module.DEFAULT_PORTS}
    said: list[str] = []
    assert Stack(tmp_path)._choose_ports(last, said.append) == last
    assert said == []
    moved = Stack(tmp_path)._choose_ports({**last, "mlflow": taken}, said.append)
    assert moved["mlflow"] != taken
    assert said == [f"Port {taken} is in use: mlflow takes {moved['mlflow']}"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**8))
    with pytest.raises(StackError, match=r"0\.1 GB free, 2 GB needed"):
        Stack(tmp_path).up(print)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("stack.json", text) for text in ('{"ports": null}', '{"ports": [1]}', '{"ports": 1}', "[" * 100_000)),
        ("run/state.json", '{"supervisor": null, "wanted_at": 0, "components": []}'),
        ("run/state.json", '{"supervisor": null, "wanted_at": 0, "components": {"mlflow": {"pid": "many"}}}'),
        ("run/state.json", '{"supervisor": [], "wanted_at": 0, "components": {}}'),
    ],
)
def test_a_file_of_another_shape_is_kept_beside_and_said(tmp_path: Path, capsys, file: str, content: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert not any(service.pid for service in Stack(tmp_path).status())
    assert "was broken: it is made anew" in capsys.readouterr().out
    assert path.with_name(f"{path.name}.broken").read_text() == content


def test_what_another_release_noted_beside_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    noted = {"supervisor": None, "wanted_at": 0, "components": {"mlflow": {"restarts": 2, "colour": "red"}}}
    (tmp_path / "run" / "state.json").write_text(json.dumps(noted))
    assert {service.restarts for service in Stack(tmp_path).status() if service.name == "mlflow"} == {2}


def test_secrets_are_made_once_and_are_nobody_elses(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack._write_settings(stack._settings())
    password = stack.password()
    again = Stack(tmp_path)
    again._write_settings(again._settings())
    assert again._settings() == stack._settings()
    assert again.password() == password
    kept = again._settings()
    older = {name: value for name, value in kept.items() if not name.startswith("mlflow")}
    (tmp_path / "stack.json").write_text(json.dumps(older))  # of a version that had fewer
    assert {name: value for name, value in again._settings().items() if name in older} == older
    assert set(again._settings()) == set(kept)
    again._write_settings(kept)
    for file in (tmp_path / "stack.json", stack.password_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_who_else_logs_in_has_a_password_and_nobody_another_one(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack._write_settings(stack._settings())
    password = stack.password()
    stack._write_settings(stack._settings() | {"caller": {"FLIGHTLINE_USERS": "ada:user"}})
    assert stack.password() == password
    assert stack.password("ada") not in ("", password)
    before = (tmp_path / "stack.json").read_text()
    with pytest.raises(StackError, match="FLIGHTLINE_USERS=ada"):
        stack._write_settings(stack._settings() | {"caller": {"FLIGHTLINE_USERS": "ada"}})
    assert (tmp_path / "stack.json").read_text() == before


def test_what_the_caller_named_stays_until_another_is_named(monkeypatch) -> None:
    """Else `FLIGHTLINE_ENV=prod make up` would be in dev, and approve by itself, after the next plain `make up`."""
    said: list[str] = []
    for name in of_work(os.environ):
        monkeypatch.delenv(name)
    before = {"FLIGHTLINE_ENV": "prod", "HOUSING_CSV": "/data/housing.csv"}
    assert _kept(before, said.append) == before
    shown = "FLIGHTLINE_ENV=prod, HOUSING_CSV=/data/housing.csv"
    assert said == [f"As before: {shown} (`FLIGHTLINE_ENV= make up` takes it away)"]
    monkeypatch.setenv("FLIGHTLINE_ENV", "dev")
    monkeypatch.setenv("HOUSING_CSV", "")
    assert _kept(before, said.append) == {"FLIGHTLINE_ENV": "dev"}
    assert said[1:] == ["Not as before: FLIGHTLINE_ENV=dev, HOUSING_CSV="]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    given = {"AWS_SECRET_ACCESS_KEY": "a-key"}
    assert _kept(given, said.append) == {"FLIGHTLINE_ENV": "dev", "AWS_SECRET_ACCESS_KEY": "another"}
    assert said[2:] == ["Not as before: AWS_SECRET_ACCESS_KEY"]


@pytest.mark.parametrize("lost", [None, "", '{"fernet_k'])
def test_lost_addresses_are_said(tmp_path: Path, lost: str | None) -> None:
    if lost is not None:
        (tmp_path / "stack.json").write_text(lost)
    stack = Stack(tmp_path)
    assert not any(service.pid for service in stack.status())
    for asked in (lambda: stack.airflow_url, lambda: stack.mlflow_url, stack.environment):
        with pytest.raises(StackError, match=r"addresses are lost\. Run `make up`"):
            asked()


def test_nothing_runs_in_a_new_folder(tmp_path: Path) -> None:
    services = Stack(tmp_path).status()
    assert [service.name for service in services] == [
        "postgres",
        "mlflow",
        "feast-ui",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
    ]
    assert not any(service.pid for service in services)
