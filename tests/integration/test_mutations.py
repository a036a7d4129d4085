"""The checker checked: each damage of `DAMAGES` is done to real copies, and each rule says what is written there.

A good copy passes, a damaged one fails and its place is named, and what a rule cannot see is stated and not more.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import NewTopic
from tests.conftest import RunningCluster
from tests.integration.damages import DAMAGES, PARTITIONS, THERE, Content, Copy, Damage, Item, Rule, origin
from tests.integration.workbench import Workbench, eventually

from kafka_migration.clusters.client import Clusters
from kafka_migration.findings import Finding, verdict
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets, read_several
from kafka_migration.sides import Side
from kafka_migration.steps import remade
from kafka_migration.topics.describe import await_topics
from kafka_migration.topics.ids import topic_ids
from kafka_migration.verification.by_topic import TopicPair, compare_topics_by_key
from kafka_migration.verification.content import ContentResult, RangePair, compare_content, judge_content

_AT_ONCE = 6  # comparisons
_CHUNK = 4  # messages of each partition in a transaction
_KEPT = {"retention.ms": "-1", "delete.retention.ms": "3600000"}  # the timestamps are old


@dataclass(frozen=True)
class Kind:
    """How a topic is written. `truncated`: its head was deleted on the origin before anything was copied."""

    name: str
    compression: tuple[str, str] = ("none", "none")
    transactional: bool = False
    compacted: bool = False
    truncated: bool = False

    def rule(self, equal: bool) -> Rule:
        if self.compacted:
            return Rule.LATEST if equal else Rule.LATEST_OF_ALL
        return Rule.IN_ORDER if equal else Rule.WITHIN_KEYS

    @property
    def settings(self) -> dict[str, str]:
        return {**_KEPT, "cleanup.policy": "compact,delete"} if self.compacted else _KEPT


KINDS = [
    Kind("plain"),
    Kind("compressed", compression=("zstd", "gzip")),
    Kind("transactional", transactional=True),
    Kind("compacted", compacted=True),
    Kind("truncated", truncated=True),
]

Offsets = dict[TopicPartition, list[int]]


@dataclass
class Cell:
    """One damage to the copy of one topic."""

    kind: Kind
    equal: bool
    damage: Damage
    source: str = ""
    topic: str = field(default_factory=lambda: f"copy-{uuid.uuid4().hex[:8]}")
    copy: Copy = field(default_factory=lambda: Copy([]))
    ranges: tuple[list[OffsetRange], list[OffsetRange]] = ([], [])
    former: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    results: Mapping[TopicPartition, ContentResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.copy = Copy.of(origin(not self.kind.compacted), self.equal)
        self.damage.do(self.copy)

    @property
    def name(self) -> str:
        return f"{self.kind.name}, {'as many' if self.equal else 'other'} partitions: {self.damage.name}"

    @property
    def expected(self) -> str:
        return self.damage.verdict(self.kind.rule(self.equal))

    def there(self) -> list[TopicPartition]:
        return [TopicPartition(self.topic, number) for number in range(PARTITIONS if self.equal else THERE)]


CELLS = [
    cell
    for kind in KINDS
    for equal in (True, False)
    for damage in DAMAGES
    if damage.verdict(kind.rule(equal))
    for cell in [Cell(kind, equal, damage)]
]


class Gate:
    """Both clusters with all topics of all cells, written once."""

    def __init__(self, here: Workbench, there: Workbench) -> None:
        self.benches = (here, there)
        self.clusters = Clusters(here.cluster, there.cluster)
        self.offsets: Offsets = {}

    def prepare(self) -> None:
        for kind in KINDS:
            cells = [cell for cell in CELLS if cell.kind is kind]
            whole, expiring = (f"{kind.name}-{uuid.uuid4().hex[:8]}" for _ in range(2))
            for cell in cells:
                cell.source = expiring if cell.copy.expired == 0 else whole
            self._write_origin(kind, [whole, expiring])
            self._make(1, kind, {cell.topic: len(cell.there()) for cell in cells})
            self._remake(kind, [cell for cell in cells if cell.copy.anew])
            self._write(1, kind, {tp: cell.copy.partitions[tp.partition] for cell in cells for tp in cell.there()})
            self._fix_ranges(cells)

    def compare(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._compare, [cell for cell in CELLS if not cell.copy.anew]))

    def delete(self) -> None:
        for side, topics in ((0, {cell.source for cell in CELLS}), (1, {cell.topic for cell in CELLS})):
            for future in self.benches[side].cluster.admin.delete_topics(list(topics)).values():
                future.result(60)

    def place(self, side: int, cell: Cell, label: str) -> set[str]:
        """Where a message of that label lies, as it is named: by the topic of the origin."""
        if side == 0:
            parts = [(TopicPartition(cell.source, p), some) for p, some in enumerate(origin(not cell.kind.compacted))]
        else:
            parts = list(zip(cell.there(), cell.copy.partitions, strict=True))
        return {
            f"{cell.source}/{tp.partition}@{offset}"
            for tp, items in parts
            for item, offset in zip(items, self.offsets[tp], strict=True)
            if item.label == label
        }

    def _write_origin(self, kind: Kind, topics: Sequence[str]) -> None:
        self._make(0, kind, dict.fromkeys(topics, PARTITIONS))
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        messages = origin(not kind.compacted)
        if kind.truncated:
            self._write(0, kind, {tp: messages[tp.partition][:2] for tp in partitions})
        self._write(0, kind, {tp: messages[tp.partition] for tp in partitions})
        if kind.truncated:
            for tp in partitions:
                self.benches[0].delete_before(tp, self.offsets[tp][0])

    def _make(self, side: int, kind: Kind, topics: Mapping[str, int]) -> None:
        cluster = self.benches[side].cluster
        wanted = [NewTopic(topic, partitions, 1, config=kind.settings) for topic, partitions in topics.items()]
        for future in cluster.admin.create_topics(wanted).values():
            future.result(60)
        await_topics(cluster, topics)

    def _remake(self, kind: Kind, cells: Sequence[Cell]) -> None:
        """Delete them and make them anew, and see what is said of it."""
        here, there = (bench.cluster for bench in self.benches)
        topics = {cell.topic: len(cell.there()) for cell in cells}
        known = {"source": topic_ids(here, {c.source for c in cells}), "target": topic_ids(there, topics)}
        for future in there.admin.delete_topics(list(topics)).values():
            future.result(60)
        eventually(lambda: not topic_ids(there, topics), "the topics to be deleted")
        self._make(1, kind, topics)
        found = {finding.id: finding for finding in remade.look(self.clusters, known)}
        for cell in cells:
            cell.findings = [found[f"mirror-topic/{cell.topic}"]]

    def _write(self, side: int, kind: Kind, messages: Mapping[TopicPartition, Sequence[Item]]) -> None:
        """All of these, those of a partition in their order, with the offsets that they were acknowledged at."""
        bench = self.benches[side]
        settings = {"bootstrap.servers": bench.bootstrap_servers, "enable.idempotence": True, "linger.ms": "20"}
        if not kind.transactional:
            writer = Producer({**settings, "compression.type": kind.compression[side]})
            self.offsets |= _sent(writer, {tp: [i.content for i in items] for tp, items in messages.items()})
            return
        writer = Producer({**settings, "transactional.id": f"gate-{uuid.uuid4().hex[:8]}"})
        writer.init_transactions(60)
        chunk = _CHUNK - side  # so that markers lie elsewhere than on the origin
        self.offsets |= {tp: [] for tp in messages}
        for start in range(0, max(map(len, messages.values())), chunk):
            some = {tp: [i.content for i in items[start : start + chunk]] for tp, items in messages.items()}
            writer.begin_transaction()
            for tp, offsets in _sent(writer, some).items():
                self.offsets[tp] += offsets
            writer.commit_transaction(60)
            writer.begin_transaction()
            _sent(writer, {tp: [(b"aborted", b"aborted", [], 0)] for tp in messages})
            writer.abort_transaction(60)
        eventually(lambda: _settled(bench, list(messages)), "the markers")

    def _fix_ranges(self, cells: Sequence[Cell]) -> None:
        """Before anything expires, as the steps do."""
        places = {0: {cell.source for cell in cells}, 1: {cell.topic for cell in cells}}
        bounds: dict[tuple[int, str], list[OffsetRange]] = {}
        for side, topics in places.items():
            partitions = [tp for tp in self.offsets if tp.topic in topics]
            told = read_several(self.benches[side].cluster, partitions, (Which.START, Which.END))
            for tp in sorted(partitions):
                bound = OffsetRange(tp, told[Which.START][tp], told[Which.END][tp])
                bounds.setdefault((side, tp.topic), []).append(bound)
        for cell in cells:
            cell.ranges = (
                [self._cut(cell, 0, bound) for bound in bounds[0, cell.source]],
                [self._cut(cell, 1, bound) for bound in bounds[1, cell.topic]],
            )
        for cell in cells:
            if cell.copy.expired is not None:
                self._expire(cell, cell.ranges[cell.copy.expired][1].partition)

    def _cut(self, cell: Cell, side: int, bound: OffsetRange) -> OffsetRange:
        first, last = cell.copy.cut.get((side, bound.partition.partition), (0, 0))
        offsets = self.offsets[bound.partition]
        return OffsetRange(
            bound.partition,
            offsets[first] if first else bound.start,
            offsets[-last] if last else bound.end,
        )

    def _expire(self, cell: Cell, tp: TopicPartition) -> None:
        assert cell.copy.expired is not None
        self.benches[cell.copy.expired].delete_before(tp, self.offsets[tp][1])
        if cell.copy.known:
            for ranges in cell.ranges:
                bound = ranges[tp.partition]
                cell.former.setdefault(tp.partition, bound.start)
                ranges[tp.partition] = OffsetRange(bound.partition, self.offsets[bound.partition][1], bound.end)

    def _compare(self, cell: Cell) -> None:
        here, there = cell.ranges
        by_key = cell.kind.compacted
        if cell.equal:
            pairs = [
                RangePair(
                    one.partition,
                    one.start,
                    one.end,
                    other.start,
                    other.end,
                    by_key=by_key,
                    copy=cell.topic,
                    former_start=cell.former.get(one.partition.partition),
                )
                for one, other in zip(here, there, strict=True)
            ]
            cell.results = compare_content(self.clusters.source, self.clusters.target, pairs)
        else:
            pair = TopicPair(tuple(here), tuple(there), by_key=by_key)
            cell.results = compare_topics_by_key(self.clusters.source, self.clusters.target, [pair])
        cell.findings = judge_content(cell.results)


@pytest.fixture(scope="module")
def gate(source: RunningCluster, target: RunningCluster) -> Iterator[Gate]:
    one = Gate(Workbench(source.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET))
    one.prepare()
    one.compare()
    yield one
    one.delete()


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_each_rule_says_of_each_damage_what_is_written_and_where_it_is(gate: Gate, cell: Cell) -> None:
    assert verdict(cell.findings) == cell.expected, [finding.seen for finding in cell.findings]
    shown = [difference for result in cell.results.values() for difference in result.differences]
    assert len(shown) == sum(result.different for result in cell.results.values()), "few enough to be all shown"
    if cell.copy.anew:
        return
    [finding] = cell.findings
    match cell.expected:
        case "PASS":
            assert not shown
            if cell.damage.name == "none":
                keys = {item.key for item in cell.copy.all}
                assert sum(r.equal for r in cell.results.values()) == len(
                    keys if cell.kind.compacted else list(cell.copy.all)
                )
        case "INCONCLUSIVE":
            assert f"{cell.source}/1: offsets " in finding.seen, "the partition is named"
            assert not shown
        case "FAIL":
            for side in (0, 1):
                places = set().union(*(gate.place(side, cell, label) for label in cell.copy.touched))
                named = {str(d).rpartition(":")[0] for d in shown if d.kind.on_origin is (side == 0)}
                assert named <= places, "nothing is blamed that was not damaged"
            assert str(shown[0]) in finding.seen
            assert all(d.origin or d.destination for d in shown), "each has been looked at again"
            for result in cell.results.values():
                counted = {kind: sum(s.count for s in some) for kind, some in result.stretches.items()}
                assert counted == result.counts


def _sent(writer: Producer, messages: Mapping[TopicPartition, Sequence[Content]]) -> Offsets:
    offsets: Offsets = {tp: [] for tp in messages}

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        assert error is None, error
        offsets[TopicPartition(message.topic(), message.partition())].append(message.offset())

    for tp, contents in messages.items():
        for key, value, headers, at in contents:
            writer.produce(tp.topic, value, key, tp.partition, timestamp=at, headers=headers, on_delivery=acknowledged)
    assert writer.flush(60) == 0
    return offsets


def _settled(bench: Workbench, partitions: Sequence[TopicPartition]) -> bool:
    stable, ends = (read_offsets(bench.cluster, partitions, which) for which in (Which.STABLE, Which.END))
    return stable == ends
