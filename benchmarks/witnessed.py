"""What the shop's own witness logs tell of a move: each service's pauses, when its groups read the target first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from demo.witness_log import Entry, Kind, parse


@dataclass(frozen=True)
class Pause:
    """The time between two neighbouring entries of one service, in seconds; `last` was before, `first` after it."""

    last: float
    first: float

    @property
    def seconds(self) -> float:
        return self.first - self.last


def entries(folder: Path) -> dict[str, list[Entry]]:
    """Every producing service's and every group's entries, in order of time."""
    found: dict[str, list[Entry]] = {}
    for file in sorted(folder.iterdir()):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    entry = parse(line)
                    found.setdefault(f"{entry.kind}:{entry.who}", []).append(entry)
    return {who: sorted(listed, key=lambda entry: entry.time) for who, listed in found.items()}


def switches(folder: Path, target: str) -> dict[str, Pause]:
    """For each producer and group the pause from its last entry elsewhere to its first on the target."""
    found = {}
    for who, listed in entries(folder).items():
        first = next((i for i, entry in enumerate(listed) if entry.servers == target), None)
        if first:
            found[who] = Pause(listed[first - 1].time, listed[first].time)
    return found


def longest(folder: Path, who: str, since: float) -> Pause:
    """The longest pause of one producer or group after that moment."""
    times = [entry.time for entry in entries(folder)[who] if entry.time >= since]
    return max((Pause(a, b) for a, b in pairwise(times)), key=lambda pause: pause.seconds)


def producers(pauses: Mapping[str, Pause]) -> dict[str, Pause]:
    return {who: p for who, p in pauses.items() if who.startswith(f"{Kind.PRODUCED}:")}


def groups(pauses: Mapping[str, Pause]) -> dict[str, Pause]:
    return {who: p for who, p in pauses.items() if who.startswith(f"{Kind.PROCESSED}:")}
