"""Copies compared with their originals on real brokers: each difference is found where it is, and nothing else."""

from __future__ import annotations

import contextlib
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic
from tests.conftest import RunningCluster
from tests.integration.copying import Content, producer, send, visible
from tests.integration.workbench import Workbench, compacting_settings, eventually

from demo.kafka import KafkaCluster
from kafka_migration import visible as visible_messages
from kafka_migration.errors import ClusterError
from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side
from kafka_migration.steps.copies import left
from kafka_migration.topics.describe import await_topics
from kafka_migration.verification import content, located
from kafka_migration.verification.content import ContentResult, Kind, RangePair, compare_content, judge_content
from kafka_migration.verification.counting import count_copies
from kafka_migration.verification.digest import key_digest
from kafka_migration.verification.in_order import InOrder
from kafka_migration.verification.proved import Proved

AT = 1_700_000_000_000
KEPT = {"retention.ms": "-1"}  # the timestamps are old


@dataclass
class Pair:
    """A topic of the same name on both clusters."""

    source: Workbench
    target: Workbench
    partitions: list[TopicPartition]

    @property
    def tp(self) -> TopicPartition:
        return self.partitions[0]

    def put(self, here: Sequence[Content], there: Sequence[Content]) -> None:
        send(producer(self.source), self.tp, here)
        send(producer(self.target), self.tp, there)

    def ranges(self, **options: bool) -> list[RangePair]:
        return [RangePair(tp, 0, self.source.end(tp), 0, self.target.end(tp), **options) for tp in self.partitions]

    def compare(self, **options: bool) -> ContentResult:
        return compare_content(self.source.cluster, self.target.cluster, self.ranges(**options))[self.tp]


Make = Callable[..., Pair]


@pytest.fixture(scope="module")
def make(source: RunningCluster, target: RunningCluster) -> Make:
    return maker(Workbench(source.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET))


def maker(here: Workbench, there: Workbench) -> Make:
    def new(partitions: int = 1, on_target: dict[str, str] | None = None, both: dict[str, str] | None = None) -> Pair:
        made = here.topic("compared", partitions, {**KEPT, **(both or {})})
        topic = NewTopic(made[0].topic, partitions, 1, config={**KEPT, **(both or {}), **(on_target or {})})
        there.cluster.admin.create_topics([topic])[topic.topic].result(timeout=30)
        await_topics(there.cluster, {topic.topic: partitions})
        return Pair(here, there, made)

    return new


def message(number: int) -> Content:
    return b"key-%d" % (number % 7), b"value-%d" % number, [("n", b"%d" % number), ("none", None)], AT + number


MESSAGES = [message(n) for n in range(300)]


def told(result: ContentResult) -> list[tuple[str, int | None, int | None]]:
    return [(str(d.kind), d.origin_offset, d.destination_offset) for d in result.differences]


def test_equal_copies_are_equal(make: Make) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES)
    result = pair.compare()
    assert (result.origin_visible, result.destination_visible, result.equal) == (300, 300, 300)
    assert result.complete
    [finding] = judge_content({pair.tp: result})
    assert (finding.id, finding.status) == (f"content/{pair.tp.topic}", Status.PASS)
    assert finding.seen == "300 messages of 1 partitions are equal"


@pytest.mark.parametrize("at", [0, 150, 299])
class TestOneDifference:
    """At the beginning, in the middle and at the end; told with the offsets of both sides."""

    def test_missing(self, make: Make, at: int) -> None:
        pair = make()
        pair.put(MESSAGES, MESSAGES[:at] + MESSAGES[at + 1 :])
        result = pair.compare()
        assert told(result) == [("missing", at, None)]
        assert result.equal == 299
        [finding] = judge_content({pair.tp: result})
        assert finding.status is Status.FAIL
        assert f"{pair.tp}@{at}:missing" in finding.seen

    def test_extra(self, make: Make, at: int) -> None:
        pair = make()
        pair.put(MESSAGES, [*MESSAGES[:at], message(1000), *MESSAGES[at:]])
        result = pair.compare()
        assert told(result) == [("extra", None, at)]
        assert f"{pair.tp}@{at}:extra" in judge_content({pair.tp: result})[0].seen

    @pytest.mark.parametrize("field", ["key", "value", "headers", "timestamp"])
    def test_altered(self, make: Make, at: int, field: str) -> None:
        pair = make()
        key, value, headers, timestamp = MESSAGES[at]
        changed: dict[str, Content] = {
            "key": (b"other", value, headers, timestamp),
            "value": (key, b"other", headers, timestamp),
            "headers": (key, value, headers[::-1], timestamp),
            "timestamp": (key, value, headers, timestamp + 1),
        }
        pair.put(MESSAGES, [*MESSAGES[:at], changed[field], *MESSAGES[at + 1 :]])
        result = pair.compare()
        assert told(result) == [("altered", at, at)]
        assert result.differences[0].fields == (field,)
        assert f"{pair.tp}@{at}:altered ({field})" in judge_content({pair.tp: result})[0].seen

    def test_repeated(self, make: Make, at: int) -> None:
        pair = make()
        pair.put(MESSAGES, [*MESSAGES, MESSAGES[at]])
        assert told(pair.compare()) == [("repeated", None, 300)]

    def test_misplaced(self, make: Make, at: int) -> None:
        pair = make()
        there = MESSAGES[:at] + MESSAGES[at + 1 :]
        there.insert(75, MESSAGES[at])
        pair.put(MESSAGES, there)
        assert told(pair.compare()) == [("misplaced", at, 75)]


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        ((b"", b"v", []), (None, b"v", []), "key"),
        ((b"k", b"", []), (b"k", None, []), "value"),
        ((b"a", b"b", []), (b"ab", b"", []), "key"),
        ((b"k", b"v", [("h", b"")]), (b"k", b"v", [("h", None)]), "headers"),
        ((b"k", b"v", [("h", b"1")]), (b"k", b"v", []), "headers"),
        ((b"k", b"v", [("h", b"1"), ("h", b"2")]), (b"k", b"v", [("h", b"2"), ("h", b"1")]), "headers"),
        ((b"k", b"v", [("ab", b"c")]), (b"k", b"v", [("a", b"bc")]), "headers"),
        ((b"\x00\xff", b"v", [("h", b"\x00\xff")]), (b"\x00\xff", b"v", [("h", b"\x00\xfe")]), "headers"),
    ],
)
def test_null_and_empty_differ_and_so_does_what_is_written_alike(
    make: Make,
    one: tuple[bytes, bytes, list[tuple[str, bytes]]],
    other: tuple[bytes, bytes, list[tuple[str, bytes]]],
    field: str,
) -> None:
    pair = make()
    pair.put([(*one, AT), (*other, AT)], [(*one, AT), (*one, AT)])
    [difference] = pair.compare().differences
    assert (difference.kind, difference.origin_offset) == (Kind.ALTERED, 1)
    assert field in difference.fields


def test_many_differences_at_once_are_each_told(make: Make) -> None:
    pair = make()
    there = list(MESSAGES)
    there[200] = message(2000)
    there.insert(150, MESSAGES[20])
    del there[100:103]
    there.insert(50, message(1000))
    pair.put(MESSAGES, there)
    result = pair.compare()
    assert told(result) == [
        ("extra", None, 50),
        *(("missing", n, None) for n in (100, 101, 102)),
        ("repeated", None, 148),
        ("altered", 200, 199),
    ]
    assert result.counts == {Kind.EXTRA: 1, Kind.MISSING: 3, Kind.REPEATED: 1, Kind.ALTERED: 1}
    assert result.equal == 296


def test_only_the_first_differences_are_kept_and_all_are_counted(make: Make) -> None:
    pair = make()
    pair.put(MESSAGES, [message(n + 1000) if n % 3 else MESSAGES[n] for n in range(300)])
    result = pair.compare()
    assert (result.different, result.counts, result.equal) == (200, {Kind.ALTERED: 200}, 100)
    assert [d.origin_offset for d in result.differences] == [n for n in range(300) if n % 3][:20]
    assert all(d.fields == ("value", "headers", "timestamp") or "key" in d.fields for d in result.differences)


def test_difference_shows_whose_key_it_is_and_what_lies_on_either_side(make: Make) -> None:
    pair = make()
    here: list[Content] = [
        (b"a", b"kept", [], AT),
        (b"b\x00", b"lost\n", [], AT),
        (None, b"kept too", [], AT),
        (b"c", None, [], AT),
        (b"d", b"v" * 5_000, [], AT),
        (b"e", b"kept as well", [], AT),
    ]
    pair.put(
        here, [here[0], (None, b"new", [], AT), here[2], (b"c", b"", [], AT), (b"d", b"v" * 4_999, [], AT), here[5]]
    )
    altered, gone, shorter = pair.compare().differences
    assert (altered.kind, altered.fields, altered.key) == (Kind.ALTERED, ("key", "value"), key_digest(b"b\x00"))
    assert (altered.origin, altered.destination) == (r"key 'b\x00', value 'lost\n'", "key null, value 'new'")
    assert (gone.fields, gone.origin) == (("value", "tombstone"), "key 'c', value null")
    assert gone.destination == "key 'c', value empty"
    assert shorter.origin == f"key 'd', value …'{'v' * 21}' of 5,000 bytes"

    one_sided = replace(pair, partitions=make().partitions)
    one_sided.put(here, [*here[:1], *here[2:], (b"x", b"only there", [], AT)])
    missing, extra = one_sided.compare().differences
    assert (missing.key, missing.origin, missing.destination) == (
        key_digest(b"b\x00"),
        r"key 'b\x00', value 'lost\n'",
        None,
    )
    assert (extra.key, extra.origin, extra.destination) == (key_digest(b"x"), None, "key 'x', value 'only there'")


def test_what_has_been_deleted_meanwhile_is_told_without_what_it_looked_like(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES[:100] + MESSAGES[101:])
    look = located.look_again

    def when_deleted(*args: Any) -> None:
        pair.source.delete_before(pair.tp, 200)
        look(*args)

    monkeypatch.setattr(located, "look_again", when_deleted)
    result = pair.compare()
    assert told(result) == [("missing", 100, None)]
    assert (result.differences[0].key, result.differences[0].origin) == (None, None)


def test_offsets_of_markers_and_aborted_messages_are_no_difference(make: Make) -> None:
    """Neither side's numbers are the other's: transactions and aborts here, other transactions or none there."""
    pair, chance = make(), random.Random(3)
    within = producer(pair.source, transactional=True)
    copied: list[Content] = []
    for number in range(40):
        burst = [message(number * 10 + n) for n in range(chance.randint(1, 6))]
        within.begin_transaction()
        send(within, pair.tp, burst)
        if chance.random() < 0.5:
            within.abort_transaction(30)
        else:
            within.commit_transaction(30)
            copied += burst
    send(producer(pair.target), pair.tp, copied)
    eventually(lambda: len(visible(pair.source, pair.tp)) == len(copied), "the markers")
    result = pair.compare()
    assert (result.equal, result.different, result.complete) == (len(copied), 0, True)
    assert pair.source.end(pair.tp) > pair.target.end(pair.tp) + 40

    there = copied[:7] + copied[8:]
    other = replace(pair, partitions=make().partitions)
    within.begin_transaction()
    send(within, other.tp, copied)
    within.commit_transaction(30)
    copier = producer(pair.target, transactional=True)
    for i in range(0, len(there), 5):
        copier.begin_transaction()
        send(copier, other.tp, there[i : i + 5])
        copier.commit_transaction(30)
    eventually(lambda: len(visible(other.target, other.tp)) == len(there), "the markers there")
    assert told(other.compare()) == [("missing", 7, None)]


@pytest.mark.parametrize("side", ["origin", "destination"])
def test_open_transaction_is_inconclusive_and_named(make: Make, side: str) -> None:
    pair = make(partitions=2)
    pair.put(MESSAGES[:20], MESSAGES[:20])
    bench = pair.source if side == "origin" else pair.target
    with bench.open_transaction(pair.tp, 3):
        results = compare_content(pair.source.cluster, pair.target.cluster, pair.ranges())
    result = results[pair.tp]
    assert (result.origin_complete, result.destination_complete) == (side != "origin", side != "destination")
    assert (result.equal, result.different) == (20, 0)
    assert results[pair.partitions[1]].complete
    [finding] = judge_content(results)
    assert finding.status is Status.INCONCLUSIVE
    assert f"{pair.tp} on the {side}" in finding.seen


def test_difference_before_an_open_transaction_is_found_all_the_same(make: Make) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES[:50] + MESSAGES[51:])
    with pair.target.open_transaction(pair.tp, 3):
        result = pair.compare()
    assert told(result) == [("missing", 50, None)]
    assert judge_content({pair.tp: result})[0].status is Status.FAIL


def test_copy_of_what_was_proved_before_is_told_as_repeated_and_no_stranger(make: Make) -> None:
    """A mirror that copies at least once and is killed copies again what may have been compared since."""
    pair = make()
    pair.put(MESSAGES, [*MESSAGES[:200], *MESSAGES[150:]])
    [whole] = pair.ranges()
    [rest] = left([whole], {pair.tp: Proved(200, 200, 200)})
    assert (rest.origin_start, rest.destination_start) == (200, 200)
    result = compare_content(pair.source.cluster, pair.target.cluster, [rest])[pair.tp]
    assert result.counts == {Kind.REPEATED: 50}
    assert result.verdict(at_least_once=True) is Status.PASS
    known = result.proved(whole, at_least_once=True)
    assert known is not None
    assert known.behind(Proved(200, 200, 200, 0, 200, 200)) == Proved(300, 350, 300, 50, 300, 350)


def test_block_that_ends_where_a_mirror_began_again_holds_copies_of_what_lies_behind_it(make: Make) -> None:
    pair = make()
    pair.put(MESSAGES[:100], [*MESSAGES[:30], *MESSAGES[21:100]])
    block = RangePair(pair.tp, 0, 21, 0, 30, copies_from=0, copies_to=100)
    result = compare_content(pair.source.cluster, pair.target.cluster, [block])[pair.tp]
    assert (result.equal, dict(result.counts)) == (21, {Kind.REPEATED: 9})


def test_nothing_is_counted_of_what_is_not_kept_any_more(make: Make) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES)
    pair.source.delete_before(pair.tp, 300)
    ranges = [RangePair(pair.tp, 0, 300, 0, 300)]
    results = count_copies(pair.source.cluster, pair.target.cluster, ranges)
    assert judge_content(results)[0].status is Status.INCONCLUSIVE
    assert judge_content(results, proved_by="first")[0].status is Status.INCONCLUSIVE, "another partition's proof"
    assert judge_content(results, proved_by="first", proved=[pair.tp])[0].status is Status.PASS


@pytest.mark.parametrize("there", [MESSAGES, MESSAGES[:-1], [*MESSAGES, message(1000)]])
def test_counts_alone_tell_how_many_are_missing_or_too_many(make: Make, there: list[Content]) -> None:
    pair = make()
    pair.put(MESSAGES, there)
    result = count_copies(pair.source.cluster, pair.target.cluster, pair.ranges())[pair.tp]
    assert (result.origin_visible, result.destination_visible) == (300, len(there))
    [finding] = judge_content({pair.tp: result})
    if len(there) == 300:
        assert finding.status is Status.PASS
        assert finding.seen == "300 messages of 1 partitions were counted on both clusters, and not compared"
    else:
        assert finding.status is Status.FAIL
        assert f"{pair.tp}: 1" in finding.seen
    if len(there) > 300:
        assert judge_content({pair.tp: result}, at_least_once=True)[0].status is Status.INCONCLUSIVE


def test_copies_under_another_name_are_counted_where_they_are(make: Make) -> None:
    pair, beside = make(), make()
    pair.put(MESSAGES, [])
    beside.put([], MESSAGES[:-1])
    asked = [RangePair(pair.tp, 0, 300, 0, 299, copy=beside.tp.topic)]
    result = count_copies(pair.source.cluster, pair.target.cluster, asked)[pair.tp]
    assert (result.origin_visible, result.destination_visible, dict(result.counts)) == (300, 299, {Kind.MISSING: 1})


def test_timestamps_do_not_count_where_the_destination_stamps_anew(make: Make) -> None:
    pair = make(on_target={"message.timestamp.type": "LogAppendTime"})
    pair.put(MESSAGES, [*MESSAGES[:9], message(1000), *MESSAGES[10:]])
    result = pair.compare(ignore_timestamp=True)
    assert told(result) == [("altered", 9, 9)]
    assert result.differences[0].fields == ("key", "value", "headers")
    assert pair.compare().different >= 299, "they count where this was not said"


def test_range_whose_start_was_deleted_is_inconclusive_and_the_others_are_compared(make: Make) -> None:
    pair = make(partitions=2)
    pair.put(MESSAGES[:20], MESSAGES[:20])
    for bench in (pair.source, pair.target):
        send(producer(bench), pair.partitions[1], MESSAGES[:5])
    pair.source.delete_before(pair.tp, 4)
    results = compare_content(pair.source.cluster, pair.target.cluster, pair.ranges())
    assert results[pair.tp].deleted == "offsets 0 to 4 of [0, 20) on the origin"
    assert (results[pair.tp].equal, results[pair.partitions[1]].equal) == (0, 5)
    [finding] = judge_content(results)
    assert finding.status is Status.INCONCLUSIVE
    assert f"{pair.tp}: offsets 0 to 4 of [0, 20) on the origin" in finding.seen
    later = [RangePair(pair.tp, 4, 20, 4, 20)]
    assert compare_content(pair.source.cluster, pair.target.cluster, later)[pair.tp].equal == 16


def test_start_that_is_deleted_when_reading_begins_is_an_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES)
    ranges = pair.ranges()
    look = content.no_more_kept

    def then_delete(*args: Any) -> dict[TopicPartition, ContentResult]:
        found = look(*args)
        pair.source.delete_before(pair.tp, 80)
        return found

    monkeypatch.setattr(content, "no_more_kept", then_delete)
    with pytest.raises(ClusterError, match=rf"{pair.tp} cannot be read from offset 0 on, up to 300"):
        compare_content(pair.source.cluster, pair.target.cluster, ranges)


def test_ranges_that_begin_and_end_within_the_logs_are_kept_to(make: Make) -> None:
    pair = make()
    pair.put([message(900), *MESSAGES, message(901)], [*MESSAGES, message(902)])
    ranges = [RangePair(pair.tp, 1, 301, 0, 300)]
    result = compare_content(pair.source.cluster, pair.target.cluster, ranges)[pair.tp]
    assert (result.equal, result.different) == (300, 0)
    with pytest.raises(ValueError, match="one pair of ranges"):
        compare_content(pair.source.cluster, pair.target.cluster, ranges * 2)


def test_partitions_without_messages_are_equal(make: Make) -> None:
    pair = make(partitions=3)
    results = compare_content(pair.source.cluster, pair.target.cluster, pair.ranges())
    assert [r.equal for r in results.values()] == [0, 0, 0]
    assert judge_content(results)[0].status is Status.PASS


def test_side_that_is_far_ahead_is_held_and_goes_on_where_it_was(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log that ends with a marker: behind it only the end of the partition is told, also after a hold."""
    monkeypatch.setattr(visible_messages, "_BATCH", 50)
    monkeypatch.setattr(content, "_HELD", 300)
    monkeypatch.setattr(content, "_LEAST", 100)
    holds: list[int] = []
    hold = visible_messages.Reading.hold
    monkeypatch.setattr(
        visible_messages.Reading, "hold", lambda self, tps: (holds.append(len(tps)), hold(self, tps))[1]
    )
    pair = make(partitions=3)
    for tp in pair.partitions:
        messages = [message(n) for n in range(2_000)]
        for bench, mine in ((pair.source, messages), (pair.target, [*messages[:700], *messages[1_900:]])):
            writer = producer(bench, transactional=True)
            writer.begin_transaction()
            send(writer, tp, mine)
            writer.commit_transaction(30)
    for result in compare_content(pair.source.cluster, pair.target.cluster, pair.ranges()).values():
        assert (result.equal, result.counts, result.complete) == (800, {Kind.MISSING: 1_200}, True)
    assert any(holds)


def test_comparison_that_ends_before_its_ranges_is_no_result(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make()
    pair.put(MESSAGES, MESSAGES)
    monkeypatch.setattr(visible_messages, "_BATCH", 50)
    wants = InOrder.wants
    monkeypatch.setattr(InOrder, "wants", lambda self, side: wants(self, side) and self.found.equal < 100)
    with pytest.raises(RuntimeError, match=rf"the comparison of {pair.tp} has ended before its ranges"):
        pair.compare()


@pytest.mark.parametrize("seed", range(6))
def test_random_edits_read_in_small_batches_are_all_accounted_for(
    make: Make, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visible_messages, "_BATCH", 20)
    monkeypatch.setattr(content, "_HELD", 600)
    monkeypatch.setattr(content, "_LEAST", 30)
    pair, chance = make(partitions=3), random.Random(seed)
    marker = seed % 2  # then the logs end with one, behind which only the end of the partition is told
    edits: dict[TopicPartition, Counter[str]] = {}
    for tp in pair.partitions:
        here = [message(n) for n in range(chance.randint(1, 1500))]
        there = list(here)
        edits[tp] = Counter()
        for place in sorted(chance.sample(range(len(here)), min(len(here), chance.randint(0, 12))), reverse=True):
            kind = chance.choice(["missing", "extra", "altered", "repeated"])
            edits[tp][kind] += 1
            match kind:
                case "missing":
                    del there[place]
                case "extra":
                    there.insert(place, message(10_000 + place))
                case "altered":
                    there[place] = message(20_000 + place)
                case "repeated":
                    there.insert(place + 1, here[place])
        for bench, messages in ((pair.source, here), (pair.target, there)):
            writer = producer(bench, transactional=bool(marker))
            if marker:
                writer.begin_transaction()
            send(writer, tp, messages)
            if marker:
                writer.commit_transaction(30)
    steps: list[tuple[int, int]] = []
    results = compare_content(pair.source.cluster, pair.target.cluster, pair.ranges(), lambda *seen: steps.append(seen))
    for tp, result in results.items():
        counts = result.counts
        for kinds in (("missing", "altered"), ("extra", "repeated", "altered")):
            # Neighbours that are missing and extra are the same as one that is altered.
            assert sum(counts[Kind(k)] for k in kinds) <= sum(edits[tp].values())
        assert (result.different == 0) is (not edits[tp])
        here_, there_ = result.origin_visible, result.destination_visible
        assert result.equal + counts[Kind.MISSING] + counts[Kind.ALTERED] + counts[Kind.MISPLACED] == here_
        extras = counts[Kind.EXTRA] + counts[Kind.REPEATED] + counts[Kind.ALTERED] + counts[Kind.MISPLACED]
        assert result.equal + extras == there_
        assert (here_ + marker, there_ + marker) == (pair.source.end(tp), pair.target.end(tp))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


class TestByKey:
    """Compacted topics: the latest message of every key."""

    def put(self, pair: Pair, here: Sequence[tuple[str, str | None]], there: Sequence[tuple[str, str | None]]) -> None:
        pair.put(
            *[[(k.encode(), None if v is None else v.encode(), [], AT) for k, v in side] for side in (here, there)]
        )

    def test_the_latest_messages_count(self, make: Make) -> None:
        pair = make()
        self.put(pair, [("a", "1"), ("b", "1"), ("a", "2")], [("b", "1"), ("a", "2")])
        result = pair.compare(by_key=True)
        assert (result.equal, result.different) == (2, 0)
        assert (result.origin_visible, result.destination_visible) == (3, 2)
        assert "2 latest messages of a key" in judge_content({pair.tp: result})[0].seen

    def test_differences_are_told_with_their_offsets(self, make: Make) -> None:
        pair = make()
        self.put(
            pair,
            [("a", "1"), ("b", "1"), ("c", "1"), ("e", "1"), ("a", "2")],
            [("c", "1"), ("b", "1"), ("d", "1"), ("b", "0"), ("a", "2")],
        )
        result = pair.compare(by_key=True)
        assert told(result) == [("altered", 1, 3), ("missing", 3, None), ("extra", None, 2)]
        assert result.differences[0].fields == ("value",)
        assert result.equal == 2

    def test_deleted_key_may_be_absent_but_may_not_have_a_value(self, make: Make) -> None:
        pair = make()
        self.put(
            pair,
            [("gone here", "1"), ("gone here", None), ("lives there", "1"), ("lives there", None), ("both", None)],
            [("gone there", "1"), ("gone there", None), ("lives there", "1"), ("both", "1"), ("both", None)],
        )
        assert told(pair.compare(by_key=True)) == [("altered", 3, 2)]
        only_there = make()
        self.put(only_there, [("a", "1")], [("a", "1"), ("back from the dead", "1")])
        assert told(only_there.compare(by_key=True)) == [("extra", None, 1)]

    def test_open_transaction_is_inconclusive(self, make: Make) -> None:
        pair = make()
        self.put(pair, [("a", "1"), ("b", "1")], [("a", "1")])
        with pair.target.open_transaction(pair.tp):
            result = pair.compare(by_key=True)
        assert (result.complete, result.different) == (False, 0)
        assert judge_content({pair.tp: result})[0].status is Status.INCONCLUSIVE

    def test_sides_that_were_compacted_at_different_times(self, compacting: Make) -> None:
        pair = compacting(both=compacting_settings(), on_target={"min.compaction.lag.ms": "86400000"})
        latest: dict[str, str] = {}
        chance = random.Random(5)
        messages = [(f"k{chance.randrange(20)}", str(n)) for n in range(200)]
        latest.update(messages)
        self.put(pair, messages, messages)
        pair.source.roll_segment(pair.tp)
        eventually(lambda: len(visible(pair.source, pair.tp)) <= 21, "the origin to be compacted")
        result = pair.compare(by_key=True)
        assert (result.equal, result.different) == (len(latest), 0)
        assert result.origin_visible < result.destination_visible == 200

    @pytest.mark.parametrize("side", ["origin", "destination"])
    def test_key_that_was_written_anew_beyond_the_end_is_no_difference(self, compacting: Make, side: str) -> None:
        """Compaction has removed what the range had of it."""
        pair = compacting(both=compacting_settings())
        self.put(pair, [("a", "1"), ("b", "1"), ("c", "1")], [("a", "1"), ("b", "1"), ("c", "1")])
        ranges = pair.ranges(by_key=True)
        bench = pair.source if side == "origin" else pair.target
        bench.write(pair.tp, key=b"a")
        bench.roll_segment(pair.tp)
        eventually(lambda: visible(bench, pair.tp)[0].offset() > 0, "the former message to be compacted away")
        result = compare_content(pair.source.cluster, pair.target.cluster, ranges)[pair.tp]
        assert (result.equal, result.different, result.rewritten) == (2, 0, 1)
        assert "1 more have been written anew" in judge_content({pair.tp: result})[0].seen

    @pytest.fixture(scope="class")
    def compacting(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
        """Clusters of which the cleaner looks at once."""
        settings = {"log.cleaner.backoff.ms": "100"}
        with contextlib.ExitStack() as stack:
            pair = [
                stack.enter_context(KafkaCluster(name, tmp_path_factory.mktemp(uuid.uuid4().hex), settings=settings))
                for name in ("here", "there")
            ]
            yield maker(Workbench(pair[0].bootstrap_servers), Workbench(pair[1].bootstrap_servers, Side.TARGET))
