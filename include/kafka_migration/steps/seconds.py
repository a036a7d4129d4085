"""Steps of the scheme in which consumers run on both clusters for a while: start the second instances, close the first.

On the way back the same steps start the originals again and close the second instances. Nothing is ever deleted: what
is closed is stopped, and kept from starting at boot where its controller can.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from kafka_migration.errors import Refused, ServiceError
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.describe import await_left, describe_groups
from kafka_migration.passes import when
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps.common import check_window, observations_table, observe_all, side_by_side
from kafka_migration.steps.seeds import ensure_seeds, seeds_missing
from kafka_migration.steps.switch import last_look, seen_back, split

_BY_HAND = 30.0  # seconds in which Kafka must show what a person says to have done


def start(run: Run, unit: str) -> StepReport:
    """Start the instances of a unit where this run goes, beside those where it comes from.

    Their groups are seeded before they start. Raises `ServiceNotBack`, or `OffsetsRefused` for a group that is in use.
    """
    services = _readers(run, unit)
    arriving = {name: run.arriving(name) for name in services}
    before = observe_all(arriving)
    to_start = [n for n, o in before.items() if not arriving[n].manual and not _runs(run, o)]
    changes = [
        Change(f"instance of {n}", str(before[n]), f"running on the {run.heading}", not run.dry_run) for n in to_start
    ]
    for name in to_start:
        for line in arriving[name].configured_for(run.heading):
            changes.append(Change(f"settings of {name}", *split(line), done=not run.dry_run))
    if run.dry_run:
        return StepReport(f"would start {', '.join(to_start) or 'nothing'} on the {run.heading}", changes=changes)
    if run.heading is Side.TARGET and (missing := seeds_missing(run)):
        raise Refused(
            f"groups {', '.join(missing)} have no seed on the {run.heading} yet; run the task that seeds them"
        )
    current = run.current
    if to_start:
        check_window(run, f"starting {', '.join(to_start)}")
    for name in services:
        if current.note(f"second/{name}") is None:
            # Recorded first: who finds the group in use there knows by whom.
            current.keep(f"second/{name}", {"run_id": run.run_id, "at": run.now()})
    unseeded = {g for n in services if not _runs(run, before[n]) for g in run.plan.service(n).groups}
    idle = {g for g, d in describe_groups(run.clusters.destination, unseeded).items() if not d.active}
    changes += ensure_seeds(run, current, idle)
    side_by_side(to_start, lambda name: _start(run, name))
    after = observe_all(arriving)
    return StepReport(
        f"on the {run.heading}: {', '.join(services)}"
        if to_start
        else f"{', '.join(services)}: nothing to do, on the {run.heading} already",
        tables=[observations_table("Before", before), observations_table("After", after)],
        changes=changes,
        data={"services": services, "started": to_start},
    )


def close(run: Run, unit: str) -> StepReport:
    """Close the instances of a unit where this run comes from, after every one of their groups has drained.

    Ends are read again right before. Raises `StragglerFound`, or `Refused` when a group is not drained after all or
    its other instance does not run.
    """
    services = _readers(run, unit)
    departing = {name: run.departing(name) for name in services}
    arriving = {name: run.arriving(name) for name in services}
    before = observe_all(departing)
    to_stop = [n for n, o in before.items() if o.state is State.RUNNING]
    changes = [Change(f"instance of {n}", str(before[n]), "closed", not run.dry_run) for n in to_stop]
    if run.dry_run:
        return StepReport(f"would close {', '.join(to_stop) or 'nothing'} on the {run.leaving}", changes=changes)
    current = run.current
    waiting = [n for n in services if current.switched(n) is None]
    tables: list[Table] = []
    if waiting:
        check_window(run, f"closing {', '.join(waiting)}")
        absent = {n: o for n, o in observe_all(arriving).items() if not arriving[n].manual and not _runs(run, o)}
        if absent:
            raise Refused(
                f"nothing was closed: on the {run.heading} "
                + "; ".join(f"{n} is {o}" for n, o in absent.items())
                + ". Start it there first (clear the task that starts it)."
            )
        for name in waiting:
            current.set_leaving(name, run.now())
        try:
            tables = last_look(run, current, waiting)
        except BaseException:
            for name in set(waiting) & set(to_stop):  # what has stopped already cannot read what came since
                current.set_staying(name)
            raise
    side_by_side(to_stop, lambda name: departing[name].stop())
    _await_gone(run, [n for n in waiting if departing[n].manual])
    notes = [f"{', '.join(to_stop)}: told to stop, stopped {when(run.now())}"] if to_stop else []
    for name in services:
        at_boot = [*departing[name].start_at_boot(False), *arriving[name].start_at_boot(True)]
        changes += [Change(f"start of {name} at boot", *split(line)) for line in at_boot]
        if current.switched(name) is None:
            current.set_switched(name, run.run_id, run.now())
    after = observe_all(departing)
    running = [n for n, o in after.items() if o.state is State.RUNNING]
    if running:
        raise ServiceError(
            f"{', '.join(running)} still run on the {run.leaving} after they were stopped; clear this task"
        )
    return StepReport(
        f"closed on the {run.leaving}: {', '.join(services)}"
        if to_stop
        else f"{', '.join(services)}: nothing to do, closed on the {run.leaving} already",
        tables=[*tables, observations_table("Before", before), observations_table("After", after)],
        changes=changes,
        notes=notes,
        findings=[
            Finding(f"service-moved/{n}", Status.PASS, f"closed on the {run.leaving}, runs on the {run.heading}")
            for n in services
        ],
        data={"services": services, "closed": to_stop},
    )


@contextmanager
def seconds_stopped(run: Run, topics: Iterable[str]) -> Iterator[list[str]]:
    """Stop the instances that read these topics where this run goes, for as long as their groups are being seeded.

    Yields what is to be told of it. Raises `Refused` where a person would have to do it.
    """
    read = set(topics)
    names = [s.name for s in run.plan.services if s.name in run.seconds and read & s.reads]
    running = [n for n, o in observe_all({n: run.arriving(n) for n in names}).items() if o.state is State.RUNNING]
    by_hand = [n for n in names if run.arriving(n).manual]
    groups = [g for n in by_hand for g in run.plan.service(n).groups]
    if any(d.active for d in describe_groups(run.clusters.destination, groups).values()):
        raise Refused(
            f"{', '.join(sorted(read))} came to be since {', '.join(by_hand)} started on the {run.heading}: offsets of"
            " a group in use cannot be set. Stop it there by hand, clear this task, and start it again"
        )
    side_by_side(running, lambda name: run.arriving(name).stop())
    try:
        # A static member, and one of Kafka Streams, does not say that it leaves.
        await_left(run.clusters.destination, {g for n in running for g in run.plan.service(n).groups})
        yield [f"{', '.join(running)}: stopped while the new partitions were seeded, and started again"] * bool(running)
    finally:
        side_by_side(running, lambda name: seen_back(run.arriving(name), run.arriving(name).start))


def _readers(run: Run, unit: str) -> list[str]:
    return [name for name in run.graph.unit(unit).services if run.plan.service(name).consumes]


def _runs(run: Run, seen: Observation) -> bool:
    return seen.state is State.RUNNING and seen.side is run.heading


def _start(run: Run, name: str) -> None:
    controller = run.arriving(name)
    controller.stop()  # one that runs elsewhere; one that does not run is left as it is
    for line in controller.configure(run.heading):
        run.log.info("%s: %s", name, line)
    seen_back(controller, controller.start)
    seen = controller.observe()
    if seen.side is not run.heading:
        raise ServiceError(f"{name} runs, but not with the {run.heading}'s address: {seen}; clear this task")


def _await_gone(run: Run, by_hand: Sequence[str]) -> None:
    """A person said that they are closed; Kafka must show it."""
    groups = [g for name in by_hand for g in run.plan.service(name).groups]
    deadline = time.monotonic() + _BY_HAND
    while groups:
        there = [g for g, d in describe_groups(run.clusters.origin, groups).items() if d.active]
        if not there:
            return
        if time.monotonic() > deadline:
            raise ServiceError(
                f"groups {', '.join(there)} still have members on the {run.leaving}: stop"
                f" {', '.join(by_hand)} there, then clear this task"
            )
        time.sleep(0.5)
