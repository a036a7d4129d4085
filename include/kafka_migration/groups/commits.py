"""Committed offsets of groups: reading them in bulk, and setting them with every partition's answer read.

An active group does not make the call fail: the refusal stands in each partition's error (measured on 4.3.1).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError

from kafka_migration.clusters.client import COORDINATOR_TIMEOUT, Cluster
from kafka_migration.clusters.patience import ask_groups, coordinator_moves
from kafka_migration.errors import ClusterError, OffsetsRefused
from kafka_migration.offsets import Offsets, TopicPartition

_COORDINATED_WITHIN = 30.0  # seconds
_PAUSE = 0.5


def committed(cluster: Cluster, groups: Iterable[str], stable: bool = False) -> dict[str, dict[TopicPartition, int]]:
    """What each group has committed; partitions without a commit are absent. All groups are asked side by side.

    Offsets that a transaction holds open count when it has been committed; `stable` (KIP-447) waits for that, and
    raises when it takes too long. Raises `ClusterError` when a partition's
    offset cannot be told: it is never taken for a missing commit.
    """
    wanted = sorted(set(groups))
    if not wanted:
        return {}

    def ask(left: Sequence[str], within: float) -> dict[str, Future[ConsumerGroupTopicPartitions]]:
        admin = cluster.group_admin(left)
        return {
            group: admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], require_stable=stable, request_timeout=within
            )[group]
            for group in left
        }

    answers = ask_groups(cluster, wanted, ask)
    found: dict[str, dict[TopicPartition, int]] = {}
    for group, told in answers.items():
        doing = f"reading the offsets of group {group}"
        if isinstance(told, KafkaError):
            if told.code() != KafkaError.GROUP_ID_NOT_FOUND:  # newer brokers say so, older ones answer without offsets
                raise cluster.error(told, doing)
            found[group] = {}
            continue
        for tp in told.topic_partitions or ():
            if tp.error is not None:
                raise cluster.error(tp.error, f"{doing} on {tp.topic}/{tp.partition}")
        found[group] = {
            TopicPartition(tp.topic, tp.partition): tp.offset for tp in told.topic_partitions or () if tp.offset >= 0
        }
    return found


def set_commits(cluster: Cluster, offsets: Mapping[str, Offsets]) -> None:
    """Set the offsets of groups that have no members, and read them back.

    A coordinator that is not there yet, or waits for a replica that has died, is asked again for half a minute. Raises
    `OffsetsRefused` naming each group and partition that was not set, and `ClusterError` where nothing else is in the
    way than such a coordinator.
    """
    wanted = {group: of_group for group, of_group in offsets.items() if of_group}
    deadline = time.monotonic() + _COORDINATED_WITHIN
    left = wanted
    while True:
        refusals = _set(cluster, left)
        refused = [
            f"group {group}, {tp}: {error.name()}" for group, of_group in refusals.items() for tp, error in of_group
        ]
        passing = all(coordinator_moves(group, error) for group, of_group in refusals.items() for _, error in of_group)
        if not refused or not passing:
            break
        if time.monotonic() > deadline:
            raise ClusterError(f"{cluster} has no coordinator for these groups yet:\n" + _some(refused))
        time.sleep(_PAUSE)
        left = {group: wanted[group] for group in refusals}
    if not refused:
        refused = _differing(committed(cluster, list(wanted)), offsets)
    if refused:
        hint = (
            " The group is active there: stop the consumers that use it."
            if any("UNKNOWN_MEMBER_ID" in line for line in refused)
            else ""
        )
        raise OffsetsRefused(f"{cluster} did not take these offsets:{hint}\n" + _some(refused))


def _set(cluster: Cluster, offsets: Mapping[str, Offsets]) -> dict[str, list[tuple[TopicPartition, KafkaError]]]:
    """By group the partitions whose offset was not set, each with its coordinator's error."""
    admin, began = cluster.group_admin(offsets), time.monotonic()
    futures = {
        group: admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [tp.at(offset) for tp, offset in sorted(wanted.items())])],
            request_timeout=COORDINATOR_TIMEOUT,
        )[group]
        for group, wanted in offsets.items()
    }
    refusals: dict[str, list[tuple[TopicPartition, KafkaError]]] = {}
    for group, future in futures.items():
        told = cluster.wait(future, f"setting the offsets of group {group}", COORDINATOR_TIMEOUT)
        for tp in (tp for tp in told.topic_partitions if tp.error):
            refusals.setdefault(group, []).append((TopicPartition(tp.topic, tp.partition), tp.error))
    cluster.coordinators_moved(began)  # whoever asks next is to know
    return refusals


def _differing(now: Mapping[str, Offsets], wanted: Mapping[str, Offsets]) -> list[str]:
    return [
        f"group {group}, {tp}: set to {offset}, read back {now.get(group, {}).get(tp, 'nothing')}"
        for group, offsets in wanted.items()
        for tp, offset in sorted(offsets.items())
        if now.get(group, {}).get(tp) != offset
    ]


def _some(lines: Sequence[str], most: int = 20) -> str:
    more = [f"  ... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join([f"  {line}" for line in lines[:most]] + more)
