"""Steps that do what a test tells them, through this module's variables: DAG tests run them in this very process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.waiting import Look, Outcome

deeds: list[Callable[[Run], object]] = []
"""What the next steps that act do, in their order; after the last one they do nothing."""


def act(run: Run, **args: Any) -> StepReport:
    """A step that does what the test wants done."""
    if deeds:
        deeds.pop(0)(run)
    return StepReport(
        summary=f"{run.plan.plan} acted",
        tables=[Table("Topics", ("topic", "messages"), (("orders", 12345),))],
        changes=[Change("service api", "a:1", "b:1", done=not run.dry_run)],
    )


def question(run: Run, unit: str) -> str:
    """What a person is shown."""
    return f"**{unit}** of {run.plan.plan} moves"


class Countdown:
    """A wait that is over when `left` looks have been made, or as `outcomes` says for the next looks."""

    name = "countdown"

    def __init__(self) -> None:
        self.reset()

    def reset(self, left: int = 3, seconds: float = 60.0) -> None:
        self.left = left
        self.seconds = seconds
        self.outcomes: list[Look | Exception] = []
        self.looks = 0
        self.prepared = 0

    def timeout(self, run: Run) -> float:
        return self.seconds

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        self.prepared += 1
        return {"left": self.left}

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        self.looks += 1
        if self.outcomes:
            told = self.outcomes.pop(0)
            if isinstance(told, Exception):
                raise told
            return told
        left = int(memory.get("left", brief["left"]))
        if left == 0:
            return Look(Outcome.DONE, ("nothing left",), memory)
        return Look(Outcome.WAITING, (f"{left} left",), {"left": left - 1})

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(summary=f"drained, prepared {self.prepared} times", notes=list(look.lines))


countdown = Countdown()
