"""Topics whose partitions are not as many on both clusters, compared on real brokers key by key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import pytest
from confluent_kafka.admin import NewTopic
from tests.conftest import RunningCluster
from tests.integration.copying import Content, producer, send
from tests.integration.workbench import Workbench

from kafka_migration.findings import Status
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.sides import Side
from kafka_migration.topics.describe import await_topics
from kafka_migration.verification import by_topic
from kafka_migration.verification.by_topic import TopicPair, compare_topics_by_key
from kafka_migration.verification.content import judge_content
from kafka_migration.verification.differences import ContentResult, Kind
from kafka_migration.verification.digest import key_digest

AT = 1_700_000_000_000
KEPT = {"retention.ms": "-1"}  # the timestamps are old


@dataclass
class Topics:
    """A topic of three partitions, and its copy of two under another name."""

    source: Workbench
    target: Workbench
    here: list[TopicPartition]
    there: list[TopicPartition]

    def put(self, here: Sequence[Content], there: Sequence[Content]) -> None:
        for bench, partitions, messages in ((self.source, self.here, here), (self.target, self.there, there)):
            writer = producer(bench)
            for content in messages:
                send(writer, partitions[crc32(content[0] or content[1] or b"") % len(partitions)], [content])

    def pair(self, **options: bool) -> TopicPair:
        ranges = [
            tuple(OffsetRange(tp, 0, bench.end(tp)) for tp in partitions)
            for bench, partitions in ((self.source, self.here), (self.target, self.there))
        ]
        return TopicPair(*ranges, **options)

    def compare(self, pair: TopicPair | None = None) -> dict[TopicPartition, ContentResult]:
        return compare_topics_by_key(self.source.cluster, self.target.cluster, [pair or self.pair()])


Make = Callable[..., Topics]


@pytest.fixture(scope="module")
def make(source: RunningCluster, target: RunningCluster) -> Make:
    here, there = Workbench(source.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET)

    def new(settings: dict[str, str] | None = None) -> Topics:
        made = here.topic("keyed", 3, {**KEPT, **(settings or {})})
        copy = f"copy.{made[0].topic}"
        there.cluster.admin.create_topics([NewTopic(copy, 2, 1, config={**KEPT, **(settings or {})})])[copy].result(30)
        await_topics(there.cluster, {copy: 2})
        return Topics(here, there, made, [TopicPartition(copy, number) for number in range(2)])

    return new


def message(number: int) -> Content:
    return b"key-%d" % (number % 7), b"value-%d" % number, [("n", b"%d" % number)], AT + number


MESSAGES = [message(n) for n in range(70)]


def found(results: dict[TopicPartition, ContentResult]) -> list[str]:
    return [str(d).partition("/")[2] for _, r in sorted(results.items()) for d in r.differences]


def test_same_messages_in_other_partitions_are_equal_and_each_is_counted(make: Make) -> None:
    topics = make()
    without = [(None, b"no key %d" % n, [], AT) for n in range(20)]
    topics.put([*MESSAGES, *without], [*without[::-1], *MESSAGES])
    results = topics.compare()
    assert list(results) == topics.here
    assert sum(r.equal for r in results.values()) == 90
    [finding] = judge_content(results)
    assert (finding.status, finding.seen) == (Status.PASS, "90 messages of 3 partitions are equal")
    assert sum(r.destination_visible for r in results.values()) == 90


def test_differences_are_told_with_their_places_on_both_sides(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = make()
    altered = (MESSAGES[20][0], b"other", [], AT)
    there = [*MESSAGES[:20], altered, *MESSAGES[21:50], *MESSAGES[51:], MESSAGES[3], message(701)]
    topics.put(MESSAGES, there)
    results = topics.compare()
    counts = {kind: sum(r.counts[kind] for r in results.values()) for kind in Kind}
    assert counts == {Kind.MISSING: 1, Kind.EXTRA: 1, Kind.REPEATED: 1, Kind.ALTERED: 1, Kind.MISPLACED: 0}
    [one] = [d for r in results.values() for d in r.differences if d.kind is Kind.ALTERED]
    assert one.fields == ("value", "headers", "timestamp")
    assert one.key == key_digest(b"key-6")
    assert one.partition == topics.here[crc32(b"key-6") % 3]
    assert (one.there or one.partition).partition == crc32(b"key-6") % 2
    assert one.origin is not None
    assert "value 'value-20'" in one.origin
    assert one.destination is not None
    assert "value 'other'" in one.destination
    [finding] = judge_content(results)
    assert finding.status is Status.FAIL
    assert f"{one}" in finding.seen
    monkeypatch.setattr(by_topic, "_HELD", 20)
    again = topics.compare()
    assert sorted(found(again)) == sorted(found(results)), "also when few are held at once"


@pytest.mark.parametrize("side", ["origin", "destination"])
def test_nothing_is_said_of_a_topic_that_an_open_transaction_keeps_from_being_read(make: Make, side: str) -> None:
    topics = make()
    topics.put(MESSAGES, MESSAGES[1:])
    bench, tp = (topics.source, topics.here[0]) if side == "origin" else (topics.target, topics.there[0])
    with bench.open_transaction(tp, 3):
        results = topics.compare()
    assert not any(r.different or r.equal for r in results.values())
    [finding] = judge_content(results)
    assert finding.status is Status.INCONCLUSIVE
    assert f"{topics.here[0]} on the {side}" in finding.seen


@pytest.mark.parametrize("by_key", [False, True])
def test_start_that_is_not_kept_any_more_is_inconclusive(make: Make, by_key: bool) -> None:
    topics = make()
    topics.put(MESSAGES, MESSAGES)
    pair = topics.pair(by_key=by_key)
    topics.source.delete_before(topics.here[0], 2)
    [finding] = judge_content(topics.compare(pair))
    assert finding.status is Status.INCONCLUSIVE
    assert f"{topics.here[0]}: offsets 0 to 2 of" in finding.seen


def test_latest_messages_of_keys_are_compared_and_what_was_written_anew_is_no_difference(make: Make) -> None:
    topics = make({"cleanup.policy": "compact"})
    topics.put(MESSAGES, [*MESSAGES[35:], message(700)])
    pair = topics.pair(by_key=True)
    results = topics.compare(pair)
    assert found(results) == [f"{crc32(b'key-0') % 3}@{offset_of(topics, 63)}:altered"]
    assert sum(r.equal for r in results.values()) == 6
    topics.put([(b"new", b"1", [], AT)], [])
    ended = topics.pair(by_key=True)
    topics.put([], [(b"new", b"2", [], AT)])
    results = topics.compare(ended)
    assert (sum(r.rewritten for r in results.values()), sum(r.counts[Kind.MISSING] for r in results.values())) == (1, 0)


def offset_of(topics: Topics, number: int) -> int:
    partition = crc32(message(number)[0] or b"") % 3
    return sum(crc32(message(n)[0] or b"") % 3 == partition for n in range(number))


def test_ranges_are_kept_to(make: Make) -> None:
    topics = make()
    topics.put(MESSAGES, MESSAGES)
    pair = topics.pair()
    topics.put([message(100)], [message(101), message(102)])
    assert judge_content(topics.compare(pair))[0].status is Status.PASS
    with pytest.raises(ValueError, match="one pair of ranges"):
        compare_topics_by_key(topics.source.cluster, topics.target.cluster, [pair, pair])
