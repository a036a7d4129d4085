"""What a consumer would see between two offsets: the first visible message, and how many there are.

Transaction markers, aborted messages and what compaction or deletion removed have offsets but are not visible, so that
only reading tells. It reads with `read_committed`, commits nothing and joins no group. A range whose end is not reached
because a transaction is open is reported as such and never taken for empty; one whose start was deleted is an error.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException

from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import ClusterError
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets

_BATCH = 1000
_STALL = 30.0


@dataclass(frozen=True)
class Seen:
    """What reading a range showed: `first` visible offset (None: none), `count` of visible messages, `last` of them.

    `complete`: the range was read to its end. If not, reading stopped at an open transaction, or after the first
    visible message where only that was asked for.
    """

    first: int | None
    last: int | None
    count: int
    complete: bool


def first_visible(cluster: Cluster, ranges: Sequence[OffsetRange]) -> dict[TopicPartition, Seen]:
    """For each range whether anything in it is visible; reading of a partition stops at the first such message."""
    return _read(cluster, ranges, stop_at_first=True)


def count_visible(
    cluster: Cluster, ranges: Sequence[OffsetRange], progress: Callable[[int], None] | None = None
) -> dict[TopicPartition, Seen]:
    """For each range how many messages are visible, exactly."""
    return _read(cluster, ranges, progress=progress)


def count_between(
    cluster: Cluster, marks: Mapping[TopicPartition, Sequence[int]]
) -> dict[TopicPartition, tuple[list[int], bool]]:
    """Visible messages between neighbouring marks of each partition, read once however many marks there are.

    For marks `[10, 40, 90]` two numbers: those in [10, 40) and in [40, 90). The flag says whether all was read.
    """
    counts = {tp: [0] * (len(m) - 1) for tp, m in marks.items()}

    def take(tp: TopicPartition, messages: Sequence[Any]) -> None:
        offsets = [message.offset() for message in messages]
        places = [bisect_left(offsets, mark) for mark in marks[tp]]
        for number, (start, end) in enumerate(pairwise(places)):
            counts[tp][number] += end - start

    ranges = [OffsetRange(tp, m[0], m[-1]) for tp, m in marks.items()]
    seen = _read(cluster, ranges, take=take)
    return {tp: (counts[tp], seen[tp].complete) for tp in marks}


def each_visible(
    cluster: Cluster, ranges: Sequence[OffsetRange], tell: Callable[[TopicPartition, Any], None]
) -> dict[TopicPartition, Seen]:
    """Tell of every visible message of these ranges, those of one partition in order; partitions side by side."""

    def take(tp: TopicPartition, messages: Sequence[Any]) -> None:
        for message in messages:
            tell(tp, message)

    return _read(cluster, ranges, take=take)


def each_batch(
    cluster: Cluster, ranges: Sequence[OffsetRange], take: Callable[[TopicPartition, Sequence[Any]], None]
) -> dict[TopicPartition, Seen]:
    """The same, some neighbouring messages of one partition at once: what is done for each alone costs most of all."""
    return _read(cluster, ranges, take=take)


@dataclass
class _Progress:
    partition: TopicPartition
    position: int
    end: int
    first: int | None = None
    last: int | None = None
    count: int = 0

    def pass_over(self, messages: Sequence[Any]) -> None:
        self.count += len(messages)
        self.last = messages[-1].offset()
        self.position = messages[-1].offset() + 1
        if self.first is None:
            self.first = messages[0].offset()

    def seen(self, complete: bool) -> Seen:
        return Seen(self.first, self.last, self.count, complete)


def _read(
    cluster: Cluster,
    ranges: Sequence[OffsetRange],
    stop_at_first: bool = False,
    progress: Callable[[int], None] | None = None,
    take: Callable[[TopicPartition, Sequence[Any]], None] | None = None,
) -> dict[TopicPartition, Seen]:
    if len({r.partition for r in ranges}) < len(ranges):
        raise ValueError("each partition can be read in one range only; count_between takes several marks of one")
    done = {r.partition: Seen(None, None, 0, True) for r in ranges if r.start >= r.end}
    stable = read_offsets(cluster, [r.partition for r in ranges if r.start < r.end], Which.STABLE)
    # A reader that starts behind the last stable offset is told nothing at all, not even that it waits (measured).
    done |= {r.partition: Seen(None, None, 0, False) for r in ranges if stable.get(r.partition, r.start) < r.start}
    # By what a message tells as it is: to make a `TopicPartition` of each was a third of the time (measured).
    reading = {
        (r.partition.topic, r.partition.partition): _Progress(r.partition, r.start, r.end)
        for r in ranges
        if r.partition not in done
    }
    if not reading:
        return done
    with cluster.reader() as consumer:
        consumer.assign([state.partition.at(state.position) for state in reading.values()])
        heard = time.monotonic()
        total = 0
        while reading:
            # Not `consume(_BATCH, 0.5)`: that waits for a whole batch, half a second at the tail of every partition.
            messages = consumer.consume(1, timeout=0.5)
            if messages:
                messages += consumer.consume(_BATCH, timeout=0)
                heard = time.monotonic()
            elif time.monotonic() - heard > _STALL:
                raise cluster.error(
                    KafkaError(KafkaError._TIMED_OUT),
                    f"reading {', '.join(str(reading[one].partition) for one in sorted(reading)[:5])}:"
                    f" nothing for {_STALL:.0f} s, and not the end",
                )
            finished: list[TopicPartition] = []
            for where, error, together in _together(messages):
                state = reading.get(where)
                if state is None:
                    continue
                if error is not None:
                    done[state.partition] = state.seen(_ended_by(cluster, state, error, together[0].offset()))
                else:
                    within = _before(state.end, together)
                    passed = len(within) < len(together)
                    if stop_at_first:
                        within = within[:1]
                    if within:
                        state.pass_over(within)
                        total += len(within)
                        if take is not None:
                            take(state.partition, within)
                    if state.position < state.end and not passed and not stop_at_first:
                        continue
                    done[state.partition] = state.seen(state.position >= state.end or (passed and not within))
                del reading[where]
                finished.append(state.partition)
            if progress is not None and messages:
                progress(total)
            _release(cluster, consumer, finished, bool(reading))
    return done


def _together(messages: Sequence[Any]) -> Iterator[tuple[tuple[str, int], KafkaError | None, list[Any]]]:
    """Neighbours of one partition, with what is wrong with them."""
    for (topic, partition, error), some in groupby(messages, lambda m: (m.topic(), m.partition(), m.error())):
        yield (topic, partition), error, list(some)


def _before(end: int, messages: list[Any]) -> list[Any]:
    """Those before an offset; they come in order."""
    if messages[-1].offset() < end:
        return messages
    return messages[: bisect_left(messages, end, key=lambda message: message.offset())]


def _ended_by(cluster: Cluster, state: _Progress, error: KafkaError, offset: int) -> bool:
    """Whether the range was read whole when the partition's end was told. Raises `ClusterError` for any other error."""
    if error.code() == KafkaError._PARTITION_EOF:
        # read_committed: it comes at the last stable offset, before the end while a transaction is open
        return offset >= state.end
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise ClusterError(
            f"{cluster}: {state.partition} cannot be read from offset {state.position:,} on, up to"
            f" {state.end:,}: it is not there any more (deleted by retention, or the topic was made anew)"
        )
    raise cluster.error(error, f"reading {state.partition}")


def _release(cluster: Cluster, consumer: Consumer, finished: Iterable[TopicPartition], go_on: bool) -> None:
    """Stop fetching what has been read, so that other partitions are not held up by it."""
    unneeded = [tp.at(0) for tp in finished]
    if unneeded and go_on:
        try:
            consumer.incremental_unassign(unneeded)
        except KafkaException as error:
            raise cluster.error(error, "giving back a partition that has been read") from None
