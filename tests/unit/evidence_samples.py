"""Evidence for tests: a plan, steps as tasks write them, and the facts of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kafka_migration.evidence.assemble import Facts
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.evidence.model import Approval
from kafka_migration.findings import Finding, Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import CutoverPoint
from kafka_migration.plan.load import parse_plan
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.verification.coverage import CoverageRow

RUN_ID = "manual__2030-01-31T10:00:00+00:00"
BEGAN = datetime(2030, 2, 1, 6, tzinfo=UTC).timestamp()

PLAN = parse_plan(
    """
plan: orders
description: "Orders & payments <move>"
scheme: producers_first
source: {connection: kafka_source}
target: {connection: kafka_target}
topics: {include: [orders]}
services:
  - {name: order-api, produces: [orders], controller: {kind: manual}}
  - name: billing
    consumes: [{group: billing, topics: [orders]}]
    controller: {kind: manual}
accept:
  - {finding: writers/orders, reason: "CHG-1: the <batch> job is stopped"}
""",
    Path("orders.yaml"),
)

ROW = CoverageRow(
    topic="orders",
    partition=0,
    group="billing",
    service="billing",
    begin=0,
    cutover=1500,
    origin_log_start=0,
    origin_commit=1500,
    origin_verdict="drained",
    origin_visible=1400,
    origin_left=0,
    seed=0,
    destination_log_start=0,
    destination_commit=30,
    destination_end=40,
    destination_visible=39,
    destination_consumed=30,
    destination_left=9,
)

ACCEPTED = Finding(
    "writers/orders",
    Status.INCONCLUSIVE,
    "grows although nobody claims it",
    accepted="CHG-1: the <batch> job is stopped",
)

REPORTS = {
    "preflight": StepReport(
        "2 findings",
        tables=[Table("Topics", ("topic", "messages"), (("orders", 12345),))],
        findings=[Finding("cluster-ids", Status.PASS, "two clusters"), ACCEPTED],
        data={"topics": 1, "partitions": 1, "groups": 1, "services": 2},
    ),
    "switch_producers": StepReport("switched", changes=[Change("order-api", "old:9092", "new:9092")]),
    "billing.drained": StepReport(
        "drained",
        data={"service": "billing", "samples": {"billing": [[BEGAN + 20, 900], [BEGAN + 21, 400], [BEGAN + 24, 0]]}},
    ),
    "coverage": StepReport(
        "covered",
        findings=[Finding("coverage-origin-left/all", Status.PASS, "held for 1 of 1 rows")],
        data={"coverage": [ROW.to_json()], "data_docs": "data_docs/coverage.html"},
    ),
}

FACTS = Facts(
    plan=PLAN,
    started_at=BEGAN,
    ended_at=BEGAN + 60,
    triggered_by="a.lindqvist",
    reason="CHG-20417",
    dry_run=False,
    steps=dict.fromkeys(REPORTS, "success"),
    approvals=(
        Approval(
            task="approve_producers",
            state="success",
            asked_at=BEGAN + 5,
            answered_by="m.okafor",
            answer="Approve",
            at=BEGAN + 9,
        ),
    ),
    points={
        "first": [
            CutoverPoint(1, BEGAN + 15, RUN_ID, {TopicPartition("orders", 0): 1490}),
            CutoverPoint(2, BEGAN + 17, RUN_ID, {TopicPartition("orders", 0): 1500}),
        ]
    },
)


def bundle_at(root: Any, **more: Any) -> Bundle:
    return Bundle(root, "orders", "migrate", RUN_ID, **more)


def payload(task: str, attempt: int = 1, **more: Any) -> dict[str, Any]:
    """What a task writes; `report` may be given as a `StepReport`."""
    report = more.pop("report", StepReport("done"))
    return {
        "schema_version": 1,
        "task_id": task,
        "attempt": attempt,
        "map_index": -1,
        "state": "success",
        "started_at": BEGAN + attempt,
        "ended_at": BEGAN + attempt + 1,
        "error": None,
        "report": report.to_json(),
        **more,
    }


def write_run(bundle: Bundle, reports: Mapping[str, StepReport] | None = None) -> Bundle:
    """A whole run that went well, unless other reports are given."""
    for number, (task, report) in enumerate((reports or REPORTS).items()):
        began = BEGAN + 10 * number
        bundle.write_step(task, 1, payload(task, report=report, started_at=began, ended_at=began + 4))
    return bundle


def facts(**changes: Any) -> Facts:
    return replace(FACTS, **changes)
