"""What a mirror has brought to the target, by the word of Kafka Connect and by a look at the target itself.

Reads only. Knows nothing of whoever started the mirror.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

import httpx
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from demo.kafka import silent_logger
from demo.waiting import WaitedInVain

_CONNECTOR = "org.apache.kafka.connect.mirror.MirrorSourceConnector"
_ANSWER_WITHIN = 10.0
_READ_WITHIN = 120.0
_AT_ONCE = 5_000

Place = tuple[str, int]


def behind(worker_url: str, source: str, topics: Mapping[str, int]) -> int | None:
    """How many offsets of those topics (with their partitions) a mirror has still to copy; None where none answers.

    Some that are none's are among them for ever: the marker behind the last transaction, messages that were withdrawn.
    """
    copied = _copied(worker_url)
    if copied is None:
        return None
    places = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
    admin = AdminClient({"bootstrap.servers": source}, logger=silent_logger())
    found = admin.list_offsets({place: OffsetSpec.latest() for place in places}, request_timeout=_ANSWER_WITHIN)
    ends: dict[Place, int] = {(tp.topic, tp.partition): future.result().offset for tp, future in found.items()}
    return sum(max(0, end - copied.get(place, 0)) for place, end in ends.items())


def ids_on(servers: str, topics: Collection[str]) -> set[str]:
    """The ids of all messages of those topics that lie there now, for all to read."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "demo-ids",  # never joined, and nothing is committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
        }
    )
    try:
        known = consumer.list_topics(timeout=_ANSWER_WITHIN).topics
        places = [TopicPartition(name, number, 0) for name in topics for number in known[name].partitions]
        consumer.assign(places)
        return _read_to_the_end(consumer, {(place.topic, place.partition) for place in places})
    finally:
        consumer.close()


def _read_to_the_end(consumer: Consumer, unread: set[Place]) -> set[str]:
    """Of each partition up to where it ends when that is reached first."""
    ids: set[str] = set()
    deadline = time.monotonic() + _READ_WITHIN
    while unread:
        if time.monotonic() > deadline:
            raise WaitedInVain(f"{len(unread)} partitions were not read to their end within {_READ_WITHIN:.0f} s.")
        for message in consumer.consume(_AT_ONCE, 1.0):
            error = message.error()
            if error is None:
                ids.add(str(json.loads(message.value() or b"{}").get("id")))
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard((message.topic() or "", message.partition() or 0))
    return ids


def _copied(worker_url: str) -> dict[Place, int] | None:
    """The next offset to copy of each partition, of all mirrors of that worker together."""
    try:
        with httpx.Client(base_url=worker_url, timeout=_ANSWER_WITHIN, trust_env=False) as client:
            connectors = _json(client, "/connectors?expand=info")
            names = [name for name, one in connectors.items() if one["info"]["config"]["connector.class"] == _CONNECTOR]
            offsets = [entry for name in names for entry in _json(client, f"/connectors/{name}/offsets")["offsets"]]
    except httpx.HTTPError:
        return None  # it starts, or spreads its work anew
    if not names:
        return None
    return {
        (entry["partition"]["topic"], entry["partition"]["partition"]): entry["offset"]["offset"] + 1
        for entry in offsets
        if entry["offset"]
    }


def _json(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(path)
    answer.raise_for_status()
    content: dict[str, Any] = answer.json()
    return content
