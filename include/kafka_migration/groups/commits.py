"""Committed offsets of groups: reading them in bulk, and setting them with every partition's answer read.

An active group does not make the call fail: the refusal stands in each partition's error (measured on 4.3.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError

from kafka_migration.clusters.client import COORDINATOR_TIMEOUT, Cluster
from kafka_migration.clusters.patience import ONE_LONG, ask_each, coordinator_moves
from kafka_migration.errors import ClusterError, OffsetsRefused
from kafka_migration.offsets import Offsets, TopicPartition


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
        admin = cluster.group_admin
        return {
            group: admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group)], require_stable=stable, request_timeout=within
            )[group]
            for group in left
        }

    found: dict[str, dict[TopicPartition, int]] = {}
    for group, told in ask_each(cluster, wanted, ask, coordinator_moves, ONE_LONG).items():
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

    Raises `OffsetsRefused` naming each group and partition that was not set, and `ClusterError` where nothing else is
    in the way than that a coordinator is not there yet.
    """
    admin = cluster.group_admin
    futures = {
        group: admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [tp.at(offset) for tp, offset in sorted(wanted.items())])],
            request_timeout=COORDINATOR_TIMEOUT,
        )[group]
        for group, wanted in offsets.items()
        if wanted
    }
    refused: list[str] = []
    passing = True
    for group, future in futures.items():
        told = cluster.wait(future, f"setting the offsets of group {group}", COORDINATOR_TIMEOUT)
        for tp in (tp for tp in told.topic_partitions if tp.error):
            refused.append(f"group {group}, {tp.topic}/{tp.partition}: {tp.error.name()}")
            passing = passing and coordinator_moves(group, tp.error)
    if refused and passing:
        raise ClusterError(f"{cluster} has no coordinator for these groups yet:\n" + _some(refused))
    if not refused:
        refused = _differing(committed(cluster, list(futures)), offsets)
    if refused:
        hint = (
            " The group is active there: stop the consumers that use it."
            if any("UNKNOWN_MEMBER_ID" in line for line in refused)
            else ""
        )
        raise OffsetsRefused(f"{cluster} did not take these offsets:{hint}\n" + _some(refused))


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
