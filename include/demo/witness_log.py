"""What a service writes down of itself: each message that was acknowledged to it, each that it processed.

One append-only file of tab-separated lines for each living instance of a service. Knows only the shape of a
line; what lines add up to is `demo.witness`.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO


class Kind(StrEnum):
    PRODUCED = "produced"
    PROCESSED = "processed"


@dataclass(frozen=True, slots=True)
class Record:
    """One message and where it lies."""

    topic: str
    partition: int
    offset: int
    key: str
    id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One message at one service. `who` is the producing service, or the group that processed it."""

    time: float
    kind: Kind
    who: str
    record: Record
    servers: str

    def line(self) -> str:
        r = self.record
        return (
            f"{self.time:.6f}\t{self.kind}\t{self.who}\t{r.topic}\t{r.partition}\t{r.offset}\t{r.key}\t{r.id}\t"
            f"{r.seq}\t{self.servers}\n"
        )


def parse(line: str) -> Entry:
    moment, kind, who, topic, partition, offset, key, id_, seq, servers = line.rstrip("\n").split("\t")
    record = Record(topic, int(partition), int(offset), key, id_, int(seq))
    return Entry(float(moment), Kind(kind), who, record, servers)


class WitnessLog:
    """A service's own file. What was written is with the operating system when a call returns.

    Two instances may be given the same path: who finds it held by a living process takes `NAME.2.tsv`, and so
    on, so that each file is in order of time by itself.
    """

    def __init__(self, path: Path, servers: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _first_free(path)
        self._servers = servers

    def produced(self, service: str, records: Iterable[Record]) -> None:
        self._write(Kind.PRODUCED, service, records)

    def processed(self, group: str, records: Iterable[Record]) -> None:
        self._write(Kind.PROCESSED, group, records)

    def _write(self, kind: Kind, who: str, records: Iterable[Record]) -> None:
        now = time.time()
        lines = "".join(Entry(now, kind, who, record, self._servers).line() for record in records)
        self._file.write(lines.encode())
        self._file.flush()


def _first_free(path: Path, number: int = 1) -> BinaryIO:
    """Opened, and held until this process ends."""
    file = (path if number == 1 else path.with_suffix(f".{number}{path.suffix}")).open("ab+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return _first_free(path, number + 1)
    _cut_torn_line(file)
    return file


def _cut_torn_line(file: BinaryIO) -> None:
    """What a killed predecessor had not finished writing is no line, and must not become part of the next one."""
    file.seek(0)
    whole = file.read().rfind(b"\n") + 1
    if whole < file.tell():
        file.truncate(whole)
