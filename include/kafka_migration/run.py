"""One run of one purpose of a plan: all that a step is given. Steps take it, act through it and return a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from kafka_migration.clusters.client import Clusters
from kafka_migration.plan.graph import Graph
from kafka_migration.plan.model import Plan
from kafka_migration.records import Records
from kafka_migration.report import StepReport
from kafka_migration.services.controller import Controllers


@dataclass
class Run:
    """What a step works with.

    `clusters` reaches source and target, `controllers` the services by name, `records` outlives the run.
    `dry_run`: everything is read and shown, nothing is changed. `other_plans`: what else is planned here.
    `documents`: a local folder for pages that a step leaves beside the evidence; None where there is none.
    """

    plan: Plan
    purpose: str
    run_id: str
    clusters: Clusters
    controllers: Controllers
    records: Records
    dry_run: bool = False
    other_plans: Sequence[Plan] = ()
    documents: Path | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kafka_migration"))
    now: Callable[[], float] = time.time

    @cached_property
    def graph(self) -> Graph:
        return Graph.of(self.plan)


class ActStep(Protocol):
    """A step that acts: observes, does what is missing, observes again, and returns what it did."""

    def __call__(self, run: Run, **args: Any) -> StepReport: ...
