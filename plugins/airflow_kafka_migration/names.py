"""Names that the DAGs, the operators and the pages agree on. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST_TASK = "preflight"
"""The first task of every DAG that changes something: by it the runs of other DAGs are found."""

LOCKING = ("migrate",)
"""The purposes whose runs hold the topics and services that they touch."""


def dag_id(plan: str, purpose: str) -> str:
    return f"{plan}.{purpose}"


def purpose_of(dag_id: str) -> str:
    return dag_id.rpartition(".")[2]


def is_dry(context: Mapping[str, Any]) -> bool:
    """Whether the run was triggered to show what it would do."""
    return bool(context["params"].get("dry_run"))
