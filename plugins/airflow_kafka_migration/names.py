"""Names that the DAGs, the operators and the pages agree on. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context

FIRST_TASK = "preflight"
"""The first task of every DAG that changes something: by it the runs of other DAGs are found."""

PAGES = "/kafka-migration"
"""Where the pages are mounted in Airflow's API server."""

DOCUMENTS = "data_docs"
"""The folder beside the evidence for the pages that checks leave."""

PARAMETERS = frozenset({"dry_run", "reason"})
"""What a run may be triggered with; all else stands in the plan."""

DISORDER = "disorder"
"""What some DAGs may be triggered with too: see `offers_disorder`."""

LOCKING = ("migrate", "rollback")
"""The purposes whose runs hold the topics and services that they touch."""


def dag_id(plan: str, purpose: str) -> str:
    return f"{plan}.{purpose}"


def plan_of(dag_id: str) -> str:
    return dag_id.rpartition(".")[0]


def purpose_of(dag_id: str) -> str:
    return dag_id.rpartition(".")[2]


def offers_disorder(purpose: str, scheme: str) -> bool:
    """Whether runs may be told that consumers cannot run on the target: rollbacks without second instances there."""
    return purpose == "rollback" and scheme == "producers_first"


def is_dry(context: Context) -> bool:
    """Whether the run was triggered to show what it would do."""
    return bool(context["params"].get("dry_run"))
