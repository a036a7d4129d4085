"""What a consumer would see between two offsets: the first visible message, and how many there are.

Transaction markers, aborted messages and what compaction or deletion removed have offsets but are not visible, so that
only reading tells. It reads with `read_committed`, commits nothing and joins no group. A range whose end is not reached
because a transaction is open is reported as such and never taken for empty; one whose start was deleted is an error.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException

from kafka_migration.clusters.client import Cluster
from kafka_migration.errors import ClusterError
from kafka_migration.offsets import OffsetRange, Offsets, TopicPartition, Which, read_offsets

_BATCH = 1000
_STALL = 30.0
_LOOK_AGAIN = 1.0  # seconds

PASSES_WITHIN = 10.0
"""Seconds for which a verification waits for what a transaction keeps from being read: most are about to end."""


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
    return _read(cluster, ranges, first_only=True)


def count_visible(
    cluster: Cluster,
    ranges: Sequence[OffsetRange],
    progress: Callable[[int], None] | None = None,
    patience: float = 0.0,
) -> dict[TopicPartition, Seen]:
    """For each range how many messages are visible, exactly. `patience`: as `Reading` has it."""
    return _read(cluster, ranges, progress=progress, patience=patience)


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
    cluster: Cluster,
    ranges: Sequence[OffsetRange],
    tell: Callable[[TopicPartition, Any], None],
    patience: float = 0.0,
) -> dict[TopicPartition, Seen]:
    """Tell of every visible message of these ranges, those of one partition in order; partitions side by side.

    `patience`: as `Reading` has it.
    """

    def take(tp: TopicPartition, messages: Sequence[Any]) -> None:
        for message in messages:
            tell(tp, message)

    return _read(cluster, ranges, take=take, patience=patience)


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


class Reading:
    """Ranges of one cluster while they are read, side by side, as far as `some` is asked for more.

    A context, whose consumer ends with it. `seen`: what was shown of those that have been read. `first_only`: each ends
    with its first visible message. `patience`: seconds for which the end of a transaction is waited for that keeps a
    range from being read on. Raises `ClusterError`, `ValueError` for two ranges of one partition.
    """

    def __init__(
        self, cluster: Cluster, ranges: Sequence[OffsetRange], first_only: bool = False, patience: float = 0.0
    ) -> None:
        if len({r.partition for r in ranges}) < len(ranges):
            raise ValueError("each partition can be read in one range only; count_between takes several marks of one")
        self._cluster = cluster
        self._first_only = first_only
        self._stack = ExitStack()
        self._consumer: Consumer | None = None
        self._silent = 0.0  # seconds waited in a row without a message
        self._patience = patience
        self.seen = {r.partition: Seen(None, None, 0, True) for r in ranges if r.start >= r.end}
        stable = read_offsets(cluster, [r.partition for r in ranges if r.start < r.end], Which.STABLE)
        # A reader that starts behind the last stable offset is told nothing at all, not even that it waits (measured).
        behind = {r.partition: r.start for r in ranges if stable.get(r.partition, r.start) < r.start}
        hidden = self._hidden(behind) if patience else {}
        until = time.monotonic() + patience
        # Until when what is in the way of a partition is waited for, and behind which offset it is.
        self._blocked: dict[tuple[str, int], tuple[float, int]] = {
            (tp.topic, tp.partition): (until, start - 1) for tp, start in hidden.items()
        }
        self.seen |= {tp: Seen(None, None, 0, False) for tp in behind if tp not in hidden}
        # By what a message tells as it is: to make a `TopicPartition` of each was a third of the time (measured).
        self._reading = {
            (r.partition.topic, r.partition.partition): _Progress(r.partition, r.start, r.end)
            for r in ranges
            if r.partition not in self.seen
        }

    def __enter__(self) -> Self:
        if self._reading:
            self._consumer = self._stack.enter_context(self._cluster.reader())
            self._consumer.assign([state.partition.at(state.position) for state in self._reading.values()])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def over(self) -> bool:
        """Whether every range has been read."""
        return not self._reading

    def left(self, tp: TopicPartition) -> int:
        """Offsets of a partition that have not been read yet."""
        state = self._reading.get((tp.topic, tp.partition))
        return 0 if state is None else state.end - state.position

    def some(self, timeout: float = 0.5) -> list[tuple[TopicPartition, list[Any]]]:
        """The next messages, those of one partition together; none where none came within `timeout` seconds.

        A partition whose end has been reached is among them, without a message where it had none any more.

        Raises `ClusterError` where a range cannot be read, or nothing comes for long.
        """
        if self._consumer is None or not self._reading:
            return []
        # Not `consume(_BATCH, timeout)`: that waits for a whole batch, half a second at the tail of every partition.
        began = time.monotonic()
        messages = self._consumer.consume(1, timeout=timeout)
        self._silent = 0.0 if messages else self._silent + time.monotonic() - began
        if messages:
            messages += self._consumer.consume(_BATCH, timeout=0)
            if self._cluster.throttle is not None:
                self._cluster.throttle.spend(sum(len(m) + len(m.key() or b"") for m in messages))
        elif self._silent > _STALL and len(self._blocked) < len(self._reading):
            raise self._cluster.error(
                KafkaError(KafkaError._TIMED_OUT),
                f"reading {', '.join(str(self._reading[one].partition) for one in sorted(self._reading)[:5])}:"
                f" nothing for {_STALL:.0f} s, and not the end",
            )
        return [*self._taken(messages), *self._given_up()]

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Read nothing of these for now."""
        self._let("pause", partitions)

    def go_on(self, partitions: Collection[TopicPartition]) -> None:
        """Read these again."""
        self._let("resume", partitions)

    def _let(self, deed: str, partitions: Collection[TopicPartition]) -> None:
        mine = [tp.at(0) for tp in partitions if (tp.topic, tp.partition) in self._reading]
        if mine and self._consumer is not None:
            try:
                getattr(self._consumer, deed)(mine)
            except KafkaException as error:
                raise self._cluster.error(error, f"reading on ({deed})") from None

    def _taken(self, messages: Sequence[Any]) -> Iterator[tuple[TopicPartition, list[Any]]]:
        finished: list[TopicPartition] = []
        for where, error, together in _together(messages):
            state = self._reading.get(where)
            if state is None:
                continue
            if error is not None:
                offset = together[-1].offset()  # where ends were told one after the other, the last
                whole = _ended_by(self._cluster, state, error, offset)
                if not whole and self._waits(where, state.partition, offset):
                    continue
                self.seen[state.partition] = state.seen(whole)
                yield state.partition, []
            else:
                self._blocked.pop(where, None)
                within = _before(state.end, _from(state.position, together))
                passed = together[-1].offset() >= state.end
                if self._first_only:
                    within = within[:1]
                if within:
                    state.pass_over(within)
                yield state.partition, within
                if state.position < state.end and not passed and not (self._first_only and within):
                    continue
                whole = state.position >= state.end or (passed and not (self._first_only and within))
                self.seen[state.partition] = state.seen(whole)
            del self._reading[where]
            self._blocked.pop(where, None)
            finished.append(state.partition)
        self._release(finished)

    def _hidden(self, starts: Offsets) -> Offsets:
        """Those that something is in the way of. What begins behind the very end has been cut: nothing comes there."""
        ends = read_offsets(self._cluster, starts, Which.END)
        return {tp: start for tp, start in starts.items() if start <= ends[tp]}

    def _goes_on(self, tp: TopicPartition, end: int) -> bool:
        """Whether more than up to this end can be read by now.

        A leader that has just taken over tells of less than others had acknowledged, until it has heard of them: it
        then answers whoever asks for the end that it does not know it yet, which is waited for (KIP-207).
        """
        return read_offsets(self._cluster, [tp], Which.STABLE)[tp] > end

    def _waits(self, where: tuple[str, int], tp: TopicPartition, end: int) -> bool:
        """Whether it is waited for that more than up to this end can be read, of which a reader is told only once.

        Also where more can be read already: a broker may tell of a stable offset that is none, where a transaction
        begins while it is asked (`UnifiedLog.lastStableOffset` of Kafka 4.3 reads twice what may change in between).
        """
        if not self._patience and not self._goes_on(tp, end):
            return False
        self._blocked[where] = time.monotonic() + max(self._patience, _LOOK_AGAIN), end
        return True

    def _given_up(self) -> Iterator[tuple[TopicPartition, list[Any]]]:
        """What has been waited for in vain ends as far as it was read."""
        now = time.monotonic()
        late = {where: end for where, (until, end) in self._blocked.items() if until < now}
        if not late:
            return
        stable = read_offsets(self._cluster, [self._reading[where].partition for where in late], Which.STABLE)
        over: list[TopicPartition] = []
        for where, end in late.items():
            del self._blocked[where]
            tp = self._reading[where].partition
            if stable[tp] <= end:
                self.seen[tp] = self._reading.pop(where).seen(False)
                over.append(tp)
                yield tp, []
        self._release(over)

    def _release(self, finished: Iterable[TopicPartition]) -> None:
        """Stop fetching what has been read, so that other partitions are not held up by it."""
        unneeded = [tp.at(0) for tp in finished]
        if unneeded and self._reading and self._consumer is not None:
            try:
                self._consumer.incremental_unassign(unneeded)
            except KafkaException as error:
                raise self._cluster.error(error, "giving back a partition that has been read") from None


def _read(
    cluster: Cluster,
    ranges: Sequence[OffsetRange],
    first_only: bool = False,
    progress: Callable[[int], None] | None = None,
    take: Callable[[TopicPartition, Sequence[Any]], None] | None = None,
    patience: float = 0.0,
) -> dict[TopicPartition, Seen]:
    total = 0
    with Reading(cluster, ranges, first_only, patience) as reading:
        while not reading.over:
            found = reading.some()
            for tp, messages in found:
                total += len(messages)
                if take is not None and messages:
                    take(tp, messages)
            if progress is not None and found:
                progress(total)
    return reading.seen


def _together(messages: Sequence[Any]) -> Iterator[tuple[tuple[str, int], KafkaError | None, list[Any]]]:
    """Neighbours of one partition, with what is wrong with them, which is the same with all: with messages nothing."""

    def kind(message: Any) -> tuple[str, int, int | None]:
        error = message.error()
        return message.topic(), message.partition(), None if error is None else error.code()

    for (topic, partition, _), some in groupby(messages, kind):
        together = list(some)
        yield (topic, partition), together[0].error(), together


def _from(position: int, messages: list[Any]) -> list[Any]:
    """Those that were not read before: a partition that was held goes on where it was."""
    if messages[0].offset() >= position:
        return messages
    return messages[bisect_left(messages, position, key=lambda message: message.offset()) :]


def _before(end: int, messages: list[Any]) -> list[Any]:
    """Those before an offset; they come in order."""
    if not messages or messages[-1].offset() < end:
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
