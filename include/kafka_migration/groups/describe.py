"""Who the groups of a cluster are: state, type, members and what is assigned to them. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupState, ConsumerGroupType, KafkaError
from confluent_kafka.admin import ConsumerGroupDescription, ListConsumerGroupsResult

from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.patience import ask_each, ask_groups, unanswered
from kafka_migration.clusters.protocol import speak
from kafka_migration.offsets import TopicPartition

_BATCH = 500
_REBALANCING = {"PREPARING_REBALANCING", "COMPLETING_REBALANCING"}
_SETTLES_WITHIN = 10.0  # seconds: others join, or are missed, until then or much later
_LEAVES_WITHIN = 60.0  # seconds: a member that was killed is missed after its session timeout, 45 s by default
_LISTED_AGAIN = 4  # each time a broker is waited for 5 s; the others miss it after nine


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
    def rebalances(self) -> bool:
        """Whether members of the classic protocol agree anew who gets what."""
        return self.state in _REBALANCING

    @property
    def owned(self) -> frozenset[TopicPartition]:
        return frozenset(tp for member in self.members for tp in member.partitions)


def describe_groups(cluster: Cluster, groups: Iterable[str]) -> dict[str, Group]:
    """Each group by its id; one that does not exist is there as DEAD."""
    wanted = sorted(set(groups))
    if not wanted:
        return {}

    def ask(left: Sequence[str], within: float) -> dict[str, Future[ConsumerGroupDescription]]:
        admin = cluster.group_admin(left)
        futures: dict[str, Future[ConsumerGroupDescription]] = {}
        for i in range(0, len(left), _BATCH):
            futures |= admin.describe_consumer_groups(left[i : i + _BATCH], request_timeout=within)
        return futures

    found: dict[str, Group] = {}
    for name, told in ask_groups(cluster, wanted, ask).items():
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


def describe_settled(cluster: Cluster, groups: Iterable[str]) -> dict[str, Group]:
    """The same of groups of which none is in the middle of a rebalance, if that passes: then nobody owns anything."""
    found = describe_groups(cluster, groups)
    deadline = time.monotonic() + _SETTLES_WITHIN
    while moving := [name for name, group in found.items() if group.rebalances]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
        found |= describe_groups(cluster, moving)
    return found


def await_left(cluster: Cluster, groups: Iterable[str]) -> dict[str, Group]:
    """Those of the groups that still have members when one that was killed would have been missed."""
    wanted = sorted(set(groups))
    deadline = time.monotonic() + _LEAVES_WITHIN
    while members := {g: d for g, d in describe_groups(cluster, wanted).items() if d.active}:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return members


@dataclass(frozen=True)
class Listed:
    """One entry of a cluster's list of groups. `kind` UNKNOWN on brokers that do not tell (3.3)."""

    group: str
    state: str
    kind: str


def list_groups(cluster: Cluster) -> list[Listed]:
    """All consumer groups of the cluster that this user may see; the client leaves out groups of any other type."""
    doing = "listing the consumer groups"

    def ask(left: Sequence[str], within: float) -> dict[str, Future[ListConsumerGroupsResult]]:
        return {one: cluster.admin.list_consumer_groups(request_timeout=within) for one in left}

    for _ in range(_LISTED_AGAIN):
        (told,) = ask_each(cluster, [doing], ask).values()
        if isinstance(told, KafkaError):
            raise cluster.error(told, doing)
        if not any(unanswered(error.args[0]) for error in told.errors):
            break
        cluster.leave_client()  # of several brokers one has died, and the client has still to hear of it
    if told.errors:
        raise cluster.error(told.errors[0], doing)
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
