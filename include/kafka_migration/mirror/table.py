"""The table of a copy: which offset of the destination each offset of the origin has become, for whoever keeps offsets.

A group's few positions are mapped one by one; an application that keeps its offsets outside Kafka may hold any. So the
whole copy is read on both sides in step, and told in rows: messages that follow one another and lie equally far apart
on both sides are one row. A plain copy makes a handful of rows a partition, one of transactions a row for each.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.anchors import Anchors
from kafka_migration.mirror.placing import place
from kafka_migration.mirror.windows import Between, Bounds, Window, read_bounds, read_windows
from kafka_migration.offsets import TopicPartition
from kafka_migration.sides import Side

_AT_ONCE = 400_000  # offsets of all partitions together that are read of a side at once: bounds the memory
_MOST_BY_CONTENT = 20_000  # messages of a window that is not equal on both sides: the work grows with their square


class Row(NamedTuple):
    """Messages of a partition, from offset `first` to `last` of the origin, and that of the first on the destination.

    `there` None: not known. `messages` 0: the row of the end, where both sides go on behind what was copied. `repeats`:
    messages that are read again at most from there. Timestamps (milliseconds) and digests are the origin's.
    """

    partition: TopicPartition
    first: int
    last: int
    there: int | None
    messages: int
    repeats: int
    first_time: int
    first_digest: bytes
    last_time: int
    last_digest: bytes

    @property
    def known(self) -> bool:
        """Whether the row tells exactly where to go on."""
        return self.there is not None and not self.repeats


def read_table(
    origin: Cluster,
    destination: Cluster,
    anchors: Mapping[TopicPartition, Anchors],
    ignore_timestamp: Collection[str] = (),
    compacted: Collection[str] = (),
) -> dict[TopicPartition, list[Row]]:
    """The rows of each partition, rising; the last is that of the end. The anchors must have ended.

    What the origin does not keep any more has no row: nobody can read it there. Raises `ClusterError`.
    """
    bounds = read_bounds(origin, destination, anchors.keys())
    rows: dict[TopicPartition, list[Row]] = {tp: [] for tp in sorted(anchors)}
    equal = dict.fromkeys(rows, True)
    for windows in _portions(anchors, bounds):
        for between, window in read_windows(origin, destination, windows, bounds, ignore_timestamp):
            tp = between.partition
            before, equal[tp] = equal[tp], _equal(window)
            for row in _rows(between, window, tp.topic in compacted):
                _add(rows[tp], row, joined=before and equal[tp])
    for tp, mine in rows.items():
        end, image = anchors[tp].pairs[-1]
        mine.append(Row(tp, end, end, image, 0, 0, 0, b"", 0, b""))
    return rows


def as_csv(rows: Iterable[Row], leaving: Side, heading: Side) -> str:
    """The table as a file for people and programs. What is not known is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(leaving, heading))
    for row in rows:
        proof = (row.first_time, row.first_digest.hex(), row.last_time, row.last_digest.hex())
        writer.writerow((*cells(row), *(proof if row.messages else ("", "", "", ""))))
    return text.getvalue()


def columns(leaving: Side, heading: Side) -> tuple[str, ...]:
    """The names of all columns; `cells` are the first of them."""
    named = ("topic", "partition", f"{leaving}_first", f"{leaving}_last", f"{heading}_first", "messages", "repeats")
    return (*named, "first_timestamp", "first_digest", "last_timestamp", "last_digest")


def cells(row: Row) -> tuple[str | int, ...]:
    """What a row says of offsets."""
    there = "" if row.there is None else row.there
    return (row.partition.topic, row.partition.partition, row.first, row.last, there, row.messages, row.repeats)


def _portions(
    anchors: Mapping[TopicPartition, Anchors], bounds: Mapping[TopicPartition, Bounds]
) -> Iterator[list[Between]]:
    """Windows of the whole copy, those of a partition in order, as many together as are read at once."""
    left = {tp: _windows(tp, known, bounds[tp].origin_start) for tp, known in anchors.items()}
    while left := {tp: windows for tp, windows in left.items() if windows}:
        portion: list[Between] = []
        share = _AT_ONCE // len(left)
        for windows in left.values():
            offsets = 0
            while windows and offsets < share:
                window = windows.pop()
                offsets += _size(window)
                portion.append(window)
        yield portion


def _windows(tp: TopicPartition, known: Anchors, start: int) -> list[Between]:
    """The windows that hold what the origin still keeps, the last first."""
    last = known.pairs[-1]
    pairs = [(low, high) for low, high in pairwise(known.pairs) if high[0] > start]
    return [Between(tp, low, high, high == last) for low, high in reversed(pairs)]


def _size(window: Between) -> int:
    low, high = window.low or (0, 0), window.high or (0, 0)
    return max(high[0] - low[0], high[1] - low[1], 1)


def _equal(window: Window) -> bool:
    """Whether both sides hold the same messages between the anchors, one by one."""
    return window.complete and window.whole and window.tail == len(window.origin) == len(window.copies)


def _rows(between: Between, window: Window, compacted: bool) -> Iterator[Row]:
    """One row for each message of a window. The one at its upper anchor belongs to the next window."""
    messages = window.origin
    count = len(messages)
    if not between.is_end and count and between.high and messages.offsets[-1] == between.high[0]:
        count -= 1
    for index, (there, repeats) in enumerate(_places(window, count, compacted)):
        told = messages.digest(index)
        time, offset = messages.times[index], messages.offsets[index]
        yield Row(between.partition, offset, offset, there, 1, repeats, time, told, time, told)


def _places(window: Window, count: int, compacted: bool) -> Iterator[tuple[int | None, int]]:
    """Of the first `count` messages: where each lies on the destination, and how many would be read again at most."""
    if _equal(window):
        yield from ((there, 0) for there in window.copies.offsets[:count])
        return
    by_content = len(window.origin) - (window.tail if window.complete else 0) > _MOST_BY_CONTENT
    for offset in window.origin.offsets[:count]:
        found = None if by_content else place(window, offset, compacted)
        yield (found.destination_offset, found.repeats) if found else (None, 0)


def _add(rows: list[Row], row: Row, joined: bool) -> None:
    """Behind the last row, or to it. `joined`: nothing else lies between the two on the destination."""
    last = rows[-1] if rows else None
    if last is None or not _goes_on(last, row, joined):
        rows.append(row)
        return
    rows[-1] = last._replace(
        last=row.last,
        messages=last.messages + row.messages,
        repeats=max(last.repeats, row.repeats),
        last_time=row.last_time,
        last_digest=row.last_digest,
    )


def _goes_on(last: Row, row: Row, joined: bool) -> bool:
    if last.there is None or row.there is None:
        return last.there is row.there
    if (last.repeats == 0) is not (row.repeats == 0) or row.first - last.first != row.there - last.there:
        return False
    return joined or row.first == last.last + 1


def summed(rows: Sequence[Row]) -> tuple[int, int]:
    """Messages in all, and those of which it is not exactly known where to go on."""
    return sum(row.messages for row in rows), sum(row.messages for row in rows if not row.known)
