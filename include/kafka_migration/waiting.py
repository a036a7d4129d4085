"""The shape of a step that waits: prepared where things may be recorded, looked at anywhere, settled where it began.

A look changes nothing that is the plan's, so that it can be repeated by another process at any time; the watch of a
mirror writes to topics of this product's own, the canary's and the log of positions. What one look must remember for
the next (since when nothing has moved, how fast a backlog shrinks) travels in `memory`, which is JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kafka_migration.clusters.client import Clusters
    from kafka_migration.errors import ClusterError, MirrorUnreachable
    from kafka_migration.report import StepReport
    from kafka_migration.run import Run


class Outcome(StrEnum):
    """WAITING: look again later. DONE: settle. AGAIN: the facts have changed, prepare anew. FAILED: it cannot come."""

    WAITING = "waiting"
    DONE = "done"
    AGAIN = "again"
    FAILED = "failed"


@dataclass(frozen=True)
class Look:
    """What one look saw. `lines` are for the log (one a subject); `why` says what FAILED or AGAIN means.

    `numbers`: what is measured, by its name, for whoever shows it over time.
    """

    outcome: Outcome
    lines: tuple[str, ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def not_answered(error: ClusterError | MirrorUnreachable, memory: Mapping[str, Any]) -> Look:
    """What is seen of a cluster that does not answer: that ends no wait, and nothing is forgotten meanwhile."""
    return Look(Outcome.WAITING, tuple(str(error).splitlines()), memory)


class WaitStep(Protocol):
    """A step that waits for something to become true on the clusters. `brief` and `memory` are JSON."""

    name: str

    def timeout(self, run: Run) -> float:
        """Seconds from the first attempt after which the wait has failed."""

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        """All that a look must know, read from the records and the services. Raises when waiting makes no sense."""

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        """Look once, changing nothing of the plan's. `now` is seconds since the epoch."""

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        """What a wait that has failed or timed out had seen until then."""

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        """Record what was waited for and report it. Called only after a DONE look, in the process of `prepare`."""
