"""Who is hit, and where. Each is hit once at every point that it names, and nothing is hit twice at one point."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from tests.faults.deeds import (
    Deed,
    drop_network,
    fill_disk,
    kill_broker,
    kill_component,
    kill_keepers,
    kill_own_service,
    kill_service,
    kill_supervisor,
    kill_tasks,
    service_of,
    stall_network,
    two_attempts,
)
from tests.faults.disk import SmallDisk
from tests.faults.flows import Flow
from tests.faults.plugins.rendezvous import Arrival
from tests.faults.stage import FaultStage

_BATCH = 200  # messages that a reader of the shop takes at once


def _nothing(arrival: Arrival) -> Mapping[str, int]:
    return {}


def _its_last_batch(arrival: Arrival) -> Mapping[str, int]:
    return {service_of(arrival): _BATCH}


def _any_last_batch(arrival: Arrival) -> Mapping[str, int]:
    """Of every group whose commit found no broker."""
    return dict.fromkeys(("analytics", "audit", "billing", "shipping"), _BATCH)


def _as_it_is(stage: FaultStage) -> AbstractContextManager[list[str]]:
    return nullcontext([])


@contextmanager
def _small_disk(stage: FaultStage) -> Iterator[list[str]]:
    with SmallDisk(stage.evidence).mounted() as instead:
        yield instead


@dataclass(frozen=True)
class Victim:
    """`points`: of a flow, patterns of `<task>@<moment>`, each of which some task must come to. `deed` hits, and lets
    them go on.

    `defer`: no wait ends in the worker. `together`: tasks that come within these seconds are met by one deed.
    `repeats`: by group, what its own protocol may repeat for a hit there. `around` is entered for the whole cell, and
    tells what was not possible.
    """

    name: str
    points: Callable[[Flow], tuple[str, ...]]
    deed: Deed
    defer: bool = False
    together: float = 0.0
    repeats: Callable[[Arrival], Mapping[str, int]] = _nothing
    around: Callable[[FaultStage], AbstractContextManager[list[str]]] = _as_it_is


def _every_step(flow: Flow) -> tuple[str, ...]:
    return ("*@entry",)


def _steps(flow: Flow) -> tuple[str, ...]:
    """For what takes long to come back: of services whose tasks are the same as others', none."""
    return flow.steps


def _attempts(flow: Flow) -> tuple[str, ...]:
    """Every step, and an approval's second half."""
    return ("*@entry", "*@execute_complete")


def _watches(flow: Flow) -> tuple[str, ...]:
    return ("*@watched",)


def _producing(service: str) -> Callable[[Flow], tuple[str, ...]]:
    return lambda flow: tuple(point.format(service=service) for point in flow.producing)


VICTIMS = (
    Victim("worker", _attempts, kill_tasks),
    Victim("worker_between", lambda flow: flow.between, kill_tasks),
    Victim("worker_keeper", lambda flow: flow.alone, kill_keepers, together=1.0),
    Victim("two_attempts", lambda flow: flow.twice, two_attempts),
    Victim("scheduler", lambda flow: (*flow.steps, "gate@entry"), kill_component("scheduler"), together=1.0),
    Victim("triggerer", _watches, kill_component("triggerer"), defer=True, together=1.5),
    Victim("source_broker", _steps, kill_broker("source"), together=0.5, repeats=_any_last_batch),
    Victim("target_broker", _steps, kill_broker("target"), together=0.5, repeats=_any_last_batch),
    Victim("source_dropped", _steps, drop_network("source"), together=0.5, repeats=_any_last_batch),
    Victim("source_stalled", _steps, stall_network("source"), together=0.5, repeats=_any_last_batch),
    Victim("target_dropped", _steps, drop_network("target"), together=0.5, repeats=_any_last_batch),
    Victim("target_stalled", _steps, stall_network("target"), together=0.5, repeats=_any_last_batch),
    Victim("supervisor", _steps, kill_supervisor, together=0.5),
    Victim("order-api", _producing("order-api"), kill_service("order-api")),
    Victim("payments", _producing("payments"), kill_service("payments")),
    Victim("fulfilment", lambda flow: flow.processing, kill_service("fulfilment")),
    Victim("readers", lambda flow: flow.reading, kill_own_service, repeats=_its_last_batch),
    Victim("full_disk", _every_step, fill_disk, together=0.5, around=_small_disk),
)
