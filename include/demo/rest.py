"""A small client of Airflow's public REST API: what the demo does with a DAG run, and nothing more.

Answers with plain frozen values. Never waits for a run itself except where its name says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from demo.airflow import Login
from demo.waiting import WaitedInVain, wait_until

_TIMEOUT = 120.0  # the server may have to share its cores with much else
_FINISHED = {"success", "failed", "upstream_failed", "skipped", "removed"}
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


class ApiError(Exception):
    """Airflow refused a request, or what was asked for is not there."""


@dataclass(frozen=True)
class Connection:
    """An Airflow connection to be made."""

    id: str
    type: str
    extra: dict[str, str]
    login: str | None = None
    password: str | None = None
    description: str = ""
    host: str | None = None
    port: int | None = None
    schema: str | None = None


@dataclass(frozen=True)
class TaskRow:
    """One task of a run as Airflow shows it. `state` is None while nothing has been decided."""

    task_id: str
    map_index: int
    name: str
    state: str | None
    try_number: int
    started: datetime | None
    ended: datetime | None

    @property
    def finished(self) -> bool:
        return self.state in _FINISHED

    def seconds(self, now: datetime) -> float | None:
        if self.started is None:
            return None
        return ((self.ended if self.finished and self.ended else now) - self.started).total_seconds()


@dataclass(frozen=True)
class PendingApproval:
    """A task that waits for a person."""

    task_id: str
    map_index: int
    subject: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log."""

    level: str
    logger: str
    text: str


class AirflowClient:
    """Talks to one Airflow as one user; logs in when first needed."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._http = httpx.Client(base_url=login.url, timeout=_TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def unhealthy(self) -> dict[str, str]:
        """The components that are not healthy yet, each with what is known of it."""
        try:
            report = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError) as error:
            return {"api-server": str(error) or type(error).__name__}
        states = {name: str((report.get(name) or {}).get("status")) for name in _COMPONENTS}
        return {name: state for name, state in states.items() if state != "healthy"}

    def warm_up(self) -> None:
        """Spend now what the first task would wait for: the server builds the tasks' API at its first call."""
        self._request("GET", "/execution/health")

    def add_connection(self, connection: Connection) -> None:
        body = {
            "connection_id": connection.id,
            "conn_type": connection.type,
            "login": connection.login,
            "password": connection.password,
            "description": connection.description,
            "host": connection.host,
            "port": connection.port,
            "schema": connection.schema,
            "extra": json.dumps(connection.extra),
        }
        self._call("POST", "/connections", json=body)

    def wait_for_dag(self, dag_id: str, timeout: float, check: Callable[[], None]) -> None:
        """Until the DAG can be triggered; `check` is called meanwhile and may raise."""

        def there() -> bool:
            check()
            return self._get_or_none(f"/dags/{quote(dag_id)}") is not None

        try:
            wait_until(there, timeout=timeout, what=f"the DAG {dag_id}")
        except WaitedInVain as error:
            raise ApiError(f"{error}\n{self._import_errors()}") from error

    def task_order(self, dag_id: str) -> list[str]:
        """The task ids of the DAG, each after all those that it waits for."""
        tasks = self._call("GET", f"/dags/{quote(dag_id)}/tasks")["tasks"]
        return _topological({task["task_id"]: task["downstream_task_ids"] or [] for task in tasks})

    def trigger(self, dag_id: str, run_id: str, conf: dict[str, object]) -> None:
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        self._call("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)

    def unpause(self, dag_id: str) -> None:
        self._call("PATCH", f"/dags/{quote(dag_id)}", json={"is_paused": False})

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self._call("GET", _run(dag_id, run_id))["state"])

    def runs(self, dag_id: str) -> list[tuple[str, str]]:
        """The last runs of the DAG with their states, the newest first."""
        params = {"limit": 10, "order_by": "-run_after"}
        found = self._call("GET", f"/dags/{quote(dag_id)}/dagRuns", params=params)["dag_runs"]
        return [(run["dag_run_id"], str(run["state"])) for run in found]

    def tasks(self, dag_id: str, run_id: str) -> list[TaskRow]:
        rows: list[dict[str, Any]] = []
        while True:
            page = self._call(
                "GET", f"{_run(dag_id, run_id)}/taskInstances", params={"limit": 100, "offset": len(rows)}
            )
            rows += page["task_instances"]
            if len(rows) >= page["total_entries"] or not page["task_instances"]:
                return [_task_row(row) for row in rows]

    def pending_approvals(self, dag_id: str, run_id: str) -> list[PendingApproval]:
        found = self._call(
            "GET", f"{_run(dag_id, run_id)}/hitlDetails", params={"response_received": False, "limit": 100}
        )
        return [
            PendingApproval(
                detail["task_instance"]["task_id"],
                detail["task_instance"]["map_index"],
                detail["subject"],
                tuple(detail["options"]),
            )
            for detail in found["hitl_details"]
            if detail["task_instance"]["state"] not in _FINISHED
        ]

    def answer(self, dag_id: str, run_id: str, approval: PendingApproval, option: str) -> None:
        path = f"{_task(dag_id, run_id, approval.task_id)}/{approval.map_index}/hitlDetails"
        self._call("PATCH", path, json={"chosen_options": [option], "params_input": {}})

    def log(self, dag_id: str, run_id: str, row: TaskRow) -> list[LogLine]:
        """The log of the task's last try; empty where there is none yet."""
        found = self._get_or_none(
            f"{_task(dag_id, run_id, row.task_id)}/logs/{max(row.try_number, 1)}",
            params={"map_index": row.map_index, "full_content": True},
        )
        return list(_log_lines((found or {}).get("content", [])))

    def _import_errors(self) -> str:
        errors = self._call("GET", "/importErrors")["import_errors"]
        if not errors:
            return "No DAG file has an import error: is the DAG's plan where the plans lie?"
        return "\n".join(f"{error['filename']} does not import:\n{error['stack_trace']}" for error in errors)

    def _get_or_none(self, path: str, params: dict[str, Any] | None = None) -> dict[str, Any] | None:
        answer = self._send("GET", path, params=params)
        return None if answer.status_code == httpx.codes.NOT_FOUND else _content(answer)

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return _content(self._send(method, path, **request))

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        if "authorization" not in self._http.headers:
            self._log_in()
        answer = self._request(method, f"/api/v2{path}", **request)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # the token has run out
            self._log_in()
            answer = self._request(method, f"/api/v2{path}", **request)
        return answer

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise ApiError(
                f"Airflow at {self._login.url} did not answer {method} {path}: {error or error!r}"
            ) from error

    def _log_in(self) -> None:
        body = {"username": self._login.user, "password": self._login.password}
        token = _content(self._request("POST", "/auth/token", json=body))["access_token"]
        self._http.headers["authorization"] = f"Bearer {token}"


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _content(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        request = answer.request
        raise ApiError(
            f"Airflow answered {request.method} {request.url.path} with {answer.status_code}: {answer.text[:500]}"
        )
    content = answer.json()
    if not isinstance(content, dict):
        raise ApiError(f"Airflow answered {answer.request.url.path} with something unexpected: {answer.text[:200]}")
    return content


def _task_row(row: dict[str, Any]) -> TaskRow:
    mapped = row["rendered_map_index"] or (str(row["map_index"]) if row["map_index"] >= 0 else "")
    name = row["task_display_name"] or row["task_id"]
    return TaskRow(
        task_id=row["task_id"],
        map_index=row["map_index"],
        name=f"{name} [{mapped}]" if mapped else name,
        state=row["state"],
        try_number=row["try_number"],
        started=_time(row["start_date"]),
        ended=_time(row["end_date"]),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _log_lines(content: Iterable[object]) -> Iterable[LogLine]:
    for entry in content:
        if not isinstance(entry, dict):
            yield LogLine("info", "", str(entry))
        elif not str(entry.get("event", "")).startswith("::"):  # fold markers of the log page
            yield LogLine(str(entry.get("level", "info")).lower(), str(entry.get("logger", "")), _with_error(entry))


def _with_error(entry: dict[str, Any]) -> str:
    """The line and, where it tells of an exception, its type and message: the traceback stays in the log."""
    errors = entry.get("error_detail") or []
    reasons = [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in errors if isinstance(error, dict)]
    return "\n".join([str(entry.get("event", "")), *reasons])


def _topological(downstream: dict[str, list[str]]) -> list[str]:
    waits = dict.fromkeys(downstream, 0)
    for followers in downstream.values():
        for follower in followers:
            waits[follower] += 1
    ready = [task for task, count in waits.items() if count == 0]
    order: list[str] = []
    while ready:
        task = ready.pop(0)
        order.append(task)
        for follower in downstream[task]:
            waits[follower] -= 1
            if waits[follower] == 0:
                ready.append(follower)
    return order
