"""Who the groups of a cluster are: state, type, members and what is assigned to them. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaError
from confluent_kafka.admin import ConsumerGroupDescription

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster
from kafka_migration.clusters.patience import ONE_LONG, ask_each, coordinator_moves
from kafka_migration.clusters.protocol import speak
from kafka_migration.offsets import TopicPartition

_BATCH = 500


@dataclass(frozen=True)
class Member:
    """One member of a group: the client's own name, where it connects from, and its partitions."""

    client_id: str
    host: str
    partitions: frozenset[TopicPartition]


@dataclass(frozen=True)
class Group:
    """A group as the cluster tells of it. `state` as Kafka names it (STABLE, EMPTY, DEAD, ...); DEAD: there is none.

    A consumer that uses `assign` and commits is no member: its group is EMPTY though it is used.
    """

    group: str
    state: str
    kind: str
    members: tuple[Member, ...]

    @property
    def exists(self) -> bool:
        return self.state != "DEAD"

    @property
    def active(self) -> bool:
        return bool(self.members)

    @property
    def stable(self) -> bool:
        return self.state == "STABLE"

    @property
    def owned(self) -> frozenset[TopicPartition]:
        return frozenset(tp for member in self.members for tp in member.partitions)


def describe_groups(cluster: Cluster, groups: Iterable[str]) -> dict[str, Group]:
    """Each group by its id; one that does not exist is there as DEAD."""
    wanted = sorted(set(groups))
    if not wanted:
        return {}

    def ask(left: Sequence[str], within: float) -> dict[str, Future[ConsumerGroupDescription]]:
        admin = cluster.group_admin
        futures: dict[str, Future[ConsumerGroupDescription]] = {}
        for i in range(0, len(left), _BATCH):
            futures |= admin.describe_consumer_groups(left[i : i + _BATCH], request_timeout=within)
        return futures

    found: dict[str, Group] = {}
    for name, told in ask_each(cluster, wanted, ask, coordinator_moves, ONE_LONG).items():
        if isinstance(told, KafkaError):
            if told.code() == KafkaError.GROUP_ID_NOT_FOUND:
                found[name] = Group(name, "DEAD", "UNKNOWN", ())
                continue
            raise cluster.error(told, f"describing group {name}")
        members = tuple(
            Member(
                m.client_id,
                m.host.lstrip("/"),
                frozenset(
                    TopicPartition(tp.topic, tp.partition)
                    for tp in (m.assignment.topic_partitions if m.assignment else ())
                ),
            )
            for m in told.members
        )
        state = told.state.name if isinstance(told.state, ConsumerGroupState) else str(told.state)
        kind = told.type.name if isinstance(told.type, ConsumerGroupType) else "UNKNOWN"
        found[name] = Group(name, state, kind, members)
    return found


@dataclass(frozen=True)
class Listed:
    """One entry of a cluster's list of groups. `kind` UNKNOWN on brokers that do not tell (3.3)."""

    group: str
    state: str
    kind: str


def list_groups(cluster: Cluster) -> list[Listed]:
    """All consumer groups of the cluster that this user may see; the client leaves out groups of any other type."""
    told = cluster.wait(
        cluster.admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT), "listing the consumer groups"
    )
    if told.errors:
        raise cluster.error(told.errors[0], "listing the consumer groups")
    return [
        Listed(
            entry.group_id,
            entry.state.name if entry.state is not None else "UNKNOWN",
            entry.type.name if getattr(entry, "type", None) is not None else "UNKNOWN",
        )
        for entry in told.valid
    ]


def list_other_groups(cluster: Cluster) -> list[Listed] | None:
    """The groups that are no consumer groups (`kind` SHARE, STREAMS, ...); None where that could not be asked."""
    with speak(cluster) as protocol:
        found = protocol.groups_of_other_kinds() if protocol else None
    return None if found is None else [Listed(group, "UNKNOWN", kind) for group, kind in sorted(found.items())]
