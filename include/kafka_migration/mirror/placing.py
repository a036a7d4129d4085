"""Which copy is the message that a group reads next: decided from the messages of a window alone, without a cluster.

The rule that everything rests on: a copy is the right one where the messages from it up to the next anchor are, one by
one, those of the origin. Then a group that goes on there reads what it would have read, nothing else and no less.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kafka_migration.mirror.windows import Window


class Verdict(StrEnum):
    """EXACT: proved by the message itself. AT_END: nothing is left to read, the group goes on where the copies end.

    NOT_YET: the next message has not been copied yet, or cannot be read yet. REPEATS: nothing is skipped, and some
    messages are read again. UNPROVED: no offset is known from which nothing would be skipped.
    """

    EXACT = "exact"
    AT_END = "at the end"
    NOT_YET = "not copied yet"
    REPEATS = "repeats"
    UNPROVED = "not proved"


BLOCKED = "an open transaction keeps the messages around it from being read"


@dataclass(frozen=True)
class Place:
    """Where a position goes on. `destination_offset` None: nowhere yet. `repeats`: messages read again at most.

    `next_origin`: the offset of the origin's message that is read next, where one is. `proof` says on what it rests.
    """

    destination_offset: int | None
    verdict: Verdict
    repeats: int
    proof: str
    next_origin: int | None = None


def not_yet(why: str) -> Place:
    return Place(None, Verdict.NOT_YET, 0, why)


def place(window: Window, offset: int, compacted: bool) -> Place | None:
    """Where in this window an offset of the origin goes on; None: the message that is read next lies behind it.

    `compacted`: the origin may have removed messages since they were copied.
    """
    first = bisect_left(window.origin.offsets, offset)
    if not window.complete:
        return not_yet(BLOCKED)
    if window.high is None:
        return _placed_so_far(window, first)
    if first == len(window.origin):
        return _at_end(window, window.high, compacted) if window.is_end else None
    return _by_counting(window, first) or _by_content(window, first, compacted)


def _placed_so_far(window: Window, first: int) -> Place:
    """The mirror still copies: there is no anchor above, so that it can only be counted from the one below.

    What that cannot tell is left to the end of the mirror: by content alone a copy may be that of an equal message.
    """
    if first == len(window.origin):
        return not_yet("nothing is left to read as yet")
    if window.whole and first < window.head:
        there = window.copies.offsets[first]
        return _exact(window, first, there, f"it and the {first:,} before it from the anchor on are equal")
    if window.whole and window.head == len(window.copies):
        return not_yet("not copied yet")
    return not_yet("something before it was deleted or is another one: the end of the mirror will tell")


def _at_end(window: Window, high: tuple[int, int], compacted: bool) -> Place:
    """Nothing visible is left before the end of the range."""
    if not window.origin:
        return Place(high[1], Verdict.AT_END, 0, "nothing is left to read, nor to compare, before the end")
    if window.tail:
        return Place(high[1], Verdict.AT_END, 0, "nothing is left to read; the last message before the end is equal")
    last = window.origin.listed(len(window.origin) - 1)[0]
    if compacted and last in window.copies.listed():
        told = "nothing is left to read; behind the last message the origin has compacted since it was copied"
        return Place(high[1], Verdict.AT_END, 0, told)
    told = (
        f"nothing is left to read, but the last message before the end, at offset {window.origin.offsets[-1]:,} of the"
        " origin, is not the last one there"
    )
    return Place(None, Verdict.UNPROVED, 0, told)


def _by_counting(window: Window, first: int) -> Place | None:
    """Counted back from the upper anchor, where everything up to it is equal.

    Where the two sides have not the same number of messages, counting decides nothing between messages that are equal
    to each other.
    """
    count = len(window.origin) - first
    if count > window.tail:
        return None
    there = window.copies.offsets[len(window.copies) - count]
    if window.whole and window.tail == len(window.origin) == len(window.copies):
        return _exact(window, first, there, f"all {window.tail:,} messages between two anchors are equal")
    behind = f"it and the {count - 1:,} behind it up to the next anchor are equal"
    if not window.whole:
        return _exact(window, first, there, f"{behind}; of what lay before it some has been deleted")
    if _undecided(window, window.origin.listed(first)[0]):
        return None
    told = f"{behind}; before it {first:,} on the origin, {len(window.copies) - count:,} there, not all of them equal"
    return _exact(window, first, there, told)


def _by_content(window: Window, first: int, compacted: bool) -> Place:
    """Looked for among the copies: the earliest equal one behind which all that follows is there, in this order."""
    wanted, copies = window.origin.listed(first), window.copies.listed()
    origin, there = window.origin.offsets, window.copies.offsets
    if wanted[0] not in copies:
        told = (
            f"the message at offset {origin[first]:,} of the origin is not among the {len(copies):,} copies around it"
        )
        if not window.copies_kept:
            told += "; some have been deleted there"
        return Place(None, Verdict.UNPROVED, 0, told, origin[first])
    earliest = copies.index(wanted[0])
    missing = _first_missing(wanted, copies[earliest:])
    if missing is not None:
        told = f"offset {there[earliest]:,} holds it, but not behind it the message at offset {{}} of the origin"
        return Place(None, Verdict.UNPROVED, 0, told.format(f"{origin[first + missing]:,}"), origin[first])
    latest = _latest(wanted, copies)
    more = len(copies) - earliest - len(wanted)
    again = _repeated(copies[earliest:]) - _repeated(wanted)
    fits = latest == earliest and (more == 0 or (compacted and again <= 0))
    if fits and (compacted or not _undecided(window, wanted[0])):
        since = f"; {more:,} behind it were compacted on the origin since" if more else ""
        return _exact(window, first, there[earliest], f"the only copy behind which all that follows is there{since}")
    lost = len(window.origin) - len(copies)
    repeats = max(latest - earliest, again if compacted else max(more, lost))
    told = f"offset {there[earliest]:,} is the earliest copy that it can be; between the anchors"
    told += f" {len(window.origin):,} messages on the origin, {len(copies):,} there"
    return Place(there[earliest], Verdict.REPEATS, repeats, told, origin[first])


def _undecided(window: Window, message: bytes) -> bool:
    """Whether counting decides nothing: the sides differ in number, and the origin has an equal message."""
    return window.whole and len(window.origin) != len(window.copies) and window.times[message] > 1


def _exact(window: Window, first: int, there: int, how: str) -> Place:
    return Place(there, Verdict.EXACT, 0, f"offset {there:,}: {how}", window.origin.offsets[first])


def _first_missing(some: Sequence[bytes], many: Sequence[bytes]) -> int | None:
    """The index of the first of `some` that does not come in `many`, in this order; None: all do."""
    rest = iter(many)
    return next((i for i, one in enumerate(some) if not any(one == other for other in rest)), None)


def _latest(some: Sequence[bytes], many: Sequence[bytes]) -> int:
    """The last index of `many` from which on all of `some` come, in this order. They do come."""
    at = len(many)
    for one in reversed(some):
        at -= 1
        while many[at] != one:
            at -= 1
    return at


def _repeated(messages: Sequence[bytes]) -> int:
    return len(messages) - len(set(messages))
