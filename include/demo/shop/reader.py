"""A consuming service: reads, processes in order, writes down what it processed, then commits.

Written down before it is committed: a service that dies in between reads the message again, and the
witness counts it as repeated, as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from demo.shop.life import Life, say
from demo.shop.messages import read
from demo.shop.outbox import raise_if_fatal
from demo.shop.settings import Settings
from demo.witness_log import WitnessLog

CLASSIC: Mapping[str, str | int | bool] = {"session.timeout.ms": 15_000}
"""For groups of the classic protocol: one that was killed is missed after these seconds, not after 45."""

Commit = Callable[[Consumer, Sequence[KafkaMessage]], None]

_AT_ONCE = 200
_AT_MOST = 0.2


def commit_position(consumer: Consumer, messages: Sequence[KafkaMessage]) -> None:
    """Where the consumer stands, which may be behind a transaction's marker too."""
    consumer.commit(asynchronous=False)


def commit_records(consumer: Consumer, messages: Sequence[KafkaMessage]) -> None:
    """The place right after each partition's last record: a marker that follows it stays as a lag."""
    consumer.commit(offsets=next_offsets(messages), asynchronous=False)


def next_offsets(messages: Sequence[KafkaMessage]) -> list[TopicPartition]:
    last: dict[tuple[str, int], int] = {}
    for message in messages:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None and offset is not None:
            last[topic, partition] = offset
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]


def consumer_of(settings: Settings, group: str, config: Mapping[str, str | int | bool]) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": settings.servers,
            "client.id": settings.service,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,  # tells when everything assigned is really being read
            "fetch.min.bytes": 16_384,  # some messages at a time instead of each by itself, at most 100 ms late
            "fetch.wait.max.ms": 100,
            **config,
        }
    )


class Batches:
    """What a group gets, some messages at a time."""

    def __init__(self, consumer: Consumer, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._unread: set[tuple[str, int]] = set()
        consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked)

    def next(self) -> list[KafkaMessage]:
        """Possibly none."""
        messages = []
        for message in self._consumer.consume(_AT_ONCE, _AT_MOST):
            error = message.error()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._reached_end(message)
            else:
                raise_if_fatal(KafkaException(error))
                say(f"{error}")
        return messages

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        say(f"{ASSIGNED} {len(partitions)}: {' '.join(f'{one.topic}/{one.partition}' for one in partitions)}")
        self._unread |= {(one.topic, one.partition) for one in partitions}

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        say(f"revoked {len(partitions)}")
        self._unread -= {(one.topic, one.partition) for one in partitions}

    def _reached_end(self, message: KafkaMessage) -> None:
        place = (message.topic() or "", message.partition() or 0)
        if place in self._unread:
            self._unread.remove(place)
            if not self._unread:
                say(READING)


ASSIGNED = "assigned"
READING = "reads all that it was assigned"


def run_reader(
    group: str,
    topics: Sequence[str],
    config: Mapping[str, str | int | bool],
    commit: Commit,
    behind: float = 0.0,
    rate: float = 0.0,
) -> None:
    """Live as a service that only reads.

    With `behind` it handles each message only when it is that old, with `rate` no more of them a second.
    """
    life = Life()
    settings = Settings.from_environment()
    log = WitnessLog(settings.witness, settings.servers)
    consumer = consumer_of(settings, group, config)
    batches = Batches(consumer, topics)
    say(f"{settings.service} reads from {settings.servers} as group {group}")
    try:
        while not life.over:
            messages = batches.next()
            began = time.monotonic()
            done = _process(messages, log, group, behind, life)
            if done:
                # Not all: asked to stop in the middle. What is left must be read again, so no position is committed.
                _commit(commit if len(done) == len(messages) else commit_records, consumer, done)
            if rate:
                _rest_until(began + len(done) / rate, life)
    finally:
        consumer.close()
    say(f"{settings.service} ends")


def _process(
    messages: Sequence[KafkaMessage], log: WitnessLog, group: str, behind: float, life: Life
) -> list[KafkaMessage]:
    """Those processed before the service was asked to stop."""
    done: list[KafkaMessage] = []
    for message in messages:
        if behind:
            while not life.over and (early := _seconds_early(message, behind)) > 0:
                life.rest(early)
            if life.over:
                break
        record = read(message)
        if record is not None:
            log.processed(group, [record])
        done.append(message)
    return done


def _rest_until(moment: float, life: Life) -> None:
    while not life.over and (left := moment - time.monotonic()) > 0:
        life.rest(left)


def _seconds_early(message: KafkaMessage, behind: float) -> float:
    milliseconds = int(message.timestamp()[1])
    return milliseconds / 1000 + behind - time.time()


def _commit(commit: Commit, consumer: Consumer, messages: Sequence[KafkaMessage]) -> None:
    try:
        commit(consumer, messages)
    except KafkaException as error:
        raise_if_fatal(error)
        say(f"commit failed; what it covers is committed with the next, or read again: {error}")
