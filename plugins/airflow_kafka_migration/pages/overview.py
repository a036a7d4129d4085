"""What the start page lists: the plans, and the last runs of each with their verdicts, all from the evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_kafka_migration.evidence import evidence_root
from airflow_kafka_migration.names import dag_id
from airflow_kafka_migration.pages.files import plan_root
from kafka_migration.evidence.bundle import EVIDENCE_HTML, EVIDENCE_JSON, run_id_of
from kafka_migration.passes import when
from kafka_migration.plan.load import BrokenPlan, load_plans
from kafka_migration.purposes import MIGRATE, MIRROR

LAST_RUNS = 20


@dataclass(frozen=True)
class RunRow:
    """One run. `page`: where its evidence is below the start page; empty while there is none."""

    purpose: str
    run_id: str
    verdict: str
    started: str
    triggered_by: str
    dry_run: bool
    page: str


@dataclass(frozen=True)
class PlanRow:
    """One plan: `problems` when its file does not load."""

    name: str
    description: str
    problems: tuple[str, ...]
    runs: tuple[RunRow, ...]


def overview(may_read: Callable[[str], bool]) -> list[PlanRow]:
    """The plans that have a DAG which the user may read, and those whose file has gone but whose evidence is there."""
    rows: dict[str, PlanRow] = {}
    for entry in load_plans():
        if isinstance(entry, BrokenPlan):
            if may_read(dag_id(entry.name, MIGRATE)):
                rows[entry.name] = PlanRow(entry.name, "", entry.error.problems, ())
        else:
            rows[entry.plan.plan] = PlanRow(entry.plan.plan, entry.plan.description, (), ())
    for name in _folders(evidence_root()):
        rows.setdefault(name, PlanRow(name, "its plan is not here any more", (), ()))
    found = []
    for name, row in sorted(rows.items()):
        purposes = {
            MIGRATE,
            MIRROR,
            *_folders(plan_root(name) / name),
        }  # its own, run or not
        readable = sorted(purpose for purpose in purposes if may_read(dag_id(name, purpose)))
        if readable:
            runs = tuple(run for purpose in readable for run in _runs(name, purpose))
            found.append(PlanRow(row.name, row.description, row.problems, runs))
    return found


def _runs(plan: str, purpose: str) -> list[RunRow]:
    folder = plan_root(plan) / plan / purpose
    newest = sorted(_folders(folder), reverse=True)[:LAST_RUNS]
    return [_run(folder / name, name, plan, purpose) for name in newest]


def _run(folder: Any, name: str, plan: str, purpose: str) -> RunRow:
    run_id = run_id_of(name)
    try:
        kept = json.loads((folder / EVIDENCE_JSON).read_text(encoding="utf-8"))
        return RunRow(
            purpose,
            run_id,
            kept["verdict"],
            when(kept["started_at"]),
            kept["triggered_by"],
            kept["dry_run"],
            f"evidence/{plan}/{purpose}/{quote(run_id, safe='')}/{EVIDENCE_HTML}",
        )
    except (OSError, ValueError, LookupError, TypeError):
        return RunRow(purpose, run_id, "", "", "", False, "")  # it runs still, was killed, or its file is damaged


def _folders(path: Any) -> list[str]:
    try:
        return [entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
