"""What must stay true of approvals, answered through Airflow's API: only a yes lets anything after it run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.dags import steps
from tests.dags.conftest import AirflowHome, Ended, Users, answered

from airflow_kafka_migration.approvals import approval_key
from kafka_migration.run import Run


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
