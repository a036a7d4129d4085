"""Steps: switch services to the other cluster. Observe, act only on what is missing, observe again.

What is stopped here is recorded first, so that a killed worker's next attempt knows a stopped service as its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from kafka_migration.errors import Refused, ServiceError, ServiceNotBack
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.describe import describe_groups
from kafka_migration.groups.drain import Proof
from kafka_migration.offsets import Which, read_offsets
from kafka_migration.passes import Pass, WayBack, when
from kafka_migration.purposes import FAILOVER
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Controller, Observation, State
from kafka_migration.sides import Side
from kafka_migration.steps.common import (
    check_window,
    joins,
    observations_table,
    observe_all,
    side_by_side,
    stages_read,
)
from kafka_migration.steps.drain import positions_now, positions_table
from kafka_migration.steps.seeds import ensure_seeds, seeds_missing
from kafka_migration.stragglers import find_stragglers, settle_stragglers
from kafka_migration.topics.describe import partitions_of

_LATE_DRAIN = 60.0  # seconds to wait for a group to read what came behind the point just before its switch
_BY_HAND = 30.0  # seconds in which Kafka must show what a person says to have done


def switch_producers(run: Run, unit: str) -> StepReport:
    """Move the services of a unit that only produces. Raises `ServiceNotBack` naming the way back.

    `order: strict`: all are stopped before one starts again. `relaxed`: one after the other.
    """
    services = run.graph.unit(unit).services
    current = run.current
    changes: list[Change] = []
    if not run.dry_run:
        # On the way back no group is without an offset: it has one from before it left. Where messages are copied it
        # gets one before it starts.
        missing = seeds_missing(run) if run.heading is Side.TARGET and not run.copies else []
        if missing:
            raise Refused(
                f"groups {', '.join(missing)} have no seed on the {run.heading} yet; run the task that seeds them"
            )
        # Who stays has never left: its group may be in use, and has no offset where it found nothing to read yet.
        stays = current.stays if isinstance(current, WayBack) else frozenset()
        unmoved = {
            g
            for s in run.plan.services
            if not current.switched(s.name) and not current.leaving(s.name) and s.name not in stays
            for g in s.groups
        }
        # Behind a copy each group is handed over by itself; who has not left stands where it stood, and not at a seed.
        changes = [] if run.copies else ensure_seeds(run, current, unmoved)
    report = move(run, current, services, "producers")
    report.changes = [*changes, *report.changes]
    return report


def hold(run: Run, unit: str) -> StepReport:
    """Stop the producers that share a topic with a processor; they start again together with it."""
    held = run.graph.unit(unit).held
    return stop_here(run, held, "wait, stopped, for the services that write the same topics")


def stop_here(run: Run, names: Sequence[str], told: str) -> StepReport:
    """Stop those of these services that run where this run leaves; `told`: what is said of all of them then."""
    before = observe_all({name: run.controllers[name] for name in names})
    to_stop = [n for n in names if before[n].state is State.RUNNING and before[n].side is not run.heading]
    changes = [Change(f"service {n}", str(before[n]), "stopped", not run.dry_run) for n in to_stop]
    if run.dry_run:
        return StepReport(f"would stop {', '.join(to_stop) or 'nothing'}", changes=changes)
    if to_stop:
        check_window(run, f"stopping {', '.join(to_stop)}")
        stop_services(run, run.current, to_stop)
    after = observe_all({name: run.controllers[name] for name in names})
    return StepReport(
        f"{', '.join(names)} {told}", tables=[observations_table("Stopped services", after)], changes=changes
    )


def switch_consumers(run: Run, unit: str) -> StepReport:
    """Move the services of a unit that reads, after every one of their groups has drained.

    Ends and seeds are read again right before. Raises `StragglerFound` when messages came behind the cutover point and
    another reader has left already, `Refused` when a group is not drained after all.
    """
    of = run.graph.unit(unit)
    current = run.current
    services = list(of.services)
    readers = [n for n in services if run.plan.service(n).consumes]
    staying = [n for n in readers if run.stays(n)]
    waiting = [n for n in readers if not current.switched(n) and n not in staying]
    if run.dry_run:
        return move(run, current, services, "consumers")
    if staying and run.heading is Side.TARGET:
        return StepReport(f"{', '.join(services)}: nothing to do, it stays on the source or has begun to return")
    tables: list[Table] = []
    changes: list[Change] = []
    if staying:
        theirs = describe_groups(run.clusters.destination, {g for n in staying for g in run.plan.service(n).groups})
        changes = ensure_seeds(run, current, {g for g, described in theirs.items() if not described.active})
    if waiting:
        check_window(run, f"switching {', '.join(services)}")
        for name in waiting:
            current.set_leaving(name, run.now())
        try:
            tables = last_look(run, current, waiting)
            groups = {g for n in waiting for g in run.plan.service(n).groups}
            changes = ensure_seeds(run, current, groups)
        except BaseException:
            if not _any_arrived(run, services):
                for name in waiting:
                    current.set_staying(name)
            raise
    report = move(run, current, services, "consumers")
    report.tables = [*tables, *report.tables]
    report.changes = [*changes, *report.changes]
    return report


def last_look(run: Run, current: Pass, names: Sequence[str]) -> list[Table]:
    """Ends and drains once more. A point that was frozen anew is waited for a little."""
    stages = sorted(stages_read(run, [run.plan.service(n) for n in names]))
    deadline = time.monotonic() + _LATE_DRAIN
    stragglers = find_stragglers(run, current, stages)
    if stragglers:
        run.log.warning("messages behind the cutover point:\n%s", "\n".join(f"  {s}" for s in stragglers))
        for name in names:  # this unit itself has not left: the point may be frozen anew for it
            current.set_staying(name)
        try:
            settle_stragglers(run, current, stages, stragglers)
        finally:
            for name in names:
                current.set_leaving(name, run.now())
    while True:
        tables = []
        behind = []
        for name in names:
            positions = positions_now(run, current, [name])
            tables.append(positions_table(positions))
            behind += [
                f"{g} on {p.partition} ({p.verdict})"
                for g, at in positions.items()
                for p in at.values()
                if not p.drained
            ]
            if not behind:
                current.set_drained(name, {group: Proof.of(at) for group, at in positions.items()})
        if not behind:
            return tables
        if time.monotonic() > deadline:
            raise Refused(
                f"{', '.join(names)} not switched: not drained to the cutover point: {', '.join(behind[:10])}."
                " Clear the task `drained` of the service; nothing was changed."
            )
        time.sleep(0.25)


def move(run: Run, current: Pass, services: Sequence[str], what: str) -> StepReport:
    """Stop, configure and start services, those of them that do not run where this run goes. `what`: for the log."""
    controllers = [run.controllers[name] for name in services]
    by_machine = [c for c in controllers if not c.manual]
    before = observe_all({name: run.controllers[name] for name in services})
    there = [n for n in services if before[n].side is run.heading and before[n].state is State.RUNNING]
    to_move = [c for c in by_machine if c.service.name not in there]
    changes = [
        Change(
            f"service {c.service.name}",
            str(before[c.service.name]),
            f"running on the {run.heading} ({run.clusters.destination.bootstrap_servers})",
            not run.dry_run,
        )
        for c in to_move
    ]
    for controller in to_move:
        changes += [
            Change(f"settings of {controller.service.name}", *split(line), done=not run.dry_run)
            for line in controller.configured_for(run.heading)
        ]
    if run.dry_run:
        return StepReport(f"would switch {', '.join(c.service.name for c in to_move) or 'nothing'}", changes=changes)
    notes = []
    if to_move:
        check_window(run, f"switching {', '.join(c.service.name for c in to_move)}")
        for controller in to_move:
            run.log.info("%s: %s", controller.service.name, before[controller.service.name])
        if run.plan.order == "strict" or what == "consumers":
            notes += _move_together(run, current, to_move)
        else:
            for controller in to_move:
                notes += _move_together(run, current, [controller])
    after = observe_all({name: run.controllers[name] for name in services})
    _all_there(run, controllers, after)
    for name in services:
        if current.switched(name) is None:
            current.set_switched(name, run.run_id, run.now())
    done = (
        f"on the {run.heading}: {', '.join(services)}"
        if to_move
        else f"{', '.join(services)}: nothing to do, on the {run.heading} already"
    )
    return StepReport(
        done,
        tables=[observations_table("Before", before), observations_table("After", after)],
        changes=changes,
        notes=notes,
        findings=[_seen_finding(run, c, after[c.service.name]) for c in controllers],
        data={
            "services": list(services),
            "moved": [c.service.name for c in to_move],
            **({"standstill": _stood_still(run, current, services)} if run.copies else {}),
        },
    )


def _stood_still(run: Run, current: Pass, services: Sequence[str]) -> dict[str, float]:
    """By service that writes: seconds from when it was told to stop until it was seen to run again."""
    return {
        name: run.now() - since
        for name in services
        if run.plan.service(name).produces and (since := current.leaving_since(name)) is not None
    }


def _move_together(run: Run, current: Pass, controllers: Sequence[Controller]) -> list[str]:
    """Stop all, configure all, start all. The pause of each is what this takes."""
    began = run.now()
    names = [c.service.name for c in controllers]
    stop_services(run, current, names)
    stopped = run.now()
    for controller in controllers:
        for line in controller.configure(run.heading):
            run.log.info("%s: %s", controller.service.name, line)
    side_by_side(controllers, lambda c: seen_back(c, c.start))
    return [
        f"{', '.join(names)}: told to stop {when(began)}, stopped after {stopped - began:.1f} s,"
        f" seen running again after {run.now() - began:.1f} s"
    ]


def stop_services(run: Run, current: Pass, names: Iterable[str]) -> None:
    """Stop them side by side, recorded as leaving before. Raises `ServiceError` when one still runs."""
    for name in names:
        current.set_leaving(name, run.now())  # recorded first: who finds it stopped knows by whom
    side_by_side([run.controllers[name] for name in names], lambda c: c.stop())
    running = [n for n, o in observe_all({n: run.controllers[n] for n in names}).items() if o.state is State.RUNNING]
    if running:
        raise ServiceError(f"{', '.join(running)} still run after they were stopped; run this task again")


def seen_back(controller: Controller, deed: Callable[[], None]) -> None:
    try:
        deed()
    except ServiceNotBack as error:
        raise ServiceNotBack(
            f"{error}\nThe next step does not start; services already moved stay where they are."
        ) from None


def _all_there(run: Run, controllers: Sequence[Controller], after: dict[str, Observation]) -> None:
    by_machine = [c for c in controllers if not c.manual]
    for controller in by_machine:
        if after[controller.service.name].state is not State.RUNNING:
            seen_back(controller, controller.await_running)
    wrong = [
        f"{c.service.name}: {after[c.service.name]}"
        for c in by_machine
        if after[c.service.name].side is not run.heading
    ]
    if wrong:
        raise ServiceNotBack(f"not running with the {run.heading}'s address after the switch:\n  " + "\n  ".join(wrong))
    for controller in controllers:
        if controller.manual:
            _await_moved_by_hand(run, controller)


def _await_moved_by_hand(run: Run, controller: Controller) -> None:
    """A person said that it is done; Kafka must show it: groups have moved, written topics rest where they were."""
    service = controller.service
    if run.purpose == FAILOVER:
        return  # a source that is lost shows nothing; that the groups read on the target is waited for by itself
    expected = {c.group for c in service.consumes if joins(run, c)}
    deadline = time.monotonic() + _BY_HAND
    problem = ""
    while time.monotonic() < deadline:
        still_there = [g for g, d in describe_groups(run.clusters.origin, service.groups).items() if d.active]
        arrived = [g for g, d in describe_groups(run.clusters.destination, service.groups).items() if d.active]
        alone = [t for t in service.produces if len(run.plan.writers(t)) == 1]
        before = read_offsets(run.clusters.origin, partitions_of(run.clusters.origin, alone), Which.END)
        time.sleep(min(1.0, run.plan.cutover.quiet))
        grown = sorted(
            {tp.topic for tp, end in read_offsets(run.clusters.origin, before, Which.END).items() if end > before[tp]}
        )
        problem = "; ".join(
            part
            for part in (
                f"groups {', '.join(still_there)} still have members on the {run.leaving}" if still_there else "",
                f"groups {', '.join(sorted(expected - set(arrived)))} have no member on the {run.heading}"
                if expected - set(arrived)
                else "",
                f"{', '.join(grown)} still grows on the {run.leaving}" if grown else "",
            )
            if part
        )
        if not problem:
            return
    raise ServiceError(
        f"service {service.name} has not moved: {problem}.\n{controller.instructions(run.heading)}\nThen clear it."
    )


def _any_arrived(run: Run, services: Sequence[str]) -> bool:
    try:
        return any(o.side is run.heading for o in observe_all({n: run.controllers[n] for n in services}).values())
    except ServiceError:
        return True  # not seen: then it may be there, and the mark stays


def _seen_finding(run: Run, controller: Controller, seen: Observation) -> Finding:
    how = "by its groups and topics in Kafka" if controller.manual else seen.how
    return Finding(f"service-moved/{controller.service.name}", Status.PASS, f"{seen} ({how})")


def split(line: str) -> tuple[str, str]:
    """What a controller says of a change, as the value before and the value after."""
    before, _, after = line.partition(" -> ")
    return before, after
