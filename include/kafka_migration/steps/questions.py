"""What a person is shown before an approval: what is true now, and what will be done. Markdown; it changes nothing.

None where nothing is left to be done: then nobody is asked.
"""

from __future__ import annotations

from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import current_pass
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps.common import observe_all, points_for
from kafka_migration.topics.describe import choose, describe_topics, topic_names

_SHOWN = 50


def topics(run: Run) -> str | None:
    """Before topics are created."""
    names, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.source))
    source = describe_topics(run.clusters.source, names)
    there = describe_topics(run.clusters.target, names)
    if source.keys() <= there.keys():
        return None
    rows = tuple(
        (name, t.partitions, t.replication_factor, "is there, equal" if name in there else "will be created")
        for name, t in source.items()
    )
    return _said(
        f"The preflight has passed. These topics will be on {run.clusters.target}.",
        Table("", ("topic", "partitions", "replicas", "on the target"), rows),
    )


def producers(run: Run) -> str | None:
    """Before the producers move."""
    names = [s for unit in run.graph.units for s in unit.services if not run.plan.service(s).consumes]
    seen = observe_all(run.controllers[name] for name in names)
    if all(o.state is State.RUNNING and o.side is Side.TARGET for o in seen.values()):
        return None
    rows = tuple((name, str(o), f"running on the target ({run.clusters.addresses.target})") for name, o in seen.items())
    how = (
        "All writers of a topic are stopped before one starts on the target."
        if run.plan.order == "strict"
        else "They move one after the other."
    )
    return _said(
        f"Topics and seeds are in place. From here on messages are written to the target. {how}",
        Table("", ("service", "now", "then"), rows),
    )


def consumers(run: Run, unit: str) -> str | None:
    """Before a unit of reading services moves."""
    of = run.graph.unit(unit)
    current = current_pass(run.records)
    if all(current.switched(name) for name in of.services):
        return None
    rows = []
    for name in of.services if not run.dry_run else ():
        for group, proof in current.drained(name).items():
            rows.append((name, group, len(proof.points), "nothing visible left on the source"))
    text = f"{', '.join(of.services)} will be stopped, and started with the target's address."
    return _said(text, Table("", ("service", "group", "partitions", "drained"), tuple(rows)))


def by_hand(run: Run, service: str) -> str | None:
    """Where a person moves a service."""
    if current_pass(run.records).switched(service):
        return None
    there = run.clusters.addresses
    return (
        f"{run.controllers[service].instructions(Side.TARGET)}\n\n"
        "1. Stop it and wait until it has ended.\n"
        f"2. Change its bootstrap servers from `{there.source}` to `{there.target}`.\n"
        "3. Start it.\n\nThen approve. The next task looks whether Kafka shows it as moved."
    )


def external_drained(run: Run, service: str) -> str | None:
    """Where an application keeps its offsets itself: has it read up to the cutover point, and where does it go on?"""
    if run.dry_run:
        return "would show the cutover point and the offsets on the target from which to go on"
    current = current_pass(run.records)
    if current.switched(service):
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
        " point, then set the offset that it stores for each partition to the target's. Only then approve.",
        Table("", ("group", "partition", "read up to (source)", "go on from (target)"), rows),
    )


def _said(text: str, table: Table) -> str:
    head = f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}\n"
    body = "".join(f"| {' | '.join(str(cell) for cell in row)} |\n" for row in table.rows[:_SHOWN])
    more = f"\n... and {len(table.rows) - _SHOWN} more\n" if len(table.rows) > _SHOWN else ""
    return f"{text}\n\n{head}{body}{more}" if table.rows else text
