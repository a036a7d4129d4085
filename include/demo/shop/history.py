"""What was stored long before the shop opens: many small events, of which two groups have still to read the last.

Only what is still to be read is written down as produced: of the rest nobody will ask.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from demo.shop.catalogue import EVENTS
from demo.witness_log import Record, WitnessLog

_KEYS = 64  # a multiple of the partitions, so that each key stays in one
_DAYS = 20
_SERVED_EVERY = 50_000


def write_history(
    bootstrap_servers: str, witness: Path, groups: Sequence[str], *, messages: int = 2_000_000, unread: int = 200_000
) -> None:
    """Store that many events, spread over the last days, and let the groups stand before the last `unread` of them.

    The topic is there and empty. `witness` is the file in which those are written down as produced by `history`.
    Both numbers are multiples of the topic's partitions. Raises RuntimeError where the topic ends elsewhere then.
    """
    began = time.time() - _DAYS * 86_400
    step = _DAYS * 86_400 / messages
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,  # in order, and each once: so an offset is known from the number
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": 262_144,
            "log_level": 3,  # a broker that has just started lets producers wait for their id: nothing to warn of
        }
    )
    for number in range(messages):
        while True:
            try:
                producer.produce(
                    EVENTS.name,
                    _value(number),
                    _key(number),
                    partition=number % EVENTS.partitions,
                    timestamp=int((began + number * step) * 1000),
                )
                break
            except BufferError:
                producer.poll(0.05)
        if number % _SERVED_EVERY == 0:
            producer.poll(0)
    while producer.flush(0.5):  # a short wait each time: Python sees signals only in between
        pass
    first = messages - unread
    _stand_at(bootstrap_servers, groups, first // EVENTS.partitions, messages // EVENTS.partitions)
    log = WitnessLog(witness, bootstrap_servers)
    for records in _batches(_record(number) for number in range(first, messages)):
        log.produced("history", records)


def _key(number: int) -> bytes:
    return b"k%d" % (number % _KEYS)


def _value(number: int) -> bytes:
    return b'{"id": "history-%d", "seq": %d, "event": "%s"}' % (number, number, b"." * 40)


def _record(number: int) -> Record:
    key = _key(number).decode()
    place = (number % EVENTS.partitions, number // EVENTS.partitions)
    return Record(EVENTS.name, *place, key, f"history-{number}", number)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, 10_000)):
        yield batch


def _stand_at(bootstrap_servers: str, groups: Sequence[str], offset: int, end: int) -> None:
    """The groups have read up to there. Fails where the topic does not end where it should."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    numbers = range(EVENTS.partitions)
    ends = admin.list_offsets({TopicPartition(EVENTS.name, n): OffsetSpec.latest() for n in numbers})
    found = {tp.partition: future.result(30).offset for tp, future in ends.items()}
    if set(found.values()) != {end}:
        raise RuntimeError(f"{EVENTS.name} does not hold what was written: {found}, and not {end} in each")
    for group in groups:
        at = [TopicPartition(EVENTS.name, n, offset) for n in numbers]
        admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, at)])[group].result(30)
