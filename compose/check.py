"""`make compose-check`: the whole compose file once, over local base images, with a worker killed in the middle.

Builds the images, brings the stack and the demo up, waits until every container is healthy, lets `demo.composed` make
one run, kills with SIGKILL the worker whose task has just stopped a service to switch it, and wants a PASS, and that
the task that was killed was run again by the other worker. KILL_IN names the step: `switch_producers`, or `switch`, of
a reading service. Everything is put away at the end, volumes too. It starts no Docker engine.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import environment

from demo.interrupts import Interrupted, raise_on_signals

_ROOT = Path(__file__).resolve().parents[1]
_PROJECT = "kafka-migration-check"
_DAG = "orders.migrate"
_STEPS = ("switch_producers", "switch")
_STOPPED = re.compile(r" stopped: (\S+) ")  # what the shop's supervisord logs
_HEALTHY_WITHIN = 900.0
_LOCAL = {
    "AIRFLOW_IMAGE": "kafka-migration-local/airflow",
    "KAFKA_IMAGE": "kafka-migration-local/kafka",
    "POSTGRES_IMAGE": "kafka-migration-local/postgres",
    "REDIS_IMAGE": "kafka-migration-local/redis",
    "KAFKA_MIGRATION_IMAGE": "kafka-migration-local/project",
    "BUILD_NETWORK": "host",
    "TASK_HEARTBEAT_TIMEOUT": "30",
    "WORKER_CONCURRENCY": "6",
    "WORKER_PID": "service:shop",
}


class Failed(Exception):
    """The check has found what is not as it should be."""


class Compose:
    """docker-compose with this check's own project, port and secrets."""

    def __init__(self, command: list[str], env_file: Path) -> None:
        self._command = [*command, "--project-name", _PROJECT, "--env-file", str(env_file), "--profile", "demo"]

    def run(self, *arguments: str) -> None:
        if subprocess.run([*self._command, *arguments], cwd=_ROOT, check=False).returncode:
            raise Failed(f"`{' '.join(arguments)}` failed")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*self._command, *arguments], cwd=_ROOT, stdout=subprocess.PIPE, text=True)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Each service's container, as Docker describes it."""
        label = f"label=com.docker.compose.project={_PROJECT}"
        ids = _docker("ps", "--all", "--quiet", "--filter", label).split()
        described: list[dict[str, Any]] = json.loads(_docker("inspect", *ids)) if ids else []
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in described}


@dataclass(frozen=True)
class Killed:
    """The worker that was killed, the task that it ran, and which try of it that was."""

    worker: str
    task: str
    try_number: int


def main() -> int:
    step = os.environ.get("KILL_IN") or _STEPS[0]
    if step not in _STEPS:
        raise Failed(f"KILL_IN={step} is no step in which a worker can be killed here; there are {', '.join(_STEPS)}")
    say("building the local base images")
    if subprocess.run([_ROOT / "compose/bases/build.sh"], env={**os.environ, "PYTHON": sys.executable}).returncode:
        raise Failed("the base images could not be built")
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        env_file = Path(folder) / "env"
        password = _write_environment(env_file, port)
        compose = Compose(shlex.split(os.environ["COMPOSE"]), env_file)
        try:
            # What a check left that was itself killed. Volumes hold its passwords, and may be there without containers.
            compose.run("down", "--volumes", "--timeout", "0")
            _up(compose)
            return _migrate(compose, Api(port, password), step)
        finally:
            _keep_logs(compose)
            compose.run("down", "--volumes", "--timeout", "20")


def _up(compose: Compose) -> None:
    began = time.monotonic()
    say("building the project's image")
    compose.run("build", "--quiet", "init")
    say(f"built after {time.monotonic() - began:.0f} s; starting everything")
    began = time.monotonic()
    compose.run("up", "--detach", "--no-build")
    while waited_for := _not_well(compose.containers()):
        if time.monotonic() - began > _HEALTHY_WITHIN:
            raise Failed(f"not healthy after {_HEALTHY_WITHIN:.0f} s: {', '.join(waited_for)}")
        time.sleep(2)
    say(f"every container is healthy after {time.monotonic() - began:.0f} s")


def _not_well(containers: dict[str, dict[str, Any]]) -> list[str]:
    waited_for = []
    for name, one in sorted(containers.items()):
        state = one["State"]
        if state["Status"] == "exited" and name in ("init", "connections"):
            if state["ExitCode"]:
                raise Failed(f"{name} ended with exit code {state['ExitCode']}")
        elif state.get("Health", {}).get("Status") != "healthy":
            waited_for.append(name)
    return waited_for


def _migrate(compose: Compose, api: Api, step: str) -> int:
    killer = Killer(compose, api, step)
    killer.start()
    driver = compose.start("run", "--rm", "-T", "--no-deps", "migration")
    last = ""
    assert driver.stdout is not None
    for line in driver.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    code = driver.wait()
    killed = killer.end()
    if code or not last.startswith("verdict PASS"):
        raise Failed(f"the migration did not end in PASS: {last}")
    if killed is None:
        raise Failed(f"no worker was killed: no task of {step} was seen to stop its service")
    tasks = [one for one in api.tasks() if one["task_id"] == killed.task]
    again = [one for one in tasks if one["try_number"] > killed.try_number and not _on(one, killed.worker)]
    if not again:
        raise Failed(f"{killed.task} was not run again by the other worker: {tasks}")
    if compose.containers()[killed.worker]["State"]["Running"]:
        raise Failed(f"{killed.worker} was to stay dead")
    say(f"{killed.task}, killed with {killed.worker}, was run again by {again[0]['hostname']}")
    print(f"compose-check {last.removeprefix('verdict ')}", flush=True)
    return 0


class Killer:
    """Kills the worker whose task has stopped its service, as soon as the shop's supervisord tells of that.

    Which worker runs what is asked all the time: between the stop and the next start lie some 40 ms. The kill mostly
    meets the task when it has started the service again and not recorded that.
    """

    def __init__(self, compose: Compose, api: Api, step: str) -> None:
        containers = compose.containers()
        self._workers = {name: str(containers[name]["Id"]) for name in ("worker-1", "worker-2")}
        command = ["docker", "logs", "--follow", "--tail", "0", containers["shop"]["Id"]]
        self._shop = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._api = api
        self._step = step
        self._running: list[dict[str, Any]] = []
        self._over = threading.Event()
        self._killed: Killed | None = None
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._look, self._listen)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> Killed | None:
        self._over.set()
        self._shop.terminate()
        for thread in self._threads:
            thread.join(10)
        return self._killed

    def _look(self) -> None:
        while not self._over.wait(0.2):
            with suppress(OSError, ValueError):
                self._running = self._api.tasks("running")

    def _listen(self) -> None:
        assert self._shop.stdout is not None
        for line in self._shop.stdout:
            stopped = _STOPPED.search(line)
            if stopped and self._kill(stopped[1]):
                return

    def _kill(self, service: str) -> bool:
        for task in self._running:
            worker = next((name for name in self._workers if _on(task, name)), None)
            if worker and set(task["task_id"].split(".")) == {self._step, service}:
                _docker("kill", "--signal", "KILL", self._workers[worker])
                self._killed = Killed(worker, task["task_id"], task["try_number"])
                say(f"killed {worker}, whose {task['task_id']} (try {task['try_number']}) had just stopped {service}")
                return True
        return False


def _on(task: dict[str, Any], worker: str) -> bool:
    return str(task["hostname"]).partition(".")[0] == worker


class Api:
    """Airflow's API on the published port, as far as the kill needs it."""

    def __init__(self, port: int, password: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._password = password
        self._token = ""

    def tasks(self, state: str | None = None) -> list[dict[str, Any]]:
        if not self._token:
            body = json.dumps({"username": "admin", "password": self._password}).encode()
            self._token = self._ask("/auth/token", body)["access_token"]
        query = f"&state={state}" if state else ""
        path = f"/api/v2/dags/{_DAG}/dagRuns/~/taskInstances?limit=100{query}"
        rows: list[dict[str, Any]] = self._ask(path)["task_instances"]
        return rows

    def _ask(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._token}"}
        request = urllib.request.Request(self._url + path, body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
            return content


def _write_environment(file: Path, port: int) -> str:
    """The administrator's password."""
    environment.write(file)
    values = {**_LOCAL, "AIRFLOW_PORT": str(port), "AIRFLOW_ADMIN_PASSWORD": secrets.token_urlsafe(16)}
    lines = [line.partition("=") for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("".join(f"{name}{sep}{values.get(name, value)}\n" for name, sep, value in lines), encoding="utf-8")
    return values["AIRFLOW_ADMIN_PASSWORD"]


def _keep_logs(compose: Compose) -> None:
    """What each container said, for whoever looks for the reason."""
    folder = _ROOT / ".demo" / "compose-check"
    folder.mkdir(parents=True, exist_ok=True)
    for name, one in compose.containers().items():
        with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
            subprocess.run(["docker", "logs", one["Id"]], stdout=log, stderr=subprocess.STDOUT, check=False)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    raise_on_signals()
    try:
        sys.exit(main())
    except Failed as error:
        print(f"compose-check FAIL {error}", flush=True)
        sys.exit(1)
    except Interrupted as error:
        print(f"compose-check INTERRUPTED {error}", flush=True)
        sys.exit(130)
