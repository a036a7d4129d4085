"""A DAG of many waits of random length, side by side, and the step that they are made of.

Read twice: as a DAG file, and (from the `config` folder of Airflow's home) as the module that the triggerer imports.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from airflow.sdk import DAG

from airflow_kafka_migration.sensors import WaitOperator
from kafka_migration.clusters.client import Clusters
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.waiting import Look, Outcome

WAITS = 18
LONGEST = 12.0


class Until:
    """Waits `seconds` from the first look on, which is made in a worker: any that waits at all is left to a trigger."""

    name = "until"

    def timeout(self, run: Run) -> float:
        return 600.0

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        return dict(args)

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        until = memory.get("until", now + brief["seconds"])
        return Look(Outcome.DONE if now >= until else Outcome.WAITING, memory={"until": until})

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(summary="over")


until = Until()


draw = random.Random(1)
with DAG("waits.load", params={"dry_run": False, "reason": None}, max_active_tasks=64):
    for number in range(WAITS):
        # A third of them is over when it is first looked at; the others are deferred.
        seconds = draw.uniform(0.01, LONGEST) if number % 3 else 0.0
        WaitOperator(
            task_id=f"wait_{number}",
            plan="waits",
            step="waits_under_load:until",
            args={"seconds": seconds},
            poll=0.25,
            retries=0,
        )
