"""What is done to a victim while tasks stand at a point, and when these may go on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tests.faults.cluster import FaultCluster
from tests.faults.disk import SmallDisk
from tests.faults.plugins.rendezvous import Arrival
from tests.faults.stage import FaultStage

from demo.shop.catalogue import readers
from demo.waiting import wait_until

Deed = Callable[[FaultStage, Sequence[Arrival]], None]

_RETRIED_WITHIN = 120.0
_BOTH_ACT = 3.0
_TRANSACTIONAL = ("payments", "fulfilment")
_TRANSACTIONS_END_WITHIN = 0.3
_BROKER_AWAY = 1.0
_DROPPED = 4.0
_STALLED = 6.0
_DISK_FULL = 2.0


def kill_tasks(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        _signal(arrival.pid, signal.SIGKILL)


def kill_keepers(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    """Airflow's process goes, the task's stays: nobody sends its heartbeats, and it has nobody to talk to."""
    for arrival in arrivals:
        _signal(arrival.keeper, signal.SIGKILL)
    _release(stage, arrivals)


def two_attempts(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    """The first is stopped until Airflow has begun a second. Then both act, the first at first without its keeper.

    So nobody can end it yet, though Airflow has given it up.
    """
    for first in arrivals:
        for pid in (first.keeper, first.pid):
            _signal(pid, signal.SIGSTOP)
        again = f"{first.task}@entry"
        stage.rendezvous.arm_too(again)
        come = partial(stage.rendezvous.arrival, again)
        wait_until(lambda: come() is not None, timeout=_RETRIED_WITHIN, what=f"a second attempt of {first.task}")  # noqa: B023
        second = come()
        assert second is not None
        _signal(first.pid, signal.SIGCONT)
        _release(stage, (first, second))
        time.sleep(_BOTH_ACT)
        _signal(first.keeper, signal.SIGCONT)


def kill_component(name: str) -> Deed:
    """A component of Airflow; whoever started it starts it again at once."""

    def deed(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
        _signal(stage.component(name), signal.SIGKILL)
        _release(stage, arrivals)

    return deed


def kill_broker(of: str) -> Deed:
    """As a machine that loses its power and comes back some seconds later.

    Not while it ends a transaction. A broker that comes back without a leader for a partition takes that for deleted
    and leaves out its marker: what was committed is aborted in the end, and that is Kafka's own loss (KAFKA-5202).
    """

    def deed(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
        cluster = _cluster(stage, of)
        cluster.wait_ready()
        with stage.shop.held_still(_TRANSACTIONAL):
            time.sleep(_TRANSACTIONS_END_WITHIN)
            cluster.kill()
        _release(stage, arrivals)
        time.sleep(_BROKER_AWAY)
        cluster.start()

    return deed


def drop_network(of: str) -> Deed:
    def deed(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
        _cluster(stage, of).network.drop()
        _release(stage, arrivals)
        time.sleep(_DROPPED)
        _cluster(stage, of).network.mend()

    return deed


def stall_network(of: str) -> Deed:
    def deed(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
        _cluster(stage, of).network.stall()
        _release(stage, arrivals)
        time.sleep(_STALLED)
        _cluster(stage, of).network.mend()

    return deed


def kill_supervisor(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    """Its services end with it; an init system starts it again, and it starts all of them."""
    stage.shop.kill_supervisor()
    _release(stage, arrivals)
    stage.shop.start_supervisor()


def kill_service(name: str) -> Deed:
    """A process of the shop; its supervisor starts it again."""

    def deed(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
        stage.shop.kill_service(name)
        _release(stage, arrivals)

    return deed


def kill_own_service(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    """Of each task, the service that it is about; of a step about second instances, that one."""
    for arrival in arrivals:
        second = arrival.task.startswith(("seconds.", "keeping_up."))
        stage.shop.kill_service(service_of(arrival) + ("-second" if second else ""))
    _release(stage, arrivals)


def fill_disk(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    """No room for evidence until somebody has made some."""
    disk = SmallDisk(stage.evidence)
    disk.fill([arrival.pid for arrival in arrivals])
    _release(stage, arrivals)
    time.sleep(_DISK_FULL)
    disk.make_room()


def service_of(arrival: Arrival) -> str:
    """The tasks of a reading service carry its name."""
    return next(name for name in readers() if name in arrival.task.split("."))


def _release(stage: FaultStage, arrivals: Sequence[Arrival]) -> None:
    for arrival in arrivals:
        stage.rendezvous.release(arrival)


def _cluster(stage: FaultStage, name: str) -> FaultCluster:
    return {"source": stage.source, "target": stage.target}[name]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
