"""DAGs made of the operators under test and of steps that do as a test says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_kafka_migration.approvals import PlanApproval
from airflow_kafka_migration.broken import broken_dag
from airflow_kafka_migration.notifiers import approval_notifiers
from airflow_kafka_migration.operators import StepOperator
from airflow_kafka_migration.sensors import WaitOperator
from kafka_migration.plan.load import BrokenPlan, load_plans

STEPS = "tests.dags.steps"
PARAMS = {"dry_run": False, "reason": None}


def _act(plan: str, name: str) -> StepOperator:
    return StepOperator(task_id=name, plan=plan, step=f"{STEPS}:act", retries=0)


def _wait(plan: str, **args: Any) -> WaitOperator:
    return WaitOperator(task_id="drained", plan=plan, step=f"{STEPS}:countdown", poll=0.1, retries=0, **args)


for plan in ("acts", "others"):
    with DAG(f"{plan}.migrate", params=PARAMS):
        _act(plan, "preflight") >> _act(plan, "second")

with DAG("waits.migrate", params=PARAMS):
    _act("waits", "preflight") >> _wait("waits")

with DAG("lingers.migrate", params=PARAMS):
    _act("lingers", "preflight") >> _wait("lingers", patience=30.0)

for plan, seconds in (("asks", 300), ("hurries", 1)):
    with DAG(f"{plan}.migrate", params=PARAMS):
        (
            _act(plan, "preflight")
            >> PlanApproval(
                task_id="approve",
                plan=plan,
                subject="switch the producers?",
                question=f"{STEPS}:question",
                args={"unit": "asks-api"},
                approvers=("admin",),
                notifiers=approval_notifiers(),
                response_timeout=timedelta(seconds=seconds),
            )
            >> _act(plan, "second")
        )

for entry in load_plans():
    if isinstance(entry, BrokenPlan):
        globals()[entry.name] = broken_dag(entry)
