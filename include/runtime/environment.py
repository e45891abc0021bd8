"""What each process of the local stack is given: what it needs of its caller's variables, and its own.

Nothing else is inherited. A variable of whoever said `make up` may name a folder that is gone when they leave, and a
secret is with those alone who use it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.fernet import Fernet

from include.core.errors import StackError
from include.core.listeners import MLFLOW_AUTH
from include.core.settings import PROJECT_ROOT
from include.runtime.tracking_server import USER, WEBHOOK_PATH

SECRETS: Mapping[str, Callable[[], str]] = {
    "fernet_key": lambda: Fernet.generate_key().decode(),
    "secret_key": partial(secrets.token_hex, 32),
    "jwt_secret": partial(secrets.token_hex, 64),
    "mlflow_password": partial(secrets.token_urlsafe, 16),
    "webhook_key": partial(secrets.token_urlsafe, 32),
    "webhook_encryption_key": lambda: Fernet.generate_key().decode(),
}
"""What is made once for an installation, and how."""
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
SYSTEM = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR"
    r"|(?i:(https?|ftp|all|no)_proxy)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
)
"""For every process: where programs are, the person's language and time zone, the way to the network."""
WORK = re.compile(
    r"FLIGHTLINE_(ENV|MODELS|USERS)|\w+_CSV|(AWS|AZURE|GOOGLE)_\w+|JAVA_HOME|(SPARK|PYSPARK|HADOOP)_\w+|OMP_NUM_THREADS"
)
"""For whoever touches tables and deliveries: what the stack leaves open, keys of a cloud's stores, Spark's places."""

_USER = r"[A-Za-z0-9_.@-]+:(viewer|user|op|admin)"
"""ASCII alone: letters of other alphabets look like these, and would name another user."""


def of_work(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of some variables that are for whoever touches tables and deliveries."""
    return {name: value for name, value in variables.items() if WORK.fullmatch(name)}


def users_of(caller: Mapping[str, str]) -> dict[str, str]:
    """Who logs in to Airflow, by name the role: an admin, and those whom the caller named (``ada:user,grace:op``).

    Each is one person, since nobody approves what they asked for themselves.

    Raises:
        StackError: they are not named so; one is named twice, in whatever case, or as those whom the record of
            decisions names where nobody decided; or ``admin`` is to be less than an admin.
    """
    named = caller.get("FLIGHTLINE_USERS", "")
    if not re.fullmatch(rf"({_USER}(,{_USER})*)?", named):
        raise StackError(
            f"FLIGHTLINE_USERS={named}", fix="Name users and roles (viewer, user, op, admin): ada:user,grace:op"
        )
    found = [(name, role) for name, _, role in (user.partition(":") for user in named.split(",") if user)]
    times = Counter(name.casefold() for name, _ in found)
    if doubled := sorted(name for name, _ in found if times[name.casefold()] > 1):
        raise StackError(f"FLIGHTLINE_USERS names {', '.join(doubled)}", fix="Name each user once, in one case")
    for name, role in found:
        if name.casefold() in _nobody():
            raise StackError(f"FLIGHTLINE_USERS names {name}", fix="Take another name: nobody's decisions have it")
        if name.casefold() == "admin" and (name, role) != ("admin", "admin"):
            raise StackError(f"FLIGHTLINE_USERS={name}:{role}", fix="Leave it out: there is an admin, who stays one")
    return {"admin": "admin"} | dict(found)


def _nobody() -> set[str]:
    """Names under which decisions are recorded that no person made."""
    # Imported here: whoever starts the stack needs no tables.
    from include.lakehouse.decisions import Actor

    return {actor.value.casefold() for actor in Actor}


@dataclass(frozen=True)
class Environment:
    """The variables of one installation.

    Args:
        home: the folder that holds all state.
        ports: of ``airflow``, ``mlflow`` and ``feast``.
        secrets: by the names of `SECRETS`.
        database: URL of a database by its name.
        caller: what whoever started the stack said in variables, by `of_work`.
    """

    home: Path
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    database: Callable[[str], str]
    caller: Mapping[str, str]

    def of(self, process: str) -> dict[str, str]:
        """All variables of one process of the stack."""
        own = self.own(process)
        system = {name: value for name, value in os.environ.items() if SYSTEM.fullmatch(name)}
        return system | ({} if process == "mlflow" else dict(self.caller)) | own

    def own(self, process: str) -> dict[str, str]:
        """Those variables of a process that the stack sets itself."""
        if process == "mlflow":
            return self._everyone() | self._mlflow()
        if process == "feast-ui":
            airflow = {"FLIGHTLINE_AIRFLOW_URL": self.url("airflow")}
            return self._everyone() | self._stores() | self._features() | airflow
        tasks = self._features() if process in ("scheduler", "shell") else {}
        return self._everyone() | self._stores() | self._airflow() | self._logging_in(process) | tasks

    def supervisor(self) -> dict[str, str]:
        """For the one who starts the others, with variables of their own."""
        return self._everyone() | {"PYTHONPATH": str(PROJECT_ROOT)}

    def shell(self) -> dict[str, str]:
        """For a person's shell, and the steps and Airflow commands in it."""
        return self.own("shell")

    def url(self, server: str) -> str:
        return f"http://127.0.0.1:{self.ports.get(server, '')}"

    # -- parts --------------------------------------------------------------------------------

    def _everyone(self) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def _mlflow(self) -> dict[str, str]:
        return {
            # Not on the command line, which every user of the machine can read.
            "MLFLOW_BACKEND_STORE_URI": self.database("mlflow"),
            "MLFLOW_AUTH_CONFIG_PATH": str(self.home / "mlflow-auth.ini"),
            "MLFLOW_TRACKING_PASSWORD": self.secrets["mlflow_password"],
            "FLIGHTLINE_WEBHOOK_ENCRYPTION_KEY": self.secrets["webhook_encryption_key"],
            # Airflow, on this machine, is whom it tells of requests.
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
            "FLIGHTLINE_WEBHOOK_KEY": self.secrets["webhook_key"],
            "FLIGHTLINE_WEBHOOK_URL": self.url("airflow") + WEBHOOK_PATH,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }

    def _stores(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(PROJECT_ROOT),
            "FLIGHTLINE_ENV": self.caller.get("FLIGHTLINE_ENV", "dev"),
            "FLIGHTLINE_LANDING_URI": str(self.home / "landing"),
            "FLIGHTLINE_LAKEHOUSE_URI": str(self.home / "lakehouse"),
            "FLIGHTLINE_MLFLOW_UI_URL": self.url("mlflow"),
            "FLIGHTLINE_FEAST_UI_URL": self.url("feast"),
            "FEAST_USAGE": "False",
            # Its threads would be forked with the scheduler, and tasks are the parallelism.
            "OPENBLAS_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": self.url("mlflow"),
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }

    def _features(self) -> dict[str, str]:
        return {
            "FLIGHTLINE_FEAST_REGISTRY": self.database("feast"),
            "FLIGHTLINE_FEAST_ONLINE_STORE": self.database("feast"),
        }

    def _airflow(self) -> dict[str, str]:
        events = {"type": "file", "log_file_path": str(self.home / "lineage" / "events.jsonl"), "append": True}
        return {
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__FERNET_KEY": self.secrets["fernet_key"],
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "airflow" / "passwords.json"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
                f"{name}:{role}" for name, role in users_of(self.caller).items()
            ),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url('airflow')}/execution/",
            "AIRFLOW__API__BASE_URL": self.url("airflow"),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database("airflow"),
            # An edited DAG file is read at once, and is to be seen at once; a new one is found within seconds.
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
            "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # What did not change is read again for the sake of the models' folders.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "log" / "tasks"),
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
            "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(events),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "flightline",
            # Not in a fork of the task: what reads Delta tables there stops for good ("Forked process detected").
            "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
            "AIRFLOW__OPENLINEAGE__EXTRACTORS": "flightline.lineage.LakehouseExtractor",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _logging_in(self, process: str) -> dict[str, str]:
        """The scheduler signs what tasks show to the API server, which signs people's sessions besides.

        Its tasks, and the triggers that look for requests, log in to MLflow: by variables, which no page of Airflow
        shows, and no task prints. What MLflow tells the API server is signed.
        """
        signing = {
            "AIRFLOW__API_AUTH__JWT_SECRET": (self.secrets["jwt_secret"], ("api-server", "scheduler", "shell")),
            "AIRFLOW__API__SECRET_KEY": (self.secrets["secret_key"], ("api-server", "shell")),
            "MLFLOW_TRACKING_USERNAME": (USER, ("scheduler", "triggerer", "shell")),
            "MLFLOW_TRACKING_PASSWORD": (self.secrets["mlflow_password"], ("scheduler", "triggerer", "shell")),
            "FLIGHTLINE_WEBHOOK_KEY": (self.secrets["webhook_key"], ("api-server",)),
            "MLFLOW_TRACKING_AUTH": (MLFLOW_AUTH, ("scheduler", "triggerer")),  # a shell's own Python does not know it
        }
        return {name: value for name, (value, users) in signing.items() if process in users}
