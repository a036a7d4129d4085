"""Plays the mirror for the tests of the handover: writes logs, copies them as MirrorMaker does, and knows what it did.

Every message says which one it is, unless a test wants equal ones. What was copied to where is known from the brokers'
acknowledgements, and what is visible from the simplest consumer there is.
"""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import NewTopic
from tests.integration.workbench import Workbench

from kafka_migration.mirror.anchors import Anchors, Pair, read_syncs
from kafka_migration.mirror.handover import Mapped, Position, map_positions
from kafka_migration.mirror.placing import Verdict
from kafka_migration.offsets import TopicPartition, Which, read_offsets
from kafka_migration.topics.describe import await_topics

_BEGAN = 1_700_000_000_000
_KEPT = {"retention.ms": "-1"}  # the timestamps are old


@dataclass
class Copied:
    """One partition of a topic that is on both clusters, and what has been copied of it.

    `images`: by offset of the origin those of its copies, in the order in which they were made. `begin`: from where on
    was copied, and onto where.
    """

    source: Workbench
    target: Workbench
    tp: TopicPartition
    syncs_topic: str
    begin: Pair = (0, 0)
    images: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def new(
        cls,
        source: Workbench,
        target: Workbench,
        here: Mapping[str, str] | None = None,
        there: Mapping[str, str] | None = None,
    ) -> Copied:
        [tp] = source.topic("copied", settings={**_KEPT, **(here or {})})
        syncs = f"mm2-offset-syncs.{uuid.uuid4().hex[:8]}.internal"
        for name, settings in ((tp.topic, there), (syncs, None)):
            made = target.cluster.admin.create_topics([NewTopic(name, 1, 1, config={**_KEPT, **(settings or {})})])
            made[name].result(timeout=30)
        await_topics(target.cluster, {tp.topic: 1, syncs: 1})
        return cls(source, target, tp, syncs)

    def fill(self, count: int, chance: random.Random, transactions: bool = False, alike: bool = False) -> None:
        """At least `count` visible messages on the origin, in bursts that are plain, committed or aborted."""
        written = 0
        plain, within = producer(self.source), producer(self.source, transactional=True) if transactions else None
        while written < count:
            burst = [_message(chance, written + i, alike) for i in range(chance.randint(1, 20 if within else 200))]
            kind = chance.choice(["plain", "commit", "abort"]) if within else "plain"
            if within is None or kind == "plain":
                send(plain, self.tp, burst)
                written += len(burst)
                continue
            within.begin_transaction()
            send(within, self.tp, burst)
            if kind == "commit":
                within.commit_transaction(30)
                written += len(burst)
            else:
                within.abort_transaction(30)
        if within is not None:
            self.source.await_markers(self.tp)

    def copy(
        self,
        first: int = 0,
        upto: int = 2**62,
        every: int | None = 100,
        transactional: bool = False,
        without: Sequence[int] = (),
        each: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Copy what is visible in [first, upto). A sync for the first message and for each `every` offsets; None: none.

        `without`: offsets that are lost on the way. `each` is called with the offset before each batch.
        """
        found = [m for m in visible(self.source, self.tp) if first <= m.offset() < upto]
        messages = [m for m in found if m.offset() not in without]
        writer, size = producer(self.target, transactional), 37
        copies: list[Pair] = []
        for i in range(0, len(messages), size):
            batch = messages[i : i + size]
            each(batch[0].offset())
            if transactional:
                writer.begin_transaction()
            downs = send(writer, self.tp, [(m.key(), m.value(), m.headers() or [], m.timestamp()[1]) for m in batch])
            if transactional:
                writer.commit_transaction(30)
            copies += zip((m.offset() for m in batch), downs, strict=True)
        if transactional:
            self.target.await_markers(self.tp)
        for up, down in copies:
            self.images.setdefault(up, []).append(down)
        self.tell(_spaced(copies, every) if every else [])

    def tell(self, syncs: Sequence[Pair]) -> None:
        """Write offset syncs as MirrorMaker does."""
        topic = self.tp.topic.encode()
        key = struct.pack(">h", len(topic)) + topic + struct.pack(">i", self.tp.partition)
        records = [(key, struct.pack(">qq", *pair), [], _BEGAN) for pair in syncs]
        send(producer(self.target), TopicPartition(self.syncs_topic, 0), records)

    @property
    def end(self) -> Pair:
        return self.source.end(self.tp), self.target.end(self.tp)

    def anchors(self, ended: bool = True) -> Anchors:
        syncs = read_syncs(self.target.cluster, self.syncs_topic).get(self.tp, [])
        return Anchors.build(self.begin, syncs, self.end if ended else None)

    def map(self, offsets: Sequence[int], ended: bool = True, **options: bool) -> list[Mapped]:
        """`options`: `stamped`, `compacted`."""
        return map_positions(
            self.source.cluster,
            self.target.cluster,
            {self.tp: self.anchors(ended)},
            [Position(f"g{i}", self.tp, offset) for i, offset in enumerate(offsets)],
            ignore_timestamp={self.tp.topic} if options.get("stamped") else (),
            compacted={self.tp.topic} if options.get("compacted") else (),
        )

    def truths(self, offsets: Sequence[int]) -> list[tuple[int | None, list[int]]]:
        """For each position the next message on the origin, and its copies; for none what lies at the end."""
        start = read_offsets(self.source.cluster, [self.tp], Which.START)[self.tp]
        there = [m.offset() for m in visible(self.source, self.tp)]
        found: list[tuple[int | None, list[int]]] = []
        for offset in offsets:
            message = next((o for o in there if o >= max(offset, start)), None)
            found.append((message, [self.end[1]] if message is None else self.images.get(message, [])))
        return found

    def judged(self, offsets: Sequence[int], **options: bool) -> dict[Verdict, int]:
        """How often each verdict is given. Fails where one is wrong: proved but not so, or with something skipped.

        Of what was copied again without being told any copy is right, else the last one.
        """
        untold = options.pop("untold", False)
        counts: dict[Verdict, int] = {}
        for mapped, (message, copies) in zip(self.map(offsets, **options), self.truths(offsets), strict=True):
            counts[mapped.verdict] = counts.get(mapped.verdict, 0) + 1
            what = f"{mapped}; the next message is at {message}, its copies at {copies}"
            match mapped.verdict:
                case Verdict.EXACT:
                    assert mapped.next_origin == message, what
                    assert mapped.destination_offset in (copies if untold else copies[-1:]), what
                case Verdict.AT_END:
                    assert message is None, what
                    assert mapped.destination_offset == copies[0], what
                case Verdict.REPEATS:
                    assert mapped.destination_offset is not None, what
                    assert mapped.destination_offset <= copies[-1], what
                case _:
                    assert mapped.destination_offset is None, what
        return counts


Content = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


def producer(bench: Workbench, transactional: bool = False) -> Producer:
    settings = {"bootstrap.servers": bench.bootstrap_servers, "linger.ms": "1", "enable.idempotence": True}
    if not transactional:
        return Producer(settings)
    one = Producer({**settings, "transactional.id": f"copier-{uuid.uuid4().hex[:8]}"})
    one.init_transactions(60)
    return one


def send(writer: Producer, tp: TopicPartition, contents: Sequence[Content]) -> list[int]:
    """The offsets that these were acknowledged at, in order."""
    offsets: list[int] = []

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        offsets.append(message.offset())

    for key, value, headers, at in contents:
        writer.produce(
            tp.topic, value, key, partition=tp.partition, timestamp=at, headers=headers, on_delivery=acknowledged
        )
    assert writer.flush(60) == 0
    return offsets


def visible(bench: Workbench, tp: TopicPartition) -> list[Message]:
    """Every message that a committed reader is shown."""
    settings = {"bootstrap.servers": bench.bootstrap_servers, "group.id": f"oracle-{uuid.uuid4().hex[:8]}"}
    consumer = Consumer({**settings, "enable.partition.eof": True, "auto.offset.reset": "earliest"})
    consumer.assign([tp.at(read_offsets(bench.cluster, [tp], Which.START)[tp])])
    found: list[Message] = []
    try:
        while True:
            for message in consumer.consume(1000, timeout=0.2):
                error = message.error()
                if error is None:
                    found.append(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    return found
    finally:
        consumer.close()


def _message(chance: random.Random, number: int, alike: bool) -> Content:
    if alike:
        return b"k", b"v", [], _BEGAN
    hot = chance.random() < 0.5
    key = f"hot-{chance.randrange(40)}" if hot else f"key-{number}"
    headers: list[tuple[str, bytes | None]] = [("n", None), ("b", bytes([number % 256, 0, 255]))][: number % 3]
    return key.encode(), f"{number}-{uuid.uuid4().hex}".encode(), headers, _BEGAN + number * chance.randint(0, 3)


def _spaced(copies: Sequence[Pair], every: int) -> list[Pair]:
    told: list[Pair] = []
    for pair in copies:
        if not told or pair[0] - told[-1][0] >= every:
            told.append(pair)
    return told
