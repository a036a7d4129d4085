"""What a person is shown before an approval: what is true now, and what will be done. Markdown; it changes nothing.

None where nothing is left to be done: then nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.errors import Refused
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import TopicPartition
from kafka_migration.purposes import FAILOVER
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps.back import ways, without_a_mirror
from kafka_migration.steps.bringing import way_back, why
from kafka_migration.steps.common import observe_all, points_for
from kafka_migration.steps.exporting import exported, shown_columns
from kafka_migration.steps.failover import by_group, source_answers
from kafka_migration.steps.gone import none_has_gone
from kafka_migration.steps.handover import rehearsed
from kafka_migration.steps.mirroring import ended
from kafka_migration.topics.describe import choose, describe_topics, topic_names

_SHOWN = 50


def topics(run: Run) -> str | None:
    """Before topics are created."""
    names, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.origin))
    source = describe_topics(run.clusters.origin, names)
    there = describe_topics(run.clusters.destination, names)
    if source.keys() <= there.keys():
        return None
    rows = tuple(
        (name, t.partitions, t.replication_factor, "is there, equal" if name in there else "will be created")
        for name, t in source.items()
    )
    return _said(
        f"The preflight has passed. These topics will be on {run.clusters.destination}.",
        Table("", ("topic", "partitions", "replicas", "on the target"), rows),
    )


def producers(run: Run) -> str | None:
    """Before the producers move."""
    names = [s for unit in run.graph.units for s in unit.services if not run.plan.service(s).consumes]
    seen = observe_all({name: run.arriving(name) for name in names})
    if all(o.state is State.RUNNING and o.side is run.heading for o in seen.values()):
        return None
    then = f"running on the {run.heading} ({run.clusters.destination.bootstrap_servers})"
    rows = tuple((name, str(o), then) for name, o in seen.items())
    how = (
        "All writers of a topic are stopped before one starts on the target."
        if run.plan.order == "strict"
        else "They move one after the other."
    )
    return _said(
        f"Topics and seeds are in place. From here on messages are written to the target. {how}",
        Table("", ("service", "now", "then"), rows),
    )


def handover(run: Run) -> str | None:
    """Before the writers are stopped and the groups handed over."""
    if ended(run) or (run.plan.prefixed and all(run.current.switched(s.name) for s in run.plan.services)):
        return None
    writers = [s.name for s in run.plan.services if s.produces]
    return _said(
        f"The mirror has caught up. Now {', '.join(writers)} will be stopped; once the mirror has copied the last"
        f" message, what only writes starts on the {run.heading}, and each reading service is stopped, handed over and"
        " started there. What was proved of the positions in the rehearsal:",
        Table(
            "",
            ("group", "positions", "proved", "copied only at the handover", "messages repeated at most"),
            tuple(tuple(row) for row in rehearsed(run.current)),
        ),
    )


def failover(run: Run) -> str | None:
    """Before the mirror is stopped for good and services follow it. Always asked where the source still answers."""
    if run.current.finished or ("failover" not in run.plan.approvals and not source_answers(run)):
        return None
    alive = (
        " **The source answers**: what is written there from now on is not copied, until a failback."
        if source_answers(run)
        else ""
    )
    return _said(
        f"{run.clusters.source} is given up for now. The mirror is stopped, and stays so; every group is set on"
        f" {run.clusters.target} where it skips nothing; then the services are started there.{alive} What had not been"
        " copied is found by a failback, when the source has returned.",
        Table("", ("group", "last noted", "messages read again, had it stopped then", "at most"), tuple(by_group(run))),
    )


def consumers(run: Run, unit: str) -> str | None:
    """Before a unit of reading services moves."""
    of = run.graph.unit(unit)
    current = run.current
    if all(current.switched(name) for name in of.services):
        return None
    text = f"{', '.join(of.services)} will be stopped, and started with the {run.heading}'s address."
    return _said(text, _drained(run, of.services))


def close_originals(run: Run, unit: str) -> str | None:
    """Before the originals of a unit are closed."""
    services = [name for name in run.graph.unit(unit).services if run.plan.service(name).consumes]
    if all(run.current.switched(name) for name in services):
        return None
    text = (
        f"{', '.join(services)} runs on both clusters. Its instance on the {run.leaving} will be stopped, and kept from"
        " starting again at boot where its controller can. It is not deleted."
    )
    return _said(text, _drained(run, services))


def rollback(run: Run) -> str | None:
    """Before a migration is taken back."""
    if run.way_back.finished or ("rollback" not in run.plan.approvals and not run.disorder):
        return None
    order = (
        "Consumers stay on the source **without** having read what is on the target: see the numbers."
        if run.disorder
        else "Nothing is lost and, with `order: strict`, the order of every key is kept."
    )
    text = f"The services go back to {run.clusters.source}. Topics and offsets on the target stay as they are. {order}"
    found = ways(run)
    text = " ".join([text, *without_a_mirror(run, found)])
    rows = tuple((way.service, way.now, way.unread, way.words) for way in found)
    return _said(text, Table("", ("service", "now", "unread on the target", "then"), rows))


def bring_back(run: Run) -> str | None:
    """Before a migration is taken back by a mirror."""
    if run.way_back.finished or "rollback" not in run.plan.approvals:
        return None
    seen = observe_all({s.name: run.controllers[s.name] for s in run.plan.services})
    text = f"The services go back to {run.clusters.source}. {why(run, seen)} Every group goes on at its next message."
    return _said(text, way_back(run))


def second_by_hand(run: Run, service: str) -> str | None:
    """Where a person starts the other instance of a service."""
    if run.current.switched(service):
        return None
    return (
        f"Start an instance of {service} that uses `{run.clusters.destination.bootstrap_servers}`, beside the one that"
        f" runs. {run.arriving(service).instructions(run.heading)}\n\nThen approve. The next task waits until its"
        " groups own every partition there."
    )


def close_by_hand(run: Run, service: str) -> str | None:
    """Where a person closes an instance of a service."""
    if run.current.switched(service):
        return None
    return (
        f"Stop the instance of {service} that uses `{run.clusters.origin.bootstrap_servers}`, and keep it from starting"
        " again. Leave the other one running.\n\nThen approve. The next task looks whether its groups have left."
    )


def by_hand(run: Run, service: str) -> str | None:
    """Where a person moves a service."""
    if run.current.switched(service) or (run.stays(service) and run.heading is Side.TARGET):
        return None
    here, there = run.clusters.origin, run.clusters.destination
    if run.plan.copies and _never_left(run, service):
        return None if _reads(run, service) else _see_that_it_runs(run, service)
    stop = "Look that it has stopped." if run.plan.copies else "Stop it and wait until it has ended."
    return (
        f"{run.controllers[service].instructions(run.heading)}\n\n"
        f"1. {stop}\n"
        f"2. Change its bootstrap servers from `{here.bootstrap_servers}` to `{there.bootstrap_servers}`.\n"
        "3. Start it.\n\nThen approve. The next task looks whether Kafka shows it as moved."
    )


def stop_by_hand(run: Run, service: str) -> str | None:
    """Where a person stops a service that is started on the other side later."""
    if run.current.switched(service) or _never_left(run, service):
        return None
    return (
        f"Stop {service}, which uses `{run.clusters.origin.bootstrap_servers}`, wait until it has ended, and keep it"
        f" from starting again. A later task asks to start it on the {run.heading}.\n\n"
        "Then approve. The next task looks whether its groups have left."
    )


def external_offsets(run: Run, service: str) -> str | None:
    """Where an application keeps its offsets itself and has been stopped: where it goes on, wherever it stands."""
    if run.dry_run:
        return f"would show for each offset on the {run.leaving} the one on the {run.heading} from which to go on"
    if run.current.switched(service) or _never_left(run, service):
        return None
    told = {c.group: exported(run.current, c.group) for c in run.plan.service(service).external}
    if not all(told.values()):
        raise Refused(f"{service} has no table of offsets yet; run the task `export_offsets` first")
    if run.purpose == FAILOVER or run.plan.prefixed:
        return _by_pairs(run, service, [kept["file"] for kept in told.values() if kept])
    here, there = run.leaving, run.heading
    text = (
        f"{service} keeps its offsets outside Kafka, and has stopped. Each offset that it has stored has to be set to"
        f" the {there}'s. For the offset X that it would read next: take the partition's first row whose `{here}_last`"
        f" is at least X; go on at its `{there}_first`, plus X - `{here}_first` where X is the larger. If it stores the"
        " offset that it has read last, X is that plus one, and one less is what it must store. No such row, or one"
        f" without `{there}_first`: do not go on, ask. Only when all are set approve."
    )
    files = [f"{group}: {kept['rows']:,} rows, `{kept['file']}`" for group, kept in told.items()]
    ends = tuple((row[0], row[1], row[2], row[4]) for kept in told.values() for row in kept["ends"])
    rows = tuple(tuple(row) for kept in told.values() for row in kept["shown"])
    return "\n\n".join(
        [
            text,
            *files,
            _said(
                "Where it has read everything:",
                Table("", ("topic", "partition", f"X ({here})", f"goes on at ({there})"), ends),
            ),
            _said("The rows, or the first of them:", Table("", shown_columns(run), rows)),
        ]
    )


def _by_pairs(run: Run, service: str, files: Iterable[str]) -> str:
    here, there = run.leaving, run.heading
    named = f" Its topic there is `{there}_topic`." if run.plan.prefixed else ""
    return (
        f"{service} keeps its offsets outside Kafka: each offset that it has stored has to be set to the {there}'s."
        f" For the offset X that it would read next of a partition: take the last row of it whose `{here}` is at most"
        f" X, and go on at its `{there}`; where there is none, at the first row's.{named} Nothing is"
        " skipped by that, and what lies between the row and X is read again. Only when all are set approve.\n\n"
        + "\n".join(f"`{file}`" for file in files)
    )


def external_drained(run: Run, service: str) -> str | None:
    """Where an application keeps its offsets itself: has it read up to the cutover point, and where does it go on?"""
    if run.dry_run:
        return "would show the cutover point and the offsets on the target from which to go on"
    current = run.current
    if current.switched(service) or run.stays(service):
        return None
    of = run.plan.service(service)
    points = points_for(run, current, of)
    external = [c.group for c in of.consumes if c.offsets == "external"]
    starts: dict[TopicPartition, int] = current.note_offsets("target_starts")
    rows = tuple(
        (group, str(tp), end, starts.get(tp, 0)) for group in external for tp, end in sorted(points[group].items())
    )
    return _said(
        f"{service} keeps its offsets outside Kafka. Wait until it has processed all messages **before** the cutover"
        f" point, then set the offset that it stores for each partition to the {run.heading}'s. Only then approve.",
        Table("", ("group", "partition", f"read up to ({run.leaving})", f"go on from ({run.heading})"), rows),
    )


def _reads(run: Run, service: str) -> bool:
    """Whether Kafka shows that the service runs where this run goes: all its groups have members."""
    groups = run.plan.service(service).groups
    return bool(groups) and all(d.active for d in describe_groups(run.clusters.destination, groups).values())


def _see_that_it_runs(run: Run, service: str) -> str:
    return (
        f"{service} has not gone to the {run.leaving}. See that it runs, with"
        f" `{run.clusters.destination.bootstrap_servers}`; start it if it has been stopped. Then approve."
    )


def _never_left(run: Run, service: str) -> bool:
    """Of a rollback: whether the service is still where it was."""
    return run.returning and none_has_gone(run, [service])


def _drained(run: Run, services: Iterable[str]) -> Table:
    rows = [
        (name, group, len(proof.points), f"nothing visible left on the {run.leaving}")
        for name in (() if run.dry_run else services)
        for group, proof in run.current.drained(name).items()
    ]
    return Table("", ("service", "group", "partitions", "drained"), tuple(rows))


def _said(text: str, table: Table) -> str:
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}\n"
    body = "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in table.rows[:_SHOWN])
    more = f"\n... and {len(table.rows) - _SHOWN} more\n" if len(table.rows) > _SHOWN else ""
    return f"{text}\n\n{head}{body}{more}" if table.rows else text
