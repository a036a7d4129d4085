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
    """`points`: patterns of `<task>@<moment>`, each of which some task must come to. `deed` hits, and lets them go on.

    `defer`: no wait ends in the worker. `together`: tasks that come within these seconds are met by one deed.
    `repeats`: by group, what its own protocol may repeat for a hit there. `around` is entered for the whole cell, and
    tells what was not possible.
    """

    name: str
    points: tuple[str, ...]
    deed: Deed
    defer: bool = False
    together: float = 0.0
    repeats: Callable[[Arrival], Mapping[str, int]] = _nothing
    around: Callable[[FaultStage], AbstractContextManager[list[str]]] = _as_it_is


_EVERY_STEP = ("*@entry",)
# For what takes long to come back: of the readers that move last, whose tasks are the same, none.
_STEPS = (
    "preflight@entry",
    "create_topics@entry",
    "seed_groups@entry",
    "approve_producers@entry",
    "compare_topics@entry",
    "switch_producers.*@entry",
    "cutover@entry",
    *(
        f"{service}.{step}@entry"
        for service in ("fulfilment", "billing")
        for step in ("drained", "switch", "consuming")
    ),
    "fulfilment.cutover@entry",
    "coverage@entry",
    "evidence@entry",
)
_BETWEEN = (
    "create_topics@created",
    "seed_groups@planted",
    "switch_producers.order-api@stopped",
    "switch_producers.order-api@restarted",
    "switch_producers.payments@configured",
    "switch_producers.payments@recorded",
    "cutover@frozen",
    "fulfilment.drained@proved",
    "fulfilment.switch@looked",
    "fulfilment.switch@stopped",
    "fulfilment.switch@configured",  # the third kill: its retries are used up, it has to be cleared
    "fulfilment.switch@restarted",
    "fulfilment.cutover@frozen",
    "billing.switch@configured",
    "audit.switch@restarted",
    "analytics.switch@recorded",
    "coverage@told",
    "evidence@published",
    "gate@finished",
)
_OF_PRODUCERS = tuple(
    f"{task}@entry"
    for task in (
        "preflight",
        "create_topics",
        "seed_groups",
        "approve_producers",
        "compare_topics",
        "cutover",
        "coverage",
    )
)
_OF_READERS = tuple(
    f"{service}.{step}"
    for service in ("audit", "billing", "analytics", "shipping")
    for step in ("drained@entry", "switch@entry", "switch@restarted", "consuming@entry")
)

VICTIMS = (
    Victim("worker", (*_EVERY_STEP, "*@execute_complete"), kill_tasks),
    Victim("worker_between", _BETWEEN, kill_tasks),
    Victim(
        "worker_keeper",
        ("seed_groups@planted", "switch_producers.*@stopped", "fulfilment.switch@restarted", "evidence@published"),
        kill_keepers,
        together=1.0,
    ),
    Victim(
        "two_attempts",
        ("seed_groups@planted", "switch_producers.order-api@stopped", "fulfilment.switch@configured", "gate@finished"),
        two_attempts,
    ),
    Victim("scheduler", (*_STEPS, "gate@entry"), kill_component("scheduler"), together=1.0),
    Victim("triggerer", ("*@watched",), kill_component("triggerer"), defer=True, together=1.5),
    Victim("source_broker", _STEPS, kill_broker("source"), together=0.5, repeats=_any_last_batch),
    Victim("target_broker", _STEPS, kill_broker("target"), together=0.5, repeats=_any_last_batch),
    Victim("source_dropped", _STEPS, drop_network("source"), together=0.5, repeats=_any_last_batch),
    Victim("source_stalled", _STEPS, stall_network("source"), together=0.5, repeats=_any_last_batch),
    Victim("target_dropped", _STEPS, drop_network("target"), together=0.5, repeats=_any_last_batch),
    Victim("target_stalled", _STEPS, stall_network("target"), together=0.5, repeats=_any_last_batch),
    Victim("supervisor", _STEPS, kill_supervisor, together=0.5),
    Victim(
        "order-api",
        (*_OF_PRODUCERS, "switch_producers.order-api@entry", "switch_producers.order-api@restarted"),
        kill_service("order-api"),
    ),
    Victim(
        "payments",
        (*_OF_PRODUCERS, "switch_producers.payments@entry", "switch_producers.payments@restarted"),
        kill_service("payments"),
    ),
    Victim(
        "fulfilment",
        (
            *_OF_PRODUCERS,
            *(f"fulfilment.{step}@entry" for step in ("drained", "switch", "consuming", "cutover")),
            "fulfilment.switch@restarted",
        ),
        kill_service("fulfilment"),
    ),
    Victim("readers", _OF_READERS, kill_own_service, repeats=_its_last_batch),
    Victim("full_disk", _EVERY_STEP, fill_disk, together=0.5, around=_small_disk),
)
