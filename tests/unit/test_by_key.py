"""The latest messages of keys compared after random damage: what differs is what a simple look at them finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.by_key import ByKey
from kafka_migration.verification.differences import Kind, RangePair

TP = TopicPartition("t", 0)


@dataclass(frozen=True)
class At:
    """A message as far as it matters here. `what` None: it deletes its key."""

    number: int
    of: bytes
    what: int | None

    def offset(self) -> int:
        return self.number

    def key(self) -> bytes:
        return self.of

    def value(self) -> bytes | None:
        return None if self.what is None else b"%d" % self.what

    @property
    def told(self) -> bytes:
        return repr((self.of, self.what)).encode()


Message = tuple[bytes, int | None]
KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
MESSAGES = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 5)), max_size=30)


@settings(max_examples=300, derandomize=True)
@given(MESSAGES, st.randoms(use_true_random=False), st.integers(0, 4), st.integers(1, 40))
def test_random_damage_is_found_where_it_touches_a_latest_message(
    origin: list[Message], chance: random.Random, edits: int, chunk: int
) -> None:
    destination = damaged(origin, chance, edits)
    comparison = ByKey(RangePair(TP, 0, len(origin), 0, len(destination), by_key=True))
    for side, messages in enumerate((origin, destination)):
        said = [At(offset, *message) for offset, message in enumerate(messages)]
        for start in range(0, len(said), chunk):
            some = said[start : start + chunk]
            comparison.feed(side, some, [one.told for one in some])
    found = comparison.result((set(), set()))
    here, there = dict(origin), dict(destination)
    expected = {
        key: Kind.ALTERED if key in here and key in there else Kind.MISSING if key in here else Kind.EXTRA
        for key in here | there
        if here.get(key) != there.get(key)  # of a deleted key either side may hold nothing
    }
    told = {
        (origin[d.origin_offset] if d.origin_offset is not None else destination[d.destination_offset or 0])[0]: d.kind
        for d in found.differences
    }
    assert told == expected
    assert found.counts.total() == len(expected)
    assert found.equal == len(here.keys() & there.keys()) - found.counts[Kind.ALTERED]
    for difference in found.differences:  # each is named by the latest message of its key
        for messages, offset in ((origin, difference.origin_offset), (destination, difference.destination_offset)):
            if offset is not None:
                assert messages[offset][0] not in {key for key, _ in messages[offset + 1 :]}


def damaged(messages: Sequence[Message], chance: random.Random, edits: int) -> list[Message]:
    there = list(messages)
    for _ in range(edits if messages else 0):
        place = chance.randrange(len(messages))
        match chance.choice(["missing", "extra", "altered", "moved", "gone", "compacted"]):
            case "extra":
                there.insert(place, (chance.choice([b"a", b"x"]), chance.randint(10, 20)))
            case "missing" if place < len(there):
                del there[place]
            case "altered" if place < len(there):
                there[place] = (there[place][0], chance.randint(10, 20))
            case "moved" if place < len(there):
                there.append(there.pop(place))
            case "gone" if place < len(there):
                there[place] = (there[place][0], None)
            case "compacted":
                there = [m for at, m in enumerate(there) if m[0] not in {key for key, _ in there[at + 1 :]}]
    return there
