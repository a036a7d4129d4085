"""Names that the DAGs, the operators and the pages agree on. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafka_migration.purposes import ROLLBACK, VERIFY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.plan.model import Plan

FIRST_TASK = "preflight"
"""The first task of every DAG that changes something: by it the runs of other DAGs are found."""

PAGES = "/kafka-migration"
"""Where the pages are mounted in Airflow's API server."""

DOCUMENTS = "data_docs"
"""The folder beside the evidence for the pages that checks leave."""

DRY_RUN, REASON, DISORDER = "dry_run", "reason", "disorder"
FULL, LEVEL, SEED = "full", "level", "seed"
"""What runs may be triggered with, see `parameters`; all else stands in the plan."""


def dag_id(plan: str, purpose: str) -> str:
    return f"{plan}.{purpose}"


def plan_of(dag_id: str) -> str:
    return dag_id.rpartition(".")[0]


def purpose_of(dag_id: str) -> str:
    return dag_id.rpartition(".")[2]


def parameters(purpose: str, plan: Plan) -> tuple[str, ...]:
    """What runs of that purpose may be triggered with.

    `disorder`, that consumers cannot run on the target: rollbacks in which they would have to. `dry_run`: all but those
    that never change anything. Verifications: `level`, and `full`; `seed` where there are copies to choose from.
    """
    if purpose == VERIFY:
        return (REASON, LEVEL, FULL, SEED) if plan.copies else (REASON, LEVEL, FULL)
    if purpose == ROLLBACK and plan.scheme == "producers_first" and not plan.copied_back:
        return (DRY_RUN, REASON, DISORDER)
    return (DRY_RUN, REASON)


def is_dry(context: Context) -> bool:
    """Whether the run was triggered to show what it would do."""
    return bool(context["params"].get(DRY_RUN))
