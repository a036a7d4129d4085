"""Two streams of one partition compared: what differs is found once, at its place, and nothing else is."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.by_key import ByKey
from kafka_migration.verification.comparison import ORIGIN
from kafka_migration.verification.content import ContentResult, RangePair, judge_content
from kafka_migration.verification.content_expectations import ContentRow
from kafka_migration.verification.digest import digest, digests
from kafka_migration.verification.in_order import InOrder

TP = TopicPartition("orders", 3)


@dataclass(frozen=True)
class Said:
    """A message as the client gives it."""

    at: int
    what: str
    of: bytes | None = None
    gone: bool = False
    time: int = 7
    head: tuple[tuple[str, bytes | None], ...] = ()

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.of

    def value(self) -> bytes | None:
        return None if self.gone else self.what.encode()

    def timestamp(self) -> tuple[int, int]:
        return 1, self.time

    def headers(self) -> Any:
        return list(self.head)


def compared(origin: Iterable[str], destination: Iterable[str], chunk: int = 10_000) -> ContentResult:
    """Origin offsets count from 0, those of the destination from 1,000; both come in chunks, side by side."""
    sides = [Said(i, w) for i, w in enumerate(origin)], [Said(1_000 + i, w) for i, w in enumerate(destination)]
    comparison = InOrder(RangePair(TP, 0, len(sides[0]), 1_000, 1_000 + len(sides[1])), most=10_000)
    for start in range(0, max(map(len, sides)) + 1, chunk):
        for number, side in enumerate(sides):
            some = side[start : start + chunk]
            comparison.feed(number, some, digests(some))
            comparison.read_up_to(number, max(0, len(side) - start - chunk))
        comparison.advance()
    result = comparison.result()
    comparison.repeated({digest(message) for message in sides[ORIGIN]} & comparison.extras)
    return result


def differences(result: ContentResult) -> list[tuple[str, int | None, int | None]]:
    assert result.different >= len(result.differences)
    return [(d.kind, d.origin_offset, d.destination_offset) for d in result.differences]


MANY = [f"m{i}" for i in range(5_000)]


@pytest.mark.parametrize("chunk", [7, 100, 10_000])
def test_equal_streams_are_equal(chunk: int) -> None:
    result = compared(MANY, MANY, chunk)
    assert (result.equal, result.different, result.complete) == (5_000, 0, True)
    assert (result.origin_visible, result.destination_visible) == (5_000, 5_000)


@pytest.mark.parametrize("at", [0, 1, 2_500, 4_998, 4_999])
@pytest.mark.parametrize("chunk", [100, 10_000])
def test_one_change_is_one_difference_wherever_it_is(at: int, chunk: int) -> None:
    without = MANY[:at] + MANY[at + 1 :]
    assert differences(compared(MANY, without, chunk)) == [("missing", at, None)]
    assert differences(compared(without, MANY, chunk)) == [("extra", None, 1_000 + at)]
    other = [*MANY[:at], "another", *MANY[at + 1 :]]
    assert differences(compared(MANY, other, chunk)) == [("altered", at, 1_000 + at)]


def test_copy_that_comes_again_is_repeated_and_a_run_of_them_as_many_times() -> None:
    again = [*MANY[:300], *MANY[250:300], *MANY[300:]]
    result = compared(MANY, again)
    assert result.different == 50
    assert differences(result)[0] == ("repeated", None, 1_300)
    assert {d.kind for d in result.differences} == {"repeated"}
    assert result.equal == 5_000


def test_two_in_the_wrong_order_are_found() -> None:
    swapped = [*MANY[:10], MANY[11], MANY[10], *MANY[12:]]
    result = compared(MANY, swapped)
    assert result.equal >= 4_998
    assert result.different


def test_streams_that_have_nothing_in_common_are_altered_throughout() -> None:
    result = compared(MANY, [f"x{i}" for i in range(5_000)])
    assert (result.equal, result.different) == (0, 5_000)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_done_to_a_stream_the_counts_add_up(seed: int) -> None:
    chance = random.Random(seed)
    before = [f"m{chance.randrange(400)}" for _ in range(2_000)]  # many are equal to one another
    after = list(before)
    edits = chance.randrange(0, 12)
    for _ in range(edits):
        at = chance.randrange(len(after))
        match chance.randrange(3):
            case 0:
                del after[at]
            case 1:
                after.insert(at, f"new{chance.random()}")
            case 2:
                after[at] = f"changed{chance.random()}"
    result = compared(before, after, chance.choice([50, 500, 5_000]))
    kinds = [d.kind for d in result.differences]
    assert result.different == len(kinds), "few enough to be all kept"
    assert (result.different == 0) is (before == after)
    altered, missing = kinds.count("altered"), kinds.count("missing")
    more = kinds.count("extra") + kinds.count("repeated")
    assert result.equal + altered + missing == len(before)
    assert result.equal + altered + more == len(after)
    assert result.different <= 2 * edits
    row = ContentRow.of(result)
    assert (row.origin_unaccounted, row.destination_unaccounted) == (0, 0)
    assert row.surplus == len(after) - len(before)


def test_what_could_not_be_read_is_no_difference_and_no_pass() -> None:
    comparison = InOrder(RangePair(TP, 0, 5, 0, 5), most=10_000)
    for number in range(5):
        message = Said(number, f"m{number}")
        comparison.feed(0, [message], digests([message]))
    comparison.cut_short(ORIGIN)
    comparison.advance()
    result = comparison.result()
    assert (result.different, result.complete) == (0, False)
    [finding] = judge_content({TP: result})
    assert finding.status is Status.INCONCLUSIVE


def test_finding_names_the_first_difference_by_its_place() -> None:
    [finding] = judge_content({TP: compared(MANY, MANY[:42] + MANY[43:])})
    assert (finding.id, finding.status) == ("content/orders", Status.FAIL)
    assert "orders/3@42:missing" in finding.seen
    [equal] = judge_content({TP: compared(MANY, MANY)})
    assert equal.status is Status.PASS


def test_repeated_messages_alone_are_a_warning_where_at_least_once_will_do() -> None:
    twice = compared(MANY, [*MANY[:42], *MANY[20:]])
    assert judge_content({TP: twice})[0].status is Status.FAIL
    [finding] = judge_content({TP: twice}, at_least_once=True)
    assert finding.status is Status.WARN
    assert "22 messages are there more than once, first orders/3@1042:repeated" in finding.seen
    lost = compared(MANY, [*MANY[:42], *MANY[20:90], *MANY[91:]])
    assert judge_content({TP: lost}, at_least_once=True)[0].status is Status.FAIL


def test_of_a_compacted_topic_the_latest_of_every_key_counts() -> None:
    def latest(origin: list[Said], destination: list[Said]) -> ContentResult:
        comparison = ByKey(RangePair(TP, 0, 0, 0, 0, by_key=True))
        for number, side in enumerate((origin, destination)):
            for message in side:
                comparison.feed(number, [message], digests([message]))
        return comparison.result(rewritten=(set(), set()))

    old, new, gone = Said(0, "old", b"k"), Said(5, "new", b"k"), Said(9, "", b"k", gone=True)
    assert latest([new], [old, new]).different == 0, "the origin has compacted since"
    assert differences(latest([new], [old])) == [("altered", 5, 0)]
    assert differences(latest([new], [])) == [("missing", 5, None)]
    assert differences(latest([], [old])) == [("extra", None, 0)]
    assert latest([gone], []).different == 0, "of a deleted key either side may hold nothing"
    assert latest([], [new, gone]).different == 0
    assert differences(latest([gone], [new])) == [("altered", 9, 5)]


SAME = Said(3, "v", b"k", head=(("h", b"1"), ("n", None)))


@pytest.mark.parametrize(
    "other",
    [
        Said(3, "w", b"k", head=SAME.head),
        Said(3, "v", b"l", head=SAME.head),
        Said(3, "v", None, head=SAME.head),
        Said(3, "v", b"", head=SAME.head),
        Said(3, "", b"k", head=SAME.head),
        Said(3, "", b"k", gone=True, head=SAME.head),
        Said(3, "v", b"k"),
        Said(3, "v", b"k", head=(("n", None), ("h", b"1"))),
        Said(3, "v", b"k", head=(("h", b"1"), ("n", b""))),
        Said(3, "v", b"k", time=8, head=SAME.head),
    ],
)
def test_digest_tells_every_part_of_a_message(other: Said) -> None:
    assert digest(SAME) != digest(other)
    assert digest(SAME) == digest(Said(900, "v", b"k", head=SAME.head)), "its offset is none of it"
    if other.time != SAME.time:
        assert digest(SAME, timestamp=False) == digest(other, timestamp=False)
