"""The container form: the compose file, the Dockerfile and .env.example, held against the package and each other."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import yaml
from cryptography.fernet import Fernet

from include.core.settings import PROJECT_ROOT, Settings
from include.features import store
from include.runtime import tracking_server
from include.runtime.environment import SECRETS as MADE
from include.runtime.environment import Environment
from include.runtime.postgres import DATABASES, PROGRAMS, SUPERUSER, Postgres

AIRFLOW = {
    "airflow-apiserver": "airflow api-server",
    "airflow-scheduler": "airflow scheduler",
    "airflow-dag-processor": "airflow dag-processor",
    "airflow-triggerer": "airflow triggerer",
    "airflow-worker": "airflow celery worker --pid /tmp/worker.pid",
}
OURS = {*AIRFLOW, "airflow-init", "mlflow"}
LOCAL_PROCESS = {
    "airflow-apiserver": "api-server",
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag-processor",
    "airflow-triggerer": "triggerer",
    "airflow-worker": "scheduler",  # which runs the tasks itself
    "airflow-init": "db-migrate",
    "mlflow": "mlflow",
}
LOCAL_ONLY = {"PATH", "PYTHONUNBUFFERED"}  # names the virtual environment; Airflow's image sets the other
OF_THE_SERVER = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_AUTH_ADMIN_PASSWORD"}
OF_TASKS = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
SECRETS = {
    "POSTGRES_PASSWORD",
    "AIRFLOW_DB_PASSWORD",
    "MLFLOW_DB_PASSWORD",
    "FEAST_DB_PASSWORD",
    "REDIS_PASSWORD",
    "AIRFLOW_ADMIN_PASSWORD",
    "MLFLOW_PASSWORD",
    "MLFLOW_SECRET_KEY",
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_JWT_SECRET",
}
IMAGE_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""As in the image, `python` is the one that has the packages; a bare Debian has none of that name."""
REFERENCE = re.compile(r"(?<!\$)\$\{(\w+)(?::([?-])([^}]*))?\}")

COMPOSE_TEXT = (PROJECT_ROOT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENV_EXAMPLE = (PROJECT_ROOT / ".env.example").read_text()
DOCKERFILE = [
    line.split(None, 1)
    for line in (PROJECT_ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def instructions(name: str) -> list[str]:
    return [arguments for instruction, arguments in DOCKERFILE if instruction == name]


def image_environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in shlex.split(line))


def environment(service: str) -> dict[str, str]:
    """What the service's processes see: the image's variables, then the compose file's; defaults filled in."""
    return image_environment() | {
        name: REFERENCE.sub(lambda m: m[3] if m[2] == "-" else "given", str(value))
        for name, value in SERVICES[service].get("environment", {}).items()
    }


def volumes(service: str) -> dict[str, str]:
    """Place in the container → named volume or folder."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES[service].get("volumes", [])}


def local_variables(process: str) -> set[str]:
    """What the local stack gives to a process of its own."""
    return set(Environment(Path("/var"), {}, dict.fromkeys(MADE, ""), lambda database: database).own(process))


# -- services ---------------------------------------------------------------------------------


def test_every_service_is_there_and_one_image_serves_airflow_and_mlflow() -> None:
    assert set(SERVICES) == OURS | {"postgres", "redis"}
    assert {(SERVICES[name]["image"], SERVICES[name]["build"]["context"]) for name in OURS} == {
        ("flightline:latest", ".")
    }


@pytest.mark.parametrize(("service", "command"), AIRFLOW.items())
def test_an_airflow_service_runs_a_command_that_airflow_has(service: str, command: str) -> None:
    from airflow.cli import cli_parser

    assert SERVICES[service]["command"] == command
    cli_parser.get_parser().parse_args(shlex.split(command)[1:])


def test_init_migrates_and_writes_the_password_file_that_the_api_server_reads(tmp_path: Path) -> None:
    init, variable = SERVICES["airflow-init"], "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
    shell, option, script = init["command"]
    assert (shell, option) == ("bash", "-ec")
    assert script.startswith("airflow db migrate\n")
    file, password = tmp_path / "passwords.json", """a "quoted" $word's"""
    subprocess.run(
        [shell, option, "airflow() { :; }\n" + script.replace("$$", "$")],
        env={"PATH": IMAGE_PATH, variable: str(file), "AIRFLOW_ADMIN_PASSWORD": password},
        check=True,
    )
    assert json.loads(file.read_text()) == {"admin": password}
    assert file.stat().st_mode & 0o077 == 0
    place = str(Path(environment("airflow-apiserver")[variable]).parent)
    assert volumes("airflow-init")[place] == volumes("airflow-apiserver")[place]


def test_a_stopped_worker_has_time_to_finish_its_tasks() -> None:
    worker = SERVICES["airflow-worker"]
    assert worker["environment"]["DUMB_INIT_SETSID"] == "0"
    minutes = re.fullmatch(r"(\d+)m", worker["stop_grace_period"])
    assert minutes
    assert int(minutes[1]) >= 2  # Docker's own 10 seconds are less than a tuning takes


def test_mlflow_runs_a_command_that_mlflow_has() -> None:
    from mlflow.cli import server

    entry = SERVICES["mlflow"]["entrypoint"]
    assert entry == ["/usr/bin/dumb-init", "--", "python", "-m", tracking_server.__name__]
    context = server.make_context("server", list(SERVICES["mlflow"]["command"]))
    assert (context.params["host"], int(context.params["port"])) == ("0.0.0.0", 5000)
    options = {option.envvar for option in server.params}
    server_only = {name for name in environment("mlflow") if name.startswith("MLFLOW_")}
    assert server_only - options == {*OF_THE_SERVER, "MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_DISABLE_TELEMETRY"}


def test_tasks_log_in_to_mlflow_and_nobody_else_does() -> None:
    assert {name for name in SERVICES if OF_TASKS & set(environment(name))} == {"airflow-worker"}
    tasks, server = (SERVICES[name]["environment"] for name in ("airflow-worker", "mlflow"))
    assert tasks["MLFLOW_TRACKING_PASSWORD"] == server["MLFLOW_AUTH_ADMIN_PASSWORD"]
    assert tasks["MLFLOW_TRACKING_USERNAME"] == tracking_server.USER


def test_mlflow_answers_to_the_name_the_tasks_call_it_by() -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    called = urlsplit(environment("airflow-worker")["MLFLOW_TRACKING_URI"])
    allowed = environment("mlflow")["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert called.hostname in SERVICES
    assert is_allowed_host_header(allowed, called.netloc)
    assert is_allowed_host_header(allowed, "localhost:5050")
    assert not is_allowed_host_header(allowed, "elsewhere:5000")


def test_tasks_find_the_api_server() -> None:
    address = urlsplit(environment("airflow-worker")["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
    assert (address.hostname, address.port, address.path) == ("airflow-apiserver", 8080, "/execution/")
    assert f"http://localhost:{address.port}/" in SERVICES["airflow-apiserver"]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("service", sorted(set(SERVICES) - {"airflow-init"}))
def test_every_lasting_service_has_a_health_check(service: str) -> None:
    check = SERVICES[service]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("service", ["airflow-dag-processor", "airflow-triggerer"])
def test_a_check_of_jobs_names_a_job_that_airflow_has(service: str) -> None:
    from airflow.cli import cli_parser

    command = shlex.split(SERVICES[service]["healthcheck"]["test"][-1].replace("$$", "$"))
    arguments = cli_parser.get_parser().parse_args(command[1:])
    assert arguments.job_type.removesuffix("Job").lower() == SERVICES[service]["command"].split()[-1].replace("-", "")


def test_the_check_of_the_worker_pings_airflows_celery_application() -> None:
    from airflow.providers.celery.executors import celery_executor

    command = shlex.split(SERVICES["airflow-worker"]["healthcheck"]["test"][-1].replace("$$", "$"))
    module, _, name = command[command.index("--app") + 1].rpartition(".")
    assert module == celery_executor.__name__
    assert hasattr(celery_executor, name)
    assert command[-1] == "celery@${HOSTNAME}"


def test_services_wait_for_what_they_need() -> None:
    waits = {
        name: {on: how["condition"] for on, how in SERVICES[name].get("depends_on", {}).items()} for name in SERVICES
    }
    databases = {"postgres": "service_healthy", "redis": "service_healthy"}
    initialised = databases | {"airflow-init": "service_completed_successfully"}
    assert waits == {
        "postgres": {},
        "redis": {},
        "mlflow": {"postgres": "service_healthy"},
        "airflow-init": databases,
        **dict.fromkeys(AIRFLOW, initialised),
        "airflow-worker": initialised | {"airflow-apiserver": "service_healthy", "mlflow": "service_healthy"},
    }
    assert SERVICES["airflow-init"]["restart"] == "no"  # else it never completes


# -- variables --------------------------------------------------------------------------------


@pytest.mark.parametrize(("service", "process"), LOCAL_PROCESS.items())
def test_what_the_local_stack_gives_a_process_it_has_here_too(service: str, process: str) -> None:
    elsewhere = OF_TASKS if service == "airflow-scheduler" else set()  # locally it runs the tasks
    assert local_variables(process) - LOCAL_ONLY - elsewhere - set(environment(service)) == set()


def test_feast_finds_its_variables() -> None:
    wanted = set(REFERENCE.findall((store.REPOSITORY / "feature_store.yaml").read_text()))
    needed = {str(Settings.model_fields[field].validation_alias) for field in store.NEEDED}
    assert {name for name, *_ in wanted} | needed <= set(environment("airflow-worker"))


def database_addresses(service: str) -> dict[str, Any]:
    return {
        name: urlsplit(value) for name, value in environment(service).items() if re.match(r"(db\+)?postgresql", value)
    }


def test_a_role_owns_each_database_and_is_no_superuser(tmp_path: Path) -> None:
    """The script of the image's first start, on a real server."""
    assert volumes("postgres")["/docker-entrypoint-initdb.d"] == "./docker/postgres"
    script = PROJECT_ROOT / "docker" / "postgres" / "create_databases.sh"
    assert os.access(script, os.X_OK)  # else the image would source it
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = Postgres(folder)
    passwords = {name: f"of-{name}" for name in environment("postgres") if name.endswith("_DB_PASSWORD")}
    try:
        server.start(create=False)
        given = {
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": str(server.socket_folder),
            "POSTGRES_PASSWORD": server._password(SUPERUSER),
            **passwords,
        }
        subprocess.run([script], env=given, check=True)
        for database in DATABASES:
            place = {"host": str(server.socket_folder), "user": database, "dbname": database}
            with psycopg2.connect(**place, password=f"of-{database.upper()}_DB_PASSWORD") as connection:
                cursor = connection.cursor()
                cursor.execute("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
                assert cursor.fetchone() == (False,)
                cursor.execute("CREATE TABLE own (id int)")
                cursor.execute("SELECT datname FROM pg_database WHERE has_database_privilege(datname, 'CONNECT')")
                assert {name for (name,) in cursor.fetchall()} & set(DATABASES) == {database}
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_whoever_uses_a_database_connects_as_its_role() -> None:
    used = [address for service in OURS for address in database_addresses(service).values()]
    assert {(address.username, address.path.strip("/")) for address in used} == {(name, name) for name in DATABASES}
    assert {address.hostname for address in used} == {"postgres"}
    for service in OURS:
        for name in SERVICES[service]["environment"]:
            if name in database_addresses(service):
                password = REFERENCE.search(str(SERVICES[service]["environment"][name]))
                role = database_addresses(service)[name].username
                assert password[1] == f"{role.upper()}_DB_PASSWORD"  # type: ignore[index]


# -- what a service may -----------------------------------------------------------------------


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_service_has_no_rights_and_writes_to_its_volumes_alone(service: str) -> None:
    found = SERVICES[service]
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert "privileged" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["read_only"] is True
    assert "/tmp" in found["tmpfs"]
    if service not in OURS:
        assert found["user"] == service  # the image would begin as root


def test_a_service_reaches_those_that_it_uses_and_no_others() -> None:
    networks = COMPOSE["networks"]
    members = {name: {service for service in SERVICES if name in SERVICES[service]["networks"]} for name in networks}
    assert {name for name, options in networks.items() if (options or {}).get("internal")} == {"database", "queue"}
    assert members["database"] == {"postgres", *OURS}
    assert members["queue"] == {"redis", "airflow-scheduler", "airflow-worker"}
    assert members["services"] == OURS - {"airflow-scheduler"}
    published = {service for service in SERVICES if SERVICES[service].get("ports")}
    assert published == {"mlflow", "airflow-apiserver"}
    assert all(port.startswith("127.0.0.1:") for service in published for port in SERVICES[service]["ports"])


def test_redis_asks_for_a_password_and_keeps_features_apart_from_the_queue_and_on_disk() -> None:
    addresses = {
        name: urlsplit(environment("airflow-worker")[name])
        for name in ("FLIGHTLINE_FEAST_ONLINE_STORE", "AIRFLOW__CELERY__BROKER_URL")
    }
    assert {(address.scheme, address.hostname, address.port) for address in addresses.values()} == {
        ("redis", "redis", 6379)
    }
    assert {address.path for address in addresses.values()} == {"/0", "/1"}
    server, *options = SERVICES["redis"]["command"]
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert (server, given["--appendonly"]) == ("redis-server", "yes")
    passwords = {given["--requirepass"], SERVICES["redis"]["environment"]["REDISCLI_AUTH"]}
    assert {REFERENCE.fullmatch(password)[1] for password in passwords} == {"REDIS_PASSWORD"}  # type: ignore[index]
    assert volumes("redis") == {"/data": "redis"}


@pytest.mark.parametrize("service", sorted(set(AIRFLOW) - {"airflow-apiserver"}))
def test_the_stores_are_on_shared_volumes(service: str) -> None:
    places = {environment(service)[f"FLIGHTLINE_{name}_URI"] for name in ("LANDING", "LAKEHOUSE")}
    places.add(environment(service)["AIRFLOW__LOGGING__BASE_LOG_FOLDER"])
    found = volumes(service)
    assert places == set(found)
    assert found == {place: volumes("airflow-worker")[place] for place in places}
    assert set(found.values()) <= set(COMPOSE["volumes"])


def test_the_api_server_sees_the_tables_behind_its_pages() -> None:
    lakehouse = environment("airflow-apiserver")["FLIGHTLINE_LAKEHOUSE_URI"]
    assert volumes("airflow-apiserver")[lakehouse] == volumes("airflow-worker")[lakehouse]
    assert f"lakehouse:{lakehouse}:ro" in SERVICES["airflow-apiserver"]["volumes"]  # it has nothing to write there


def test_the_image_has_a_folder_of_the_user_for_each_volume() -> None:
    made = {
        word
        for line in instructions("RUN")
        for part in re.findall(r"install -d -o airflow -g 0 [^&]*", line)
        for word in part.split()
        if word.startswith("/")
    }
    mounted = {place for service in OURS for place in volumes(service)} - {"/opt/airflow/logs"}
    assert mounted <= made
    assert urlsplit(environment("mlflow")["MLFLOW_ARTIFACTS_DESTINATION"]).path in volumes("mlflow")


# -- secrets ----------------------------------------------------------------------------------


def test_a_secret_has_no_default_and_its_absence_is_named() -> None:
    found = REFERENCE.findall(COMPOSE_TEXT)
    assert {name for name, kind, _ in found if kind == "?"} == SECRETS
    assert {name for name, kind, _ in found if kind != "?"}.isdisjoint(SECRETS)
    assert all(name in message and ".env.example" in message for name, kind, message in found if kind == "?")


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_nothing_secret_is_written_in_the_compose_file(service: str) -> None:
    for name, value in SERVICES[service].get("environment", {}).items():
        if re.search(r"PASSWORD$|SECRET|_KEY$", name):
            assert REFERENCE.fullmatch(value), name
        if password := re.search(r"//\w*:(.*)@", str(value)):
            assert REFERENCE.fullmatch(password[1]), name


def test_the_example_of_env_names_every_variable_and_no_secret() -> None:
    assigned = dict(re.findall(r"^#?(\w+)=(.*)$", ENV_EXAMPLE, flags=re.MULTILINE))
    used = {name: (kind, default) for name, kind, default in REFERENCE.findall(COMPOSE_TEXT)}
    assert set(assigned) == set(used)
    assert {name: assigned[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    assert {name: default for name, (kind, default) in used.items() if kind == "-"} == {
        name: value for name, value in assigned.items() if name not in SECRETS
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what `docker compose config` reads."""
    for name in ("docker-compose.yaml", ".env.example", "docker/make_env.sh", "Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def make_env(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "docker/make_env.sh"], cwd=project, capture_output=True, text=True, check=False)


def secrets_of(project: Path) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", (project / ".env").read_text(), flags=re.MULTILINE))


def test_make_env_fills_in_every_secret_and_never_replaces_one(project: Path) -> None:
    assert make_env(project).returncode == 0
    first = secrets_of(project)
    assert set(first) == SECRETS
    assert (project / ".env").stat().st_mode & 0o077 == 0
    Fernet(first["AIRFLOW_FERNET_KEY"])
    passwords = ("POSTGRES", "AIRFLOW_DB", "MLFLOW_DB", "FEAST_DB", "REDIS", "MLFLOW")
    assert all(re.fullmatch(r"\w{32,}", first[f"{name}_PASSWORD"]) for name in passwords)
    assert len(first["AIRFLOW_JWT_SECRET"]) >= 64
    again = make_env(project)
    assert again.returncode == 1
    assert ".env is there already" in again.stderr
    assert secrets_of(project) == first
    (project / ".env").unlink()
    make_env(project)
    assert not set(secrets_of(project).values()) & set(first.values())


# -- image ------------------------------------------------------------------------------------


def test_the_image_is_airflows_of_the_version_in_the_lock() -> None:
    assert instructions("FROM") == ["${AIRFLOW_IMAGE}"]
    image = re.fullmatch(r"AIRFLOW_IMAGE=(apache/airflow:([\d.]+)-python(3\.\d+))", instructions("ARG")[0])
    assert image
    lock = (PROJECT_ROOT / "requirements.txt").read_text()
    assert f"\napache-airflow=={image[2]} " in lock
    assert image[3] in ("3.11", "3.12")
    assert {SERVICES[name]["build"]["args"]["AIRFLOW_IMAGE"] for name in OURS} == {f"${{AIRFLOW_IMAGE:-{image[1]}}}"}


def test_the_image_installs_the_lock_as_the_user_airflow() -> None:
    steps = [f"{instruction} {arguments}" for instruction, arguments in DOCKERFILE]
    copied = steps.index("COPY requirements.txt /requirements.txt")
    installed = next(i for i, step in enumerate(steps) if re.search(r"pip install .*-r /requirements\.txt", step))
    assert steps.index("USER root") < steps.index("USER airflow") < copied < installed
    assert instructions("USER")[-1] == "airflow"
    assert "libgomp1" in " ".join(instructions("RUN"))  # LightGBM's


def test_the_code_is_in_the_image_and_nothing_else_reaches_the_builder() -> None:
    copies = {line.split()[-2]: line.split()[-1] for line in instructions("COPY")}
    folders = {"dags", "feast_delta", "feature_repo", "include", "plugins"}
    assert copies == {name: f"/opt/airflow/{name}" for name in folders} | {"requirements.txt": "/requirements.txt"}
    ignored = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copies)
    assert next(line for line in ignored if not line.startswith("#")) == "*"
    places = image_environment()
    assert places["PYTHONPATH"] == "/opt/airflow"
    assert places["AIRFLOW__CORE__DAGS_FOLDER"] == copies["dags"]
    assert places["AIRFLOW__CORE__PLUGINS_FOLDER"] == copies["plugins"]


# -- the compose client -----------------------------------------------------------------------


def compose_client() -> list[str]:
    """Docker's where it is there, else Podman's, which needs no Podman to read a file."""
    for client in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(client[0])
            and subprocess.run([*client, "version"], capture_output=True, check=False).returncode == 0
        ):
            return client
    return [sys.executable, "-m", "podman_compose", "--dry-run"]


def test_the_file_is_what_the_specification_of_compose_says() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    found = subprocess.run(
        [*command, PROJECT_ROOT / "docker-compose.yaml"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_the_compose_client_accepts_the_file(project: Path) -> None:
    client = compose_client()
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}

    def config() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*client, "config"], cwd=project, env=clean, capture_output=True, text=True, check=False)

    refused = config()
    assert refused.returncode != 0
    assert re.search(r"\w+ is not set, see \.env\.example", refused.stderr)
    make_env(project)
    accepted = config()
    assert accepted.returncode == 0, accepted.stderr
    resolved = yaml.safe_load(accepted.stdout)["services"]
    assert set(resolved) == set(SERVICES)
    password = secrets_of(project)["REDIS_PASSWORD"]
    assert resolved["redis"]["command"][-1] == password
    online = resolved["airflow-worker"]["environment"]["FLIGHTLINE_FEAST_ONLINE_STORE"]
    assert online == f"redis://:{password}@redis:6379/1"
