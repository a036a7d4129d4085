"""How far every group has read where the run has moved it, as a table. It judges nothing and changes nothing."""

from __future__ import annotations

from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import Which, read_several
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.topics.describe import partitions_of, topic_names


def consumption(run: Run) -> Table:
    """Of every group and partition the committed offset, the end, what lies between, and who reads.

    What lies between are offsets: markers of transactions have some too, so that a reader may be at the end before
    none is left. Groups that keep their offsets outside Kafka are left out. Raises `ClusterError`.
    """
    cluster = run.clusters.destination
    groups = {
        group: set(run.plan.read_on(run.heading, c.topics))
        for group, c in run.plan.groups.items()
        if c.offsets == "group"
    }
    there = topic_names(cluster)
    partitions = partitions_of(cluster, {topic for topics in groups.values() for topic in topics} & there)
    commits, states = committed(cluster, groups), describe_groups(cluster, groups)
    ends = read_several(cluster, partitions, (Which.END,))[Which.END]
    rows = []
    for group, topics in sorted(groups.items()):
        for tp in partitions:
            if tp.topic in topics:
                at = commits[group].get(tp)
                left = None if at is None else max(0, ends[tp] - at)
                rows.append((group, str(tp), at, ends[tp], left, _state(left, ends[tp]), len(states[group].members)))
    return Table(
        f"Consumption on the {run.heading}",
        ("group", "partition", "committed", "end", "offsets behind", "has", "members"),
        tuple(rows),
    )


def _state(left: int | None, end: int) -> str:
    if left is None:
        return "committed nothing yet" if end else "nothing to read"
    return "still to read" if left else "read to the end"
