"""Where a position goes on, judged against logs of which is known what was copied to where.

A log is made up, copied, and then one thing or another happens to the copy or to the origin. Whatever it was: an answer
is right or it is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import pytest

from kafka_migration.mirror.anchors import Pair
from kafka_migration.mirror.placing import Place, Verdict, place
from kafka_migration.mirror.windows import Messages, Window

LOGS = 200


@dataclass
class Log:
    """`told`: of each message what it says; `up`: its offset, `origin`: those that are still there.

    `copies`: which message each copy is (None: nobody's), in order; `down`: their offsets.
    """

    chance: random.Random
    told: list[str]
    origin: list[int]
    copies: list[int | str]
    ends: bool
    truncated: bool = False
    up: list[int] = field(default_factory=list)
    down: list[int] = field(default_factory=list)
    high: Pair = (0, 0)

    @classmethod
    def of(cls, chance: random.Random, alike: bool) -> Log:
        count = chance.randint(1, 12)
        told = [chance.choice("xy") if alike else f"m{i}" for i in range(count)]
        return cls(chance, told, list(range(count)), list(range(count)), ends=chance.random() < 0.5)

    def number(self) -> None:
        """Offsets with holes, as markers and aborted messages leave them."""
        self.up = self._holes(len(self.told))
        self.down = self._holes(len(self.copies))

        self.high = self._high()

    def _high(self) -> Pair:
        if self.ends:
            return self.up[-1] + 2, self.down[-1] + 2 if self.down else 0
        last = len(self.told) - 1  # a sync of the last message, and of its last copy
        at = [i for i, copy in enumerate(self.copies) if copy == last]
        return self.up[-1], self.down[at[-1]] if at else 10**6

    def window(self) -> Window:
        inside = [i for i, offset in enumerate(self.down) if offset <= self.high[1]]
        return Window(
            self.high,
            self.ends,
            origin_kept=not self.truncated,
            copies_kept=True,
            complete=True,
            origin=Messages([self.up[i] for i in self.origin], [_digest(self.told[i]) for i in self.origin]),
            copies=Messages([self.down[i] for i in inside], [_digest(self.says(self.copies[i])) for i in inside]),
        )

    def says(self, copy: int | str) -> str:
        return copy if isinstance(copy, str) else self.told[copy]

    def left(self, offset: int) -> list[int]:
        """The messages that a group has still to read."""
        return [i for i in self.origin if self.up[i] >= offset]

    def read_there(self, offset: int) -> list[int | str]:
        """The copies that it reads from an offset on, up to the anchor."""
        high = self.high[1]
        return [copy for at, copy in zip(self.down, self.copies, strict=True) if offset <= at <= high]

    def _holes(self, count: int) -> list[int]:
        offsets, at = [], self.chance.randint(0, 3)
        for _ in range(count):
            offsets.append(at)
            at += 1 + self.chance.choice((0, 0, 0, 1, 4))
        return offsets


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def _within(some: Sequence[str], many: Sequence[str]) -> bool:
    rest = iter(many)
    return all(one in rest for one in some)


def nothing(log: Log) -> None:
    pass


def truncate(log: Log) -> None:
    """The first message that is left is never behind a position that is asked for."""
    gone = log.chance.randint(0, len(log.origin) - 1)
    log.truncated = gone > 0
    log.origin = log.origin[gone:]


def compact(log: Log) -> None:
    log.origin = [i for i in log.origin if log.chance.random() < 0.6]


def copy_again(log: Log) -> None:
    """A mirror is killed, and copies again from an earlier message on."""
    for _ in range(log.chance.randint(1, 2)):
        killed = log.chance.randint(0, len(log.told))
        begins = log.chance.randint(0, killed)
        at = log.copies.index(killed) if killed < len(log.told) else len(log.copies)
        log.copies[at:at] = list(range(begins, killed))


def write_there(log: Log) -> None:
    what = log.chance.choice([*log.told, "foreign"])
    log.copies.insert(log.chance.randint(0, len(log.copies)), what)


def lose(log: Log) -> None:
    del log.copies[log.chance.randrange(len(log.copies))]


def judged(deeds: Sequence[Callable[[Log], None]], alike: bool, compacted: bool = False) -> dict[Verdict | None, int]:
    """Every position of many logs to which this happened; how often each verdict was given. None: behind the window."""
    counts: dict[Verdict | None, int] = {}
    for seed in range(LOGS):
        log = Log.of(random.Random(seed), alike)
        for deed in deeds:
            deed(log)
        log.number()
        window = log.window()
        for offset in range(log.up[-1] + 3):
            if not log.ends and offset > log.up[-1]:
                continue  # belongs to the next window
            found = place(window, offset, compacted)
            counts[found and found.verdict] = counts.get(found and found.verdict, 0) + 1
            if found is not None:
                must_hold(log, offset, found, compacted, f"log {seed}, offset {offset}: {found}")
    return counts


def must_hold(log: Log, offset: int, found: Place, compacted: bool, what: str) -> None:
    """Nothing is skipped, nothing that is not said is repeated, and the message is the next one."""
    left = log.left(offset)
    if found.destination_offset is None:
        return
    there = log.read_there(found.destination_offset)
    mine, its = [log.told[i] for i in left], [log.says(copy) for copy in there]
    assert _within(mine, its), what
    match found.verdict:
        case Verdict.AT_END:
            assert left == [], what
            assert its == [], what
        case Verdict.EXACT:
            assert its[0] == mine[0], what
            assert compacted or its == mine, what
        case Verdict.REPEATS:
            assert mine[0] in its, f"{what}: the next message itself is skipped"
            assert compacted or found.repeats >= len(its) - len(mine), what
        case other:
            raise AssertionError(f"{what}: {other} with an offset")


@pytest.mark.parametrize("alike", [False, True], ids=["different messages", "equal messages"])
@pytest.mark.parametrize("deed", [nothing, truncate])
def test_whole_copy_is_placed_exactly_everywhere(deed: Callable[[Log], None], alike: bool) -> None:
    counts = judged([deed], alike)
    assert set(counts) <= {Verdict.EXACT, Verdict.AT_END}, counts
    assert counts[Verdict.EXACT] > 500


def test_counting_alone_tells_equal_messages_apart() -> None:
    for seed in range(LOGS):
        log = Log.of(random.Random(seed), alike=True)
        log.number()
        window = log.window()
        for number, up in enumerate(log.up):
            assert place(window, up, compacted=False) == Place(
                log.down[number], Verdict.EXACT, 0, place(window, up, False).proof, up
            )


def test_origin_that_was_compacted_since_loses_no_position() -> None:
    counts = judged([compact], alike=False, compacted=True)
    assert set(counts) <= {Verdict.EXACT, Verdict.AT_END, None}, counts
    assert counts[Verdict.EXACT] > 500


def test_compacted_origin_is_not_taken_for_a_whole_one() -> None:
    assert judged([compact], alike=False)[Verdict.REPEATS] > 0


@pytest.mark.parametrize("alike", [False, True], ids=["different messages", "equal messages"])
@pytest.mark.parametrize(
    "deeds",
    [
        [compact],
        [truncate, compact],
        [copy_again],
        [copy_again, truncate],
        [copy_again, compact],
        [write_there],
        [write_there, write_there, truncate],
        [lose],
        [lose, compact],
        [lose, write_there],
        [copy_again, lose, write_there],
    ],
    ids=lambda deeds: " ".join(deed.__name__ for deed in deeds),
)
@pytest.mark.parametrize("compacted", [False, True], ids=["kept", "compacted"])
def test_no_answer_skips_a_message(deeds: list[Callable[[Log], None]], alike: bool, compacted: bool) -> None:
    judged(deeds, alike, compacted)


def test_message_that_was_copied_again_goes_on_at_its_later_copy() -> None:
    log = Log(random.Random(1), [f"m{i}" for i in range(8)], list(range(8)), [0, 1, 2, 3, 4, 3, 4, 5, 6, 7], ends=True)
    log.number()
    window = log.window()
    later = place(window, log.up[3], compacted=False)
    assert (later.verdict, later.destination_offset) == (Verdict.EXACT, log.down[5])
    before = place(window, log.up[2], compacted=False)
    assert (before.verdict, before.destination_offset, before.repeats) == (Verdict.REPEATS, log.down[2], 2)


def test_lost_message_is_refused_before_it_and_told_behind_it() -> None:
    log = Log(random.Random(1), [f"m{i}" for i in range(6)], list(range(6)), [0, 1, 2, 4, 5], ends=True)
    log.number()
    window = log.window()
    for number in range(4):
        found = place(window, log.up[number], compacted=False)
        assert (found.verdict, found.destination_offset) == (Verdict.UNPROVED, None)
    behind = place(window, log.up[4], compacted=False)
    assert (behind.verdict, behind.destination_offset) == (Verdict.EXACT, log.down[3])
    assert "before it 4 on the origin, 3 there" in behind.proof


def test_while_the_mirror_copies_only_what_is_there_is_placed() -> None:
    chance = random.Random(5)
    for seed in range(LOGS):
        log = Log.of(random.Random(seed), alike=seed % 2 == 0)
        if chance.random() < 0.5:
            truncate(log)
        log.copies = log.copies[: chance.randint(0, len(log.copies))]
        log.number()
        window = Window(
            None,
            False,
            origin_kept=not log.truncated,
            copies_kept=True,
            complete=True,
            origin=Messages([log.up[i] for i in log.origin], [_digest(log.told[i]) for i in log.origin]),
            copies=Messages(log.down, [_digest(log.says(copy)) for copy in log.copies]),
        )
        for number, up in enumerate(log.up):
            found = place(window, up, compacted=False)
            if number in log.copies and not log.truncated:
                assert (found.verdict, found.destination_offset) == (Verdict.EXACT, log.down[number]), f"log {seed}"
            else:
                assert (found.verdict, found.destination_offset) == (Verdict.NOT_YET, None), f"log {seed}"


def test_open_transaction_is_waited_for() -> None:
    log = Log.of(random.Random(2), alike=False)
    log.number()
    whole = log.window()
    window = Window(whole.high, True, True, True, False, whole.origin, whole.copies)
    assert place(window, log.up[-1] + 1, compacted=False).verdict is Verdict.NOT_YET
