"""What the services' own logs add up to: lost, repeated and out of order, counted end to end.

Reads nothing but the witness logs and who should have read what. Knows neither Kafka nor the migration,
so that it can contradict both.
"""

from __future__ import annotations

import heapq
import time
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from demo.waiting import patience
from demo.witness_log import Entry, Kind, Record, parse

_LOOK_EVERY = 0.2

Readers = Mapping[str, Iterable[str]]
"""The topics that each group should read."""


class FaultKind(StrEnum):
    LOST = "lost"
    REPEATED = "repeated"
    OUT_OF_ORDER = "out_of_order"


@dataclass(frozen=True)
class Fault:
    """A message that some group did not process exactly once and in order.

    A lost one is named by the place where it was acknowledged, any other by the place where it was
    processed wrongly.
    """

    time: float
    kind: FaultKind
    group: str
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}:{self.kind}"


@dataclass(frozen=True)
class Rhythm:
    """When something happened: how often at which servers, and the pauses in between, in seconds.

    Of a group a pause counts from when a message was there for it: it does not pause while nothing is produced.
    `switch_pause` is the longest between two neighbours at different servers, whatever was produced meanwhile;
    None where the servers never changed. `last_servers` are those of the last time.
    """

    by_servers: Mapping[str, int]
    longest_pause: float
    switch_pause: float | None
    last_servers: str | None


@dataclass(frozen=True)
class ProducerCount:
    """Messages acknowledged to a service; for transactions, committed ones."""

    service: str
    produced: int
    rhythm: Rhythm


@dataclass(frozen=True)
class GroupCount:
    """What became of a group's messages.

    `processed` counts each message once, `repeated` each further time. `out_of_order` counts first
    processings after a later message of the same topic and key, `keys_out_of_order` those keys.
    `unacknowledged` were processed though no producer ever saw an acknowledgement, as after a crash: no fault
    by itself.
    """

    group: str
    processed: int
    lost: int
    repeated: int
    out_of_order: int
    keys_out_of_order: int
    unacknowledged: int
    rhythm: Rhythm


@dataclass(frozen=True)
class WitnessCount:
    """`first_faults` has the earliest of each kind."""

    producers: tuple[ProducerCount, ...]
    groups: tuple[GroupCount, ...]
    first_faults: tuple[Fault, ...]

    @property
    def produced(self) -> int:
        return sum(one.produced for one in self.producers)

    @property
    def lost(self) -> int:
        return sum(one.lost for one in self.groups)

    @property
    def repeated(self) -> int:
        return sum(one.repeated for one in self.groups)

    @property
    def out_of_order(self) -> int:
        return sum(one.out_of_order for one in self.groups)

    @property
    def first_fault(self) -> Fault | None:
        return self.first_of(set(FaultKind))

    def first_of(self, kinds: Collection[FaultKind]) -> Fault | None:
        """The earliest fault of these kinds."""
        return min((one for one in self.first_faults if one.kind in kinds), key=lambda one: one.time, default=None)


def count(directory: Path, readers: Readers) -> WitnessCount:
    """All that the logs of a folder tell now. A group may have several logs: theirs are taken by time.

    Each topic is taken to have one producer, whose numbers rise: a key's order is the order of the numbers. The
    numbers of a producer's second instance lie above those of the first, whoever is faster: what came in later is
    taken to be later.
    """
    ledger = _Ledger(readers)
    # Each file is in order of time by itself; what several instances of a group did is put in order here.
    for entry in heapq.merge(*map(_entries, _files(directory)), key=lambda entry: entry.time):
        ledger.add(entry)
    return ledger.result()


def first_processed(directory: Path, servers: str, *, since: float) -> Entry | None:
    """The first message that any group processed at those servers, from that moment on."""
    entries = (entry for file in _files(directory) for entry in _entries(file))
    there = (e for e in entries if e.kind is Kind.PROCESSED and e.servers == servers and e.time >= since)
    return min(there, key=lambda entry: entry.time, default=None)


def acknowledged(directory: Path, servers: str, topics: Collection[str]) -> set[str]:
    """The ids of all messages of those topics that were acknowledged at those servers."""
    entries = (entry for file in _files(directory) for entry in _entries(file))
    return {
        e.record.id for e in entries if e.kind is Kind.PRODUCED and e.servers == servers and e.record.topic in topics
    }


def wait_until_complete(directory: Path, readers: Readers, *, timeout: float, quiet: float) -> WitnessCount:
    """Count once every acknowledged message has been processed by every group that should.

    Counts too when no log has grown for `quiet` seconds, or after `timeout`: what is missing then is lost.
    """
    timeout, quiet = timeout * patience(), quiet * patience()
    deadline = time.monotonic() + timeout
    progress = _Progress(directory, readers)
    moved = time.monotonic()
    while True:
        if progress.advance():
            moved = time.monotonic()
        now = time.monotonic()
        if not progress.outstanding or now - moved > quiet or now > deadline:
            return count(directory, readers)
        time.sleep(_LOOK_EVERY)


class _Ledger:
    """Takes entries in order of time. A message costs some bytes here, whoever reads it."""

    def __init__(self, readers: Readers) -> None:
        self._readers = {group: frozenset(topics) for group, topics in readers.items()}
        self._numbers: dict[str, int] = {}
        self._topics: list[str] = []
        self._topic = array("h")
        self._partition = array("i")
        self._offset = array("q")
        self._time = array("d")  # of the acknowledgement; below 0: not acknowledged
        self._producers: dict[str, _Beat] = {}
        self._groups = {group: _GroupLedger(group) for group in self._readers}
        self._first: dict[FaultKind, Fault] = {}

    def add(self, entry: Entry) -> None:
        number = self._number(entry.record)
        if entry.kind is Kind.PRODUCED:
            if self._time[number] < 0:
                self._producers.setdefault(entry.who, _Beat()).add(entry)
                self._partition[number] = entry.record.partition
                self._offset[number] = entry.record.offset
                self._time[number] = entry.time
                for name, topics in self._readers.items():
                    if entry.record.topic in topics:
                        self._groups[name].acknowledged(number, entry.time)
            return
        group = self._groups.setdefault(entry.who, _GroupLedger(entry.who))
        waited = self._time[number] >= 0 and entry.record.topic in self._readers.get(entry.who, ())
        kind = group.add(number, entry, waited=waited)
        if kind is not None:
            self._note(_fault(entry, kind))

    def result(self) -> WitnessCount:
        groups = tuple(self._count(group) for _, group in sorted(self._groups.items()))
        producers = tuple(
            ProducerCount(service, beat.count, beat.rhythm()) for service, beat in sorted(self._producers.items())
        )
        return WitnessCount(producers, groups, tuple(self._first.values()))

    def _number(self, record: Record) -> int:
        number = self._numbers.setdefault(record.id, len(self._numbers))
        if number == len(self._time):
            if record.topic not in self._topics:
                self._topics.append(record.topic)
            self._topic.append(self._topics.index(record.topic))
            self._partition.append(record.partition)
            self._offset.append(record.offset)
            self._time.append(-1.0)
        return number

    def _count(self, group: _GroupLedger) -> GroupCount:
        topics = self._readers.get(group.name, frozenset())
        own = {index for index, topic in enumerate(self._topics) if topic in topics}
        lost = unacknowledged = 0
        for number, acknowledged in enumerate(self._time):
            seen = group.has(number)
            if acknowledged < 0:
                unacknowledged += seen
            elif not seen and self._topic[number] in own:
                lost += 1
                self._note(
                    Fault(
                        acknowledged,
                        FaultKind.LOST,
                        group.name,
                        self._topics[self._topic[number]],
                        self._partition[number],
                        self._offset[number],
                    )
                )
        return GroupCount(
            group.name,
            group.processed,
            lost,
            group.repeated,
            group.out_of_order,
            len(group.keys_out_of_order),
            unacknowledged,
            group.beat.rhythm(),
        )

    def _note(self, fault: Fault) -> None:
        if fault.kind not in self._first or fault.time < self._first[fault.kind].time:
            self._first[fault.kind] = fault


class _GroupLedger:
    """What one group processed so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.processed = 0
        self.repeated = 0
        self.out_of_order = 0
        self.keys_out_of_order: set[tuple[str, str]] = set()
        self.beat = _Beat()
        self._waiting = 0  # acknowledged, and not processed yet
        self._waits_since = 0.0
        self._seen = bytearray()
        self._highest: dict[tuple[str, str], int] = {}

    def has(self, number: int) -> bool:
        return number < len(self._seen) and bool(self._seen[number])

    def acknowledged(self, number: int, moment: float) -> None:
        """There is one more message for this group, unless it was quicker than its producer's own log."""
        if not self.has(number):
            if not self._waiting:
                self._waits_since = moment
            self._waiting += 1

    def add(self, number: int, entry: Entry, *, waited: bool) -> FaultKind | None:
        """`waited`: it had been acknowledged before."""
        self.beat.add(entry, idle_until=self._waits_since if self._waiting else entry.time)
        if self.has(number):
            self.repeated += 1
            return FaultKind.REPEATED
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        self._seen[number] = 1
        self._waiting -= waited
        self.processed += 1
        key = (entry.record.topic, entry.record.key)
        if entry.record.seq < self._highest.get(key, entry.record.seq):
            self.out_of_order += 1
            self.keys_out_of_order.add(key)
            return FaultKind.OUT_OF_ORDER
        self._highest[key] = entry.record.seq
        return None


class _Beat:
    """The pauses between entries that come in order of time."""

    def __init__(self) -> None:
        self.count = 0
        self._by_servers: dict[str, int] = {}
        self._last: Entry | None = None
        self._longest = 0.0
        self._switch: float | None = None

    def add(self, entry: Entry, idle_until: float = 0.0) -> None:
        self.count += 1
        self._by_servers[entry.servers] = self._by_servers.get(entry.servers, 0) + 1
        if self._last is not None:
            self._longest = max(self._longest, entry.time - max(self._last.time, idle_until))
            if entry.servers != self._last.servers:
                self._switch = max(self._switch or 0.0, entry.time - self._last.time)
        self._last = entry

    def rhythm(self) -> Rhythm:
        last = self._last.servers if self._last else None
        return Rhythm(dict(self._by_servers), self._longest, self._switch, last)


class _Progress:
    """What is still to be processed, kept up to date with what the logs gained since the last look."""

    def __init__(self, directory: Path, readers: Readers) -> None:
        self._directory = directory
        self._readers = {group: frozenset(topics) for group, topics in readers.items()}
        self._places: dict[Path, int] = {}
        self._missing: dict[str, set[str]] = {group: set() for group in readers}
        # A reader may write down a message before its producer has written the acknowledgement.
        self._early: dict[str, set[str]] = {group: set() for group in readers}

    @property
    def outstanding(self) -> bool:
        return any(self._missing.values())

    def advance(self) -> bool:
        """Whether any log has grown."""
        grown = False
        for file in _files(self._directory):
            with file.open("rb") as log:
                log.seek(self._places.get(file, 0))
                text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            if whole:
                grown = True
                self._places[file] = self._places.get(file, 0) + len(whole)
                for line in whole.decode("utf-8").splitlines():
                    self._add(parse(line))
        return grown

    def _add(self, entry: Entry) -> None:
        if entry.kind is Kind.PRODUCED:
            for group, topics in self._readers.items():
                if entry.record.topic in topics:
                    _move(entry.record.id, self._early[group], self._missing[group])
        elif entry.who in self._readers:
            _move(entry.record.id, self._missing[entry.who], self._early[entry.who])


def _move(id_: str, answered: set[str], open_: set[str]) -> None:
    """Strike the message off where the other side has named it already, or keep it open until it does."""
    if id_ in answered:
        answered.remove(id_)
    else:
        open_.add(id_)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.tsv"))


def _entries(file: Path) -> Iterator[Entry]:
    with file.open(encoding="utf-8") as log:
        for number, line in enumerate(log, 1):
            if not line.endswith("\n"):
                return  # still being written
            try:
                yield parse(line)
            except ValueError as error:
                raise ValueError(f"{file}:{number} is no line of a witness log: {line!r}") from error


def _fault(entry: Entry, kind: FaultKind) -> Fault:
    record = entry.record
    return Fault(entry.time, kind, entry.who, record.topic, record.partition, record.offset)
