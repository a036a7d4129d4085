"""What must stay true of approvals, answered through Airflow's API: only a yes lets anything after it run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.dags import steps
from tests.dags.conftest import AirflowHome, Ended, Users

from airflow_kafka_migration.approvals import approval_key
from kafka_migration.run import Run


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Try something again and again beside the test until it says that it has worked, or the test has ended."""
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def start(attempt: Callable[[], bool]) -> None:
        def go_on() -> None:
            while not ended.is_set() and not attempt():
                ended.wait(0.1)

        threads.append(threading.Thread(target=go_on))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join(30)


def answered(client: TestClient, dag_id: str, option: str, status: int = 200) -> bool:
    """Whether the open question of a DAG, if there is one, was answered with that option, and Airflow with `status`."""
    asked = client.get(f"/api/v2/dags/{dag_id}/dagRuns/~/hitlDetails", params={"state": "awaiting_input"})
    for detail in asked.json().get("hitl_details", ()):
        ti = detail["task_instance"]
        where = f"{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/-1/hitlDetails"
        said = client.patch(f"/api/v2/dags/{where}", json={"chosen_options": [option], "params_input": {}})
        if said.status_code == status:
            return True
    return False


def test_approved_the_run_goes_on_and_it_is_known_who_did(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], users: Users, meanwhile: Callable[..., None]
) -> None:
    airflow_home.write_plan("asks")
    kept: list[Any] = []
    steps.deeds += [lambda run: None, lambda run: kept.append(run.records.get(_key(run)))]
    meanwhile(lambda: answered(users.client("admin"), "asks.migrate", "Approve"))
    ended = run_dag("asks.migrate")
    assert ended.state == "success"
    assert "**asks-api** of asks moves" in ended.log
    assert "Approved by admin" in ended.log
    assert (kept[0]["answer"], kept[0]["answered_by"]) == ("Approve", "admin")
    assert kept[0]["asked_at"] <= kept[0]["at"]


def test_rejected_nothing_after_it_runs(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], users: Users, meanwhile: Callable[..., None]
) -> None:
    airflow_home.write_plan("asks")
    meanwhile(lambda: answered(users.client("admin"), "asks.migrate", "Reject"))
    ended = run_dag("asks.migrate")
    assert ended.tasks == {"preflight": "success", "approve": "failed", "second": "upstream_failed"}
    assert "Rejected by admin" in ended.log
    assert "Traceback" not in ended.log


def test_only_those_whom_the_plan_names_may_answer(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], users: Users, meanwhile: Callable[..., None]
) -> None:
    airflow_home.write_plan("asks")
    refused: list[bool] = []

    def attempt() -> bool:
        if not refused and answered(users.client("op"), "asks.migrate", "Approve", status=403):
            refused.append(True)
        return bool(refused) and answered(users.client("admin"), "asks.migrate", "Reject")

    meanwhile(attempt)
    ended = run_dag("asks.migrate")
    assert refused
    assert "Rejected by admin" in ended.log


def test_unanswered_in_time_nothing_after_it_runs(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], meanwhile: Callable[..., None]
) -> None:
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    airflow_home.write_plan("hurries")
    scheduler = SchedulerJobRunner(job=Job())

    def sweep() -> bool:
        scheduler.check_awaiting_input_timeouts()
        return False

    meanwhile(sweep)
    ended = run_dag("hurries.migrate")
    assert ended.tasks == {"preflight": "success", "approve": "failed", "second": "upstream_failed"}
    assert "Nobody answered in time" in ended.log


def test_a_dry_run_asks_nobody_and_goes_on(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("asks")
    ended = run_dag("asks.migrate", dry_run=True)
    assert ended.tasks == {"preflight": "success", "approve": "success", "second": "success"}
    assert "A real run would ask" in ended.log


def _key(run: Run) -> str:
    return approval_key("asks.migrate", run.run_id, "approve")
