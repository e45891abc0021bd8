"""The container form: the compose file, the Dockerfile and .env.example, held against the package and each other."""

from __future__ import annotations

import configparser
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

import pytest
import yaml
from cryptography.fernet import Fernet
from sqlalchemy import NullPool, create_engine, text

from feast_delta.online.address import OnlineStoreConfig
from include.core.settings import PROJECT_ROOT, Settings
from include.features import store
from include.runtime import tracking_server
from include.runtime.environment import SECRETS as MADE
from include.runtime.environment import Environment
from include.runtime.postgres import DATABASES, PROGRAMS, SUPERUSER, Postgres

pytestmark = pytest.mark.slow

AIRFLOW = {
    "airflow-apiserver": "airflow api-server",
    "airflow-scheduler": "airflow scheduler",
    "airflow-dag-processor": "airflow dag-processor",
    "airflow-triggerer": "airflow triggerer --skip-serve-logs",
    "airflow-worker": "airflow celery worker --skip-serve-logs --pid /tmp/worker.pid",
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
LOCAL_ONLY = {
    "PATH",  # names the virtual environment
    "PYTHONUNBUFFERED",  # Airflow's image sets it
    "MLFLOW_TRACKING_AUTH",  # looks who listens on the loopback address: here servers are other hosts
}
OF_THE_SERVER = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
}
LOG_IN = {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
"""A file here."""
FEATURES = {"FLIGHTLINE_FEAST_REGISTRY", "FLIGHTLINE_FEAST_ONLINE_STORE"}
SIGNING = {"AIRFLOW__API_AUTH__JWT_SECRET"}
"""The scheduler's: locally it runs the tasks, here the worker does."""
HOLDERS = {
    "airflow_db": {"postgres", "airflow-init", *AIRFLOW},
    "mlflow_db": {"postgres", "mlflow"},
    "feast_db": {"postgres", "airflow-worker"},
    "redis_password": {"redis", "airflow-scheduler", "airflow-worker"},
    "airflow_admin_password": {"airflow-init"},
    "airflow_fernet_key": set(AIRFLOW) - {"airflow-worker"},  # tasks get connections from the API server
    "airflow_api_secret_key": {"airflow-apiserver"},
    "airflow_jwt_secret": {"airflow-apiserver", "airflow-scheduler"},
    "mlflow_credentials": {"mlflow", "airflow-worker", "airflow-triggerer"},
    "webhook_key": {"mlflow", "airflow-apiserver"},
    "webhook_encryption_key": {"mlflow"},
}
"""Who reads the file of each secret."""
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


def secrets_of(service: str) -> dict[str, str]:
    """Place in the container → secret."""
    long = [{"source": found} if isinstance(found, str) else found for found in SERVICES[service].get("secrets", [])]
    return {found.get("target", f"/run/secrets/{found['source']}"): found["source"] for found in long}


def volumes(service: str) -> dict[str, str]:
    """Place in the container → named volume or folder."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES[service].get("volumes", [])}


def local_variables(process: str) -> set[str]:
    """What the local stack gives to a process of its own."""
    return set(Environment(Path("/var"), {}, dict.fromkeys(MADE, ""), lambda database: database, {}).own(process))


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
    (tmp_path / "airflow_admin_password").write_text(f"{password}\n")
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    subprocess.run(
        [shell, option, "airflow() { :; }\n" + script], env={"PATH": IMAGE_PATH, variable: str(file)}, check=True
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
    assert server_only - options == {*OF_THE_SERVER, "MLFLOW_DISABLE_TELEMETRY"}


def test_tasks_log_in_to_mlflow_with_what_the_server_asks_for(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.utils import credentials

    for service in HOLDERS["mlflow_credentials"]:
        (place,) = (place for place, secret in secrets_of(service).items() if secret == "mlflow_credentials")
        assert place == "/home/airflow/.mlflow/credentials"
    monkeypatch.setattr(credentials, "_get_credentials_path", lambda: str(made / "mlflow_credentials"))
    for name in LOG_IN:
        monkeypatch.delenv(name, raising=False)
    found = credentials.read_mlflow_creds()
    assert found.username == tracking_server.USER
    assert re.fullmatch(r"\w{32,}", found.password or "")


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
@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("unhealthy", 1)])
def test_a_job_is_as_healthy_as_the_api_server_says(service: str, status: str, code: int) -> None:
    from airflow.api_fastapi.core_api.datamodels import monitor

    own = SERVICES[service]["command"].split()[1]
    others = {"metadatabase", "scheduler", "triggerer", "dag_processor"} - {own.replace("-", "_")}
    jobs = dict.fromkeys(others, "unhealthy" if status == "healthy" else "healthy") | {own.replace("-", "_"): status}
    said = monitor.HealthInfoResponse.model_validate(
        {name: {"status": found, f"latest_{name}_heartbeat": None} for name, found in jobs.items()}
    )
    kind, check = SERVICES[service]["healthcheck"]["test"]
    curl, _, grep = check.partition(" | ")
    assert kind == "CMD-SHELL"
    assert curl == "curl --fail --silent http://airflow-apiserver:8080/api/v2/monitor/health"
    done = subprocess.run(["sh", "-c", grep], input=said.model_dump_json(), text=True, check=False)
    assert done.returncode == code


def test_the_check_of_the_worker_asks_where_airflows_celery_listens() -> None:
    from airflow.providers.celery.executors import celery_executor
    from celery import Celery

    command = SERVICES["airflow-worker"]["healthcheck"]["test"]
    assert command[:5] == ["CMD", "timeout", "25", "python", "-c"]
    compile(command[5], "check", "exec")
    assert "airflow" not in command[5]
    ours, asked = celery_executor.app.control.mailbox, Celery().control.mailbox
    assert (ours.namespace, ours.type) == (asked.namespace, asked.type)


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
    files = LOG_IN | ({"AIRFLOW__CORE__FERNET_KEY"} if service in ("airflow-worker", "airflow-init") else set())
    elsewhere = {"airflow-scheduler": FEATURES, "airflow-worker": SIGNING}.get(service, set())
    here = {name.removesuffix(by) for name in environment(service) for by in ("_CMD", "_FILE", "")}
    assert local_variables(process) - LOCAL_ONLY - files - elsewhere - here == set()


def test_feast_finds_its_variables() -> None:
    wanted = set(REFERENCE.findall((store.REPOSITORY / "feature_store.yaml").read_text()))
    needed = {str(Settings.model_fields[field].validation_alias) for field in store.NEEDED}
    assert {name for name, *_ in wanted} | needed <= set(environment("airflow-worker"))


@pytest.mark.parametrize("service", sorted(AIRFLOW))
def test_airflow_reads_its_secrets_from_their_files(service: str, made: Path) -> None:
    """The commands, run as Airflow runs them; and it does so for these options alone."""
    from airflow._shared.configuration.parser import run_command
    from airflow.configuration import conf

    commands = {name: value for name, value in environment(service).items() if name.endswith("_CMD")}
    found = {}
    for name, command in commands.items():
        section, option = name.removeprefix("AIRFLOW__").removesuffix("_CMD").lower().split("__")
        assert (section, option) in conf.sensitive_config_values
        assert option not in {variable.lower() for variable in environment(service)}
        found[option] = run_command(command.replace("$$", "$").replace("/run/secrets", str(made)))
    keys = {
        "fernet_key": "airflow_fernet_key",
        "secret_key": "airflow_api_secret_key",
        "jwt_secret": "airflow_jwt_secret",
    }
    texts = {option: (made / file).read_text() for option, file in keys.items()}
    texts["sql_alchemy_conn"] = f"postgresql+psycopg2://airflow:{password_of(made, 'airflow')}@postgres/airflow"
    texts["broker_url"] = f"redis://:{(made / 'redis_password').read_text()}@redis:6379/0"
    assert found == {option: texts[option] for option in found}
    read = {secret for command in commands.values() for secret in re.findall(r"/run/secrets/(\w+)", command)}
    assert read == set(secrets_of(service).values()) - {"feast_db", "mlflow_credentials", "webhook_key"}


def password_of(made: Path, database: str) -> str:
    service = configparser.ConfigParser(interpolation=None)
    service.read_string((made / f"{database}_db").read_text())
    assert dict(service[database]) | {"password": ""} == {
        "host": "postgres",
        "dbname": database,
        "user": database,
        "password": "",
    }
    return service[database]["password"]


def test_a_role_owns_each_database_and_is_no_superuser(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of the image's first start, on a real server, with the files that the clients read."""
    assert volumes("postgres")["/docker-entrypoint-initdb.d"] == "./docker/postgres"
    script = PROJECT_ROOT / "docker" / "postgres" / "create_databases.sh"
    assert os.access(script, os.X_OK)  # else the image would source it
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = Postgres(folder)
    try:
        server.start(create=False)
        place = {"PGHOST": str(server.socket_folder), "PGPASSWORD": server._password(SUPERUSER)}
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        subprocess.run([script], env={"PATH": path, "SECRETS_FOLDER": str(made), **place}, check=True)
        for database in DATABASES:
            file = made / f"{database}_db"
            file.write_text(file.read_text().replace("host=postgres", f"host={server.socket_folder}"))
            address = f"postgresql+psycopg2:///?service={database}"
            monkeypatch.setenv("PGSERVICEFILE", str(file))
            with create_engine(address, poolclass=NullPool).connect() as connection:
                rights = "SELECT rolname, rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
                assert tuple(connection.execute(text(rights)).one()) == (database, False)
                connection.execute(text("CREATE TABLE own (id int)"))
                entered = (
                    "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege(datname, 'CONNECT')"
                )
                assert set(connection.execute(text(entered)).scalars()) == {database}
        assert not server.answers()  # the superuser has no password any more
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_whoever_uses_a_database_connects_as_its_role() -> None:
    services = {
        "mlflow": ("mlflow", "MLFLOW_BACKEND_STORE_URI"),
        "airflow-worker": ("feast", "FLIGHTLINE_FEAST_REGISTRY"),
    }
    for service, (database, variable) in services.items():
        assert environment(service)[variable] == f"postgresql+psycopg2:///?service={database}"
        assert environment(service)["PGSERVICEFILE"] == f"/run/secrets/{database}_db"


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


def test_redis_keeps_features_apart_from_the_queue_and_on_disk(made: Path) -> None:
    online = environment("airflow-worker")["FLIGHTLINE_FEAST_ONLINE_STORE"]
    address = online.replace("/run/secrets", str(made))
    config = OnlineStoreConfig(type="feast_delta.online.address.OnlineStore", url=address)
    password = (made / "redis_password").read_text()
    assert config.connection_string == f'redis:6379,db=1,password="{password}"'
    assert environment("airflow-worker")["AIRFLOW__CELERY__BROKER_URL_CMD"].split('"')[1].split()[1].endswith("/0")
    assert " --appendonly yes " in SERVICES["redis"]["command"][-1]
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


def test_each_service_has_the_secrets_that_it_reads_and_no_others() -> None:
    found = {
        secret: {name for name in SERVICES if secret in secrets_of(name).values()} for secret in COMPOSE["secrets"]
    }
    assert found == HOLDERS
    folder = REFERENCE.search(COMPOSE["secrets"]["airflow_db"]["file"])
    assert folder
    assert (folder[1], folder[2]) == ("SECRETS_FOLDER", "?")
    assert "docker/make_env.sh" in folder[3]
    for name, options in COMPOSE["secrets"].items():
        assert REFERENCE.sub("", options["file"]) == f"/{name}"
    for service in SERVICES:
        text = json.dumps(SERVICES[service])
        assert set(re.findall(r"/run/secrets/\w+", text)) <= set(secrets_of(service)), service


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_variable_and_no_argument_is_a_secret(service: str) -> None:
    """Whoever may ask Docker sees these, and so does each program that is started in the container."""
    for name, value in environment(service).items():
        named = re.search(r"PASSWORD$|SECRET|_KEY$|TOKEN|CREDENTIALS", name)
        if name.endswith("_CMD"):
            assert "/run/secrets/" in value
            continue
        assert not named or (name, value) == ("POSTGRES_PASSWORD", "taken-back"), name
        assert not re.search(r"//[^/@]*:[^/@]*@", value), name
    used = {name for name, *_ in REFERENCE.findall(json.dumps(SERVICES[service]))}
    assert used <= set(dict(re.findall(r"^#(\w+)=(.*)$", ENV_EXAMPLE, flags=re.MULTILINE)))


def test_the_example_of_env_names_every_variable_and_its_default() -> None:
    assigned = dict(re.findall(r"^#?(\w+)=(.*)$", ENV_EXAMPLE, flags=re.MULTILINE))
    used = {name: default for name, kind, default in REFERENCE.findall(COMPOSE_TEXT) if kind == "-"}
    assert assigned == used | {"SECRETS_FOLDER": ""}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what `docker compose config` reads."""
    for name in ("docker-compose.yaml", ".env.example", "docker/make_env.sh", "Dockerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def make_env(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "docker/make_env.sh"], cwd=project, capture_output=True, text=True, check=False)


@pytest.fixture
def made(project: Path) -> Path:
    """The folder with the files of the secrets."""
    assert make_env(project).returncode == 0
    return project / "secrets"


def test_make_env_writes_every_secret_where_nobody_else_comes_and_never_replaces_one(project: Path, made: Path) -> None:
    first = {path.name: path.read_text() for path in made.iterdir()}
    assert set(first) == set(HOLDERS)
    assert made.stat().st_mode & 0o777 == 0o700
    # A container's accounts are none of the host's: they read what everybody may, and the folder keeps everybody out.
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o644}
    assert not any(text.endswith("\n") for text in first.values())
    Fernet(first["airflow_fernet_key"])
    assert len(first["airflow_jwt_secret"]) >= 64
    assert not [text for text in first.values() if text in (project / ".env").read_text()]
    for kept, lost in ((".env", "secrets"), ("secrets", ".env")):
        again = make_env(project)
        assert again.returncode == 1
        assert "is there already; delete .env and secrets first" in again.stderr
        assert {path.name: path.read_text() for path in made.iterdir()} == first
        (project / lost).rename(project / "aside")
        assert f"{kept} is there already" in make_env(project).stderr
        (project / "aside").rename(project / lost)
    shutil.rmtree(made)
    (project / ".env").unlink()
    make_env(project)
    assert not {path.read_text() for path in made.iterdir()} & set(first.values())


def test_the_secrets_reach_no_commit() -> None:
    assert {"secrets/", ".env"} <= set((PROJECT_ROOT / ".gitignore").read_text().splitlines())


# -- image ------------------------------------------------------------------------------------


def test_the_image_is_airflows_of_the_version_in_the_lock() -> None:
    assert instructions("FROM") == ["${AIRFLOW_IMAGE}"]
    image = re.fullmatch(
        r"AIRFLOW_IMAGE=(apache/airflow:([\d.]+)-python(3\.\d+)@sha256:[0-9a-f]{64})", instructions("ARG")[0]
    )
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
    clean = {name: value for name, value in os.environ.items() if name != "SECRETS_FOLDER"}

    def config() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*client, "config"], cwd=project, env=clean, capture_output=True, text=True, check=False)

    refused = config()
    assert refused.returncode != 0
    assert "SECRETS_FOLDER is not set, run sh docker/make_env.sh" in refused.stderr
    make_env(project)
    accepted = config()
    assert accepted.returncode == 0, accepted.stderr
    resolved = yaml.safe_load(accepted.stdout)
    assert set(resolved["services"]) == set(SERVICES)
    assert set(resolved["secrets"]) == set(HOLDERS)
    for name, options in resolved["secrets"].items():
        secret = (project / options["file"]).read_text()
        assert secret
        assert secret not in accepted.stdout, name
