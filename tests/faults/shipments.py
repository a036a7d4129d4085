"""What the shop's processor did and had no time to write down: orders whose shipments are committed.

Killed between the end of a transaction and its own witness log, it has processed what the count then calls lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, TopicPartition

from demo.witness_log import Entry, Kind, parse

_SILENT_FOR = 10.0


def unwritten(witness: Path, servers: Iterable[str]) -> int:
    """How many orders of those that the processor has not written down have a shipment on one of these clusters."""
    ordered = {e.record.id for e in _entries(witness / "order-api.tsv") if e.record.topic == "orders"}
    missing = ordered - {e.record.id for e in _entries(witness / "fulfilment.tsv") if e.kind is Kind.PROCESSED}
    return len(missing & {order for one in servers for order in _shipped(one)}) if missing else 0


def _entries(log: Path) -> Iterator[Entry]:
    with log.open(encoding="utf-8") as lines:
        yield from (parse(line) for line in lines if line.endswith("\n"))


def _shipped(servers: str) -> Iterator[str]:
    """The orders of all committed shipments of a cluster."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "faults",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        partitions = consumer.list_topics("shipments", timeout=10).topics["shipments"].partitions
        consumer.assign([TopicPartition("shipments", number, 0) for number in partitions])
        left = set(partitions)
        while left:
            message = consumer.poll(_SILENT_FOR)
            if message is None:
                raise RuntimeError(f"{servers} tells no more of its shipments, though {len(left)} partitions have more")
            error = message.error()
            if error is None:
                yield str(json.loads(message.value() or b"")["order"])
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
            else:
                raise RuntimeError(f"{servers}: {error}")
    finally:
        consumer.close()
