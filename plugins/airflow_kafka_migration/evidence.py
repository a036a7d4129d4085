"""Where evidence lies: a plan's own place, else the one that the environment names, else beside Airflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import ObjectStoragePath

if TYPE_CHECKING:
    from kafka_migration.plan.model import Plan

VARIABLE = "KAFKA_MIGRATION_EVIDENCE"


def evidence_root(plan: Plan | None = None) -> ObjectStoragePath:
    """The folder that holds `<plan>/<purpose>/<run>/`; without a plan, that of plans which name no place."""
    named = (plan.evidence.path if plan else None) or os.environ.get(VARIABLE)
    if named and "://" in named:
        return ObjectStoragePath(named)
    folder = Path(named) if named else _airflow_home() / "kafka-migration-evidence"
    return ObjectStoragePath(f"file://{folder.absolute()}")


def _airflow_home() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
