"""A plan that does not load, as a DAG that shows why. The other plans are not touched by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from airflow_kafka_migration.failures import StepRefused
from airflow_kafka_migration.names import dag_id
from airflow_kafka_migration.notifiers import BROKEN_NOTIFIERS, broken_notifiers, failure_notifiers

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.plan.load import BrokenPlan

INVALID_PLAN = "invalid plan"


class ShowProblems(BaseOperator):
    """Fails with what is wrong with a plan.

    :param problems: the whole message
    """

    ui_color = "#f28b82"

    def __init__(self, *, problems: str, **kwargs: Any) -> None:
        super().__init__(retries=0, **kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:
        message = f"{self.problems}\nNothing was done. Correct the file; Airflow reads it again by itself."
        self.log.error(message)
        raise StepRefused(message)


def broken_dag(plan: BrokenPlan) -> DAG:
    """The DAG `<name>.migrate` of a plan file that does not load."""
    problems = "\n".join(f"- {problem}" for problem in plan.error.problems)
    with DAG(
        dag_id(plan.name, "migrate"),
        schedule=None,
        catchup=False,
        tags=[INVALID_PLAN, *([BROKEN_NOTIFIERS] if broken_notifiers() else [])],
        description=f"{plan.file.name} is not a valid plan",
        doc_md=f"{broken_notifiers()}## `{plan.file.name}` is not a valid plan\n\n{problems}\n\n"
        "Correct the file; Airflow reads it again.",
    ) as dag:
        ShowProblems(task_id="invalid_plan", problems=str(plan.error), on_failure_callback=failure_notifiers())
    return dag
