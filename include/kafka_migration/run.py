"""One run of one purpose of a plan: all that a step is given. Steps take it, act through it and return a report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import EvidenceError
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.passes import Pass, WayBack, current_pass, last_pass
from kafka_migration.plan.graph import Graph
from kafka_migration.plan.model import Level, Plan
from kafka_migration.purposes import FAILBACK, ROLLBACK
from kafka_migration.records import Records
from kafka_migration.report import StepReport
from kafka_migration.services.controller import Controller, Controllers
from kafka_migration.sides import Side


def _nowhere(name: str, text: str) -> str:
    raise EvidenceError(f"{name} was not written: this run keeps no evidence")


@dataclass
class Run:
    """What a step works with.

    `clusters` reaches source and target and says which of them services go to; `controllers` the services by name,
    `seconds` the second instances of those that have one; `records` outlives the run.
    `mirrors`: by the side that it copies to, the mirror of a plan that has one. `history`: what copies the stored
    messages under prefixed names, beside a move that copies nothing.
    `dry_run`: everything is read and shown, nothing is changed. `disorder`: of a rollback, that consumers cannot run on
    the target and stay on the source, though what is on the target is unread. `full`: of a verification, that what was
    proved before is read again; `level`, how closely it looks; `seed`, by which it chooses a sample. `other_plans`:
    what else is planned here.
    `documents`: a local folder for pages that a step leaves beside the evidence; None where there is none. `leave`:
    writes a text beside the evidence under a name, and tells where it lies. `suites`: the folder of the plan's suites.
    """

    plan: Plan
    purpose: str
    run_id: str
    clusters: Clusters
    controllers: Controllers
    records: Records
    seconds: Controllers = field(default_factory=dict)
    mirrors: Mapping[Side, MirrorRunner] = field(default_factory=dict)
    history: ConnectMirror | None = None
    dry_run: bool = False
    disorder: bool = False
    full: bool = False
    level: Level = "content"
    seed: int = 0
    other_plans: Sequence[Plan] = ()
    documents: Path | None = None
    leave: Callable[[str, str], str] = _nowhere
    suites: Path = field(default_factory=Path)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("kafka_migration"))
    now: Callable[[], float] = time.time

    @cached_property
    def graph(self) -> Graph:
        return Graph.of(self.plan)

    @property
    def heading(self) -> Side:
        """The side that this step moves services to."""
        return self.clusters.heading

    @property
    def leaving(self) -> Side:
        """The side that they leave."""
        return self.heading.other

    def headed(self, side: Side) -> Run:
        """The same run on its way to that side."""
        return replace(self, clusters=replace(self.clusters, heading=side))

    @property
    def returning(self) -> bool:
        """Whether this run brings services back to the source."""
        return self.purpose in (ROLLBACK, FAILBACK)

    @property
    def current(self) -> Pass:
        """The pass that this run works in; of one that is taken back, the leg that this step is on."""
        if not self.returning:
            return current_pass(self.records)
        return last_pass(self.records) if self.heading is Side.TARGET else self.way_back

    @property
    def way_back(self) -> WayBack:
        """Of the pass that a rollback takes back: its way to the source."""
        return WayBack(self.records, last_pass(self.records).number, self.plan, self.graph.stages)

    def stays(self, service: str) -> bool:
        """Whether a rollback leaves the service where it is: on the source, because it has nothing to read elsewhere.

        On the way there also one that has begun to return: it is not sent there again by a second run. A service with
        a second instance is never such a one: that instance drains the target in its stead.
        """
        if not self.returning or service in self.seconds:
            return False
        back = self.way_back
        returning = self.heading is Side.TARGET and (back.leaving(service) or back.switched(service) is not None)
        return returning or service in back.stays

    @property
    def copies(self) -> bool:
        """Whether a mirror copies to where this run goes: groups then go on at their very next message, at no seed."""
        return self.plan.copies or (self.returning and self.plan.copied_back)

    @property
    def mirror(self) -> MirrorRunner | None:
        """What copies to where this run goes."""
        return self.mirrors.get(self.heading)

    def arriving(self, service: str) -> Controller:
        """The instance of a service that is to run where this run goes."""
        there = self.seconds if self.heading is Side.TARGET else {}
        return there.get(service, self.controllers[service])

    def departing(self, service: str) -> Controller:
        """The instance that runs where this run comes from; the same one where the service has no second."""
        here = {} if self.heading is Side.TARGET else self.seconds
        return here.get(service, self.controllers[service])

    def instances(self, services: Iterable[str]) -> dict[str, Controller]:
        """All instances of these services, second ones as `<service> (second)`."""
        found = {}
        for name in services:
            found[name] = self.controllers[name]
            if name in self.seconds:
                found[f"{name} (second)"] = self.seconds[name]
        return found


class ActStep(Protocol):
    """A step that acts: observes, does what is missing, observes again, and returns what it did."""

    def __call__(self, run: Run, **args: Any) -> StepReport: ...
