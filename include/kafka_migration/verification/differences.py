"""What comparing one partition of two clusters is given, and what it finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from kafka_migration.findings import Status
from kafka_migration.offsets import TopicPartition
from kafka_migration.verification import stretches
from kafka_migration.verification.proved import Proved
from kafka_migration.verification.stretches import Stretch

SHOWN = 20  # differences of a partition that are kept with their offsets; all are counted


class Kind(StrEnum):
    """MISSING: only on the origin. EXTRA: only on the destination. REPEATED: an extra that is a copy of a message of
    the origin, which has another copy. ALTERED: another content in the same place. MISPLACED: on both sides, but among
    other neighbours.
    """

    MISSING = "missing"
    EXTRA = "extra"
    REPEATED = "repeated"
    ALTERED = "altered"
    MISPLACED = "misplaced"

    @property
    def on_origin(self) -> bool:
        """Whether the origin has such a message. Then it is named by where it lies there."""
        return self not in (Kind.EXTRA, Kind.REPEATED)

    @property
    def on_destination(self) -> bool:
        return self is not Kind.MISSING


@dataclass(frozen=True)
class RangePair:
    """One partition: [start, end) on the origin and on the destination.

    `ignore_timestamp`: the destination stamps messages anew. `by_key`: the latest message of each key counts.
    `copy`: the topic's name on the destination, where that is another. `former_start`: where the origin's range began
    before it lost its head; None where it has it. `open_ended`: the destination goes on, and what it has behind the
    copy of the origin's last message is left for another time. `copies_from`, `copies_to`: which messages of the origin
    count when it is asked whether an extra is a copy; None: those of the range.
    """

    partition: TopicPartition
    origin_start: int
    origin_end: int
    destination_start: int
    destination_end: int
    ignore_timestamp: bool = False
    by_key: bool = False
    copy: str | None = None
    former_start: int | None = None
    open_ended: bool = False
    copies_from: int | None = None
    copies_to: int | None = None


@dataclass(frozen=True)
class Difference:
    """One message that is not the same on both sides; an offset is None where it is not there.

    `there`: its partition on the destination, where that is another. Known when it has been read again: of an altered
    one the `fields` that differ (key, value, headers, timestamp; beside value also tombstone, where one side has none),
    `key`, the digest of its key (None: it has no key), and what it looks like on the `origin` and the `destination`.
    """

    kind: Kind
    partition: TopicPartition
    origin_offset: int | None
    destination_offset: int | None
    fields: tuple[str, ...] = ()
    there: TopicPartition | None = None
    key: str | None = None
    origin: str | None = None
    destination: str | None = None

    @property
    def offset(self) -> int:
        """Where it is named: on the origin, or on the destination if it is only there."""
        offset = self.destination_offset if self.origin_offset is None else self.origin_offset
        assert offset is not None
        return offset

    def __str__(self) -> str:
        return f"{self.partition}@{self.offset}:{self.kind}"


@dataclass
class ContentResult:
    """What comparing one partition showed. Counts are of visible messages; `equal` is of keys where `by_key`.

    `counts`: all differences by their kind; `differences`: the first of them; `stretches`: where all of them lie, by
    kind, in offsets of the side that names them. `origin_complete` and `destination_complete`: no open transaction
    stood in the way of reading to the end; after one nothing more of the partition is read or judged. `deleted`: what
    of the ranges is not kept any more; then nothing of it was compared.
    `head`: what of the origin's range was not kept any more, so that only the rest was compared.
    `rewritten`: keys that lie on one side only, and beyond the end on the other, where compaction removed the former.
    `destination_read`: where the last copy that was found ends. `before`: how many of the equal an earlier look has
    proved. `counted`: both sides were only counted; what one has more is told as missing or extra, at no offset.
    """

    partition: TopicPartition
    by_key: bool = False
    origin_visible: int = 0
    destination_visible: int = 0
    equal: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    stretches: dict[Kind, list[Stretch]] = field(default_factory=dict)
    origin_complete: bool = True
    destination_complete: bool = True
    deleted: str = ""
    head: str = ""
    rewritten: int = 0
    destination_read: int = 0
    before: int = 0
    counted: bool = False

    @property
    def different(self) -> int:
        """All differences. One message in another place is one, as is one in the place of another."""
        return self.counts.total()

    @property
    def complete(self) -> bool:
        """Both ranges were read whole."""
        return self.origin_complete and self.destination_complete and not self.deleted

    def verdict(self, at_least_once: bool = False) -> Status:
        """`at_least_once`: a message that is only repeated is no reason to fail."""
        if self.counted and at_least_once and not self.counts[Kind.MISSING] and self.different:
            return Status.INCONCLUSIVE  # what is there once more makes up for what is missing
        if self.different > (self.counts[Kind.REPEATED] if at_least_once else 0):
            return Status.FAIL
        return Status.PASS if self.complete and not self.head else Status.INCONCLUSIVE

    def proved(self, pair: RangePair, at_least_once: bool = False) -> Proved | None:
        """What this proves, where it is a PASS: of the pair's ranges, from their start on."""
        if self.verdict(at_least_once) is not Status.PASS:
            return None
        return Proved(
            pair.origin_end,
            self.destination_read if pair.open_ended else pair.destination_end,
            self.equal,
            self.counts[Kind.REPEATED],
            self.origin_visible,
            self.destination_visible,
        )

    def goes_on(self, before: Proved) -> None:
        """Count with it what an earlier look has proved."""
        self.before = before.equal
        self.equal += before.equal
        self.origin_visible += before.origin_visible
        self.destination_visible += before.destination_visible
        if before.repeated:
            self.counts[Kind.REPEATED] += before.repeated

    def joined(self, other: ContentResult) -> ContentResult:
        """This and what was found in another range of the same partition."""
        self.origin_visible += other.origin_visible
        self.destination_visible += other.destination_visible
        self.equal += other.equal
        self.counts += other.counts
        self.differences = [*self.differences, *other.differences][:SHOWN]
        for kind, more in other.stretches.items():
            self.stretches[kind] = stretches.together([*self.stretches.get(kind, ()), *more])
        self.origin_complete &= other.origin_complete
        self.destination_complete &= other.destination_complete
        self.deleted = self.deleted or other.deleted
        return self

    def note(self, found: Iterable[Difference]) -> None:
        for difference in found:
            self.counts[difference.kind] += 1
            stretches.add(self.stretches.setdefault(difference.kind, []), difference.offset)
            if len(self.differences) < SHOWN:
                self.differences.append(difference)
