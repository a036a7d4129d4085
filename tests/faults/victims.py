"""Who is hit, where, and how. Each is hit once at every point that it names, and nothing is hit twice at one point."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.faults.plugins.rendezvous import Arrival
from tests.faults.stage import FaultStage

Deed = Callable[[FaultStage, Sequence[Arrival]], None]


@dataclass(frozen=True)
class Victim:
    """`points`: patterns of `<task>@<moment>`, each of which some task must come to. `deed` hits, and lets them go on.

    `defer`: no wait ends in the worker. `together`: tasks that come within these seconds are met by one deed.
    """

    name: str
    points: tuple[str, ...]
    deed: Deed
    defer: bool = False
    together: float = 0.0


def _kill_tasks(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        _kill(arrival.pid)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


VICTIMS = (
    Victim("worker", ("*@entry", "*@execute_complete"), _kill_tasks),
    Victim(
        "worker_between",
        (
            "create_topics@created",
            "seed_groups@planted",
            "switch_producers.order-api@stopped",
            "switch_producers.order-api@restarted",
            "switch_producers.payments@configured",
            "switch_producers.payments@recorded",
            "cutover@frozen",
            "fulfilment.drained@proved",
            "fulfilment.switch@*",
            "fulfilment.cutover@frozen",
            "billing.switch@configured",
            "audit.switch@restarted",
            "coverage@told",
            "evidence@published",
            "gate@finished",
        ),
        _kill_tasks,
    ),
)
