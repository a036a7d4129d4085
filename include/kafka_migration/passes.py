"""A pass: what one migration has recorded, from its seeds to its end, reused by every run until it has finished.

Seeds and cutover points are recorded once in a pass, so that a retry, a cleared task or a second run continues instead
of beginning anew. A finished migration run again stays in its pass and finds nothing to do; after a rollback has
finished, a migration opens the next one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kafka_migration.groups.drain import Proof
from kafka_migration.offsets import Offsets, TopicPartition, from_json, to_json
from kafka_migration.records import Records
from kafka_migration.sides import Side

if TYPE_CHECKING:
    from kafka_migration.plan.model import Plan


@dataclass(frozen=True)
class CutoverPoint:
    """The end offsets of a stage's topics, frozen. `number` counts up when stragglers made it be frozen anew."""

    number: int
    at: float
    run_id: str
    offsets: Offsets

    def to_json(self) -> dict[str, Any]:
        return {"number": self.number, "at": self.at, "run_id": self.run_id, "offsets": to_json(self.offsets)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CutoverPoint:
        return cls(data["number"], data["at"], data["run_id"], from_json(data["offsets"]))


class Pass:
    """One pass and what it has recorded, or of a rollback its way back. Every value is JSON under a key of its own."""

    def __init__(self, records: Records, number: int, heading: Side = Side.TARGET) -> None:
        self._records = records
        self._place = f"pass/{number}/" + ("back/" if heading is Side.SOURCE else "")
        self.number = number

    # -- seeds and beginnings: written by the step that seeds, once

    @property
    def seeds(self) -> Mapping[str, dict[TopicPartition, int]]:
        """By group: the offset set on the target."""
        return _ByGroup(self._get("seeds") or {})

    def keep_seeds(self, value: Mapping[str, Offsets]) -> None:
        self._set("seeds", {group: to_json(offsets) for group, offsets in value.items()})

    @property
    def begins(self) -> Mapping[str, dict[TopicPartition, int]]:
        """By group: from where it had still to read on the source when the pass began."""
        return _ByGroup(self._get("begins") or {})

    def keep_begins(self, value: Mapping[str, Offsets]) -> None:
        self._set("begins", {group: to_json(offsets) for group, offsets in value.items()})

    @property
    def uncommitted(self) -> dict[str, list[str]]:
        """By group: the partitions on which it had never committed when the pass began."""
        return self._get("uncommitted") or {}

    def keep_uncommitted(self, value: Mapping[str, list[str]]) -> None:
        self._set("uncommitted", dict(value))

    # -- cutover points, by stage

    def points(self, stage: str) -> list[CutoverPoint]:
        return [CutoverPoint.from_json(point) for point in self._get(f"cutover/{stage}") or ()]

    def frozen_at(self, stage: str) -> float | None:
        """When the latest cutover point of a stage was frozen; None where it has none."""
        kept = self._get(f"cutover/{stage}")
        return kept[-1]["at"] if kept else None

    def freeze(self, stage: str, offsets: Offsets, run_id: str, now: float) -> CutoverPoint:
        """Record the next point of a stage; the former ones stay."""
        former = self.points(stage)
        point = CutoverPoint(len(former) + 1, now, run_id, dict(offsets))
        self._set(f"cutover/{stage}", [p.to_json() for p in (*former, point)])
        return point

    def latest_points(self, stages: Iterable[str], topics: Collection[str] | None = None) -> dict[TopicPartition, int]:
        """The last frozen offset of every partition of these stages, or of these topics of them.

        KeyError for a stage without a point.
        """
        found: dict[TopicPartition, int] = {}
        for stage in stages:
            kept = self._get(f"cutover/{stage}")
            if not kept:
                raise KeyError(stage)
            offsets = kept[-1]["offsets"]
            if topics is not None:
                offsets = {text: at for text, at in offsets.items() if text.rpartition("/")[0] in topics}
            found |= from_json(offsets)
        return found

    # -- services

    def leaving(self, service: str) -> bool:
        """Whether the service is about to leave the source, or has: its topics' points cannot be frozen anew."""
        return self.leaving_since(service) is not None

    def leaving_since(self, service: str) -> float | None:
        """When it was first about to be stopped, or None."""
        since: float | None = self._get(f"leaving/{service}")
        return since

    def set_leaving(self, service: str, now: float) -> None:
        """It is about to be stopped; when that was first so stays on record."""
        if not self.leaving(service):
            self._set(f"leaving/{service}", now)

    def set_staying(self, service: str) -> None:
        """It has not been stopped after all."""
        self._set(f"leaving/{service}", None)

    def switched(self, service: str) -> Mapping[str, Any] | None:
        """When and by which run the service was switched, or None."""
        found: Mapping[str, Any] | None = self._get(f"switched/{service}")
        return found

    def set_switched(self, service: str, run_id: str, now: float) -> None:
        self._set(f"switched/{service}", {"run_id": run_id, "at": now})

    def drained(self, service: str) -> dict[str, Proof]:
        """By group: what was found to be drained, and before which points."""
        return {group: Proof.from_json(proof) for group, proof in (self._get(f"drained/{service}") or {}).items()}

    def set_drained(self, service: str, proofs: Mapping[str, Proof]) -> None:
        self._set(f"drained/{service}", {group: proof.to_json() for group, proof in proofs.items()})

    # -- how long each group had nothing to read: from when it had nothing left where it was, to when it read again

    def set_idle(self, group: str, since: float) -> float | None:
        """Record that the group had nothing left since then; its pause, once both ends of it are known."""
        return self._pause(group, "idle", since)

    def idle_since(self, group: str) -> float | None:
        """From when on the group had nothing left to read where it was, or None."""
        since: float | None = (self._get(f"pause/{group}") or {}).get("idle")
        return since

    def set_reading(self, group: str, since: float) -> float | None:
        """Record that the group was seen to read where it goes; its pause, once both ends of it are known."""
        return self._pause(group, "reading", since)

    def _pause(self, group: str, end: str, at: float) -> float | None:
        key = f"pause/{group}"
        known: dict[str, float] = {end: at, **(self._get(key) or {})}
        self._set(key, known)
        return max(0.0, known["reading"] - known["idle"]) if len(known) == 2 else None

    # -- the rest

    def note(self, key: str) -> Any:
        """Any other value that a step kept under `key`."""
        return self._get(key)

    def note_offsets(self, key: str) -> dict[TopicPartition, int]:
        """Offsets that a step kept under `key`."""
        return from_json(self._get(key) or {})

    def keep(self, key: str, value: Any) -> None:
        self._set(key, value)

    @property
    def finished(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self._get("finished")
        return found

    def finish(self, purpose: str, run_id: str, now: float) -> None:
        """The migration (or the rollback) of this pass has ended with PASS."""
        self._set("finished", {"purpose": purpose, "run_id": run_id, "at": now})

    def _get(self, key: str) -> Any:
        return self._records.get(f"{self._place}{key}")

    def _set(self, key: str, value: Any) -> None:
        self._records.set(f"{self._place}{key}", value)


class WayBack(Pass):
    """The way of a pass back to the source. What the way there has recorded, seen from the other side.

    A group goes on at the source where it left it, the cutover point; one that never left has read there since the pass
    began. On the target it has to read from its seed on. So nothing is chosen anew.
    """

    def __init__(self, records: Records, number: int, plan: Plan, stages: Iterable[str]) -> None:
        super().__init__(records, number, Side.SOURCE)
        self._there = Pass(records, number)
        self._plan = plan
        self._stages = tuple(stages)

    @property
    def stays(self) -> frozenset[str]:
        """The services that run on the source and do not leave it for this rollback."""
        return frozenset(super().note("stays") or ())

    @property
    def seeds(self) -> Mapping[str, dict[TopicPartition, int]]:
        points = self._points_there()
        stayed = {group for name in self.stays for group in self._plan.service(name).groups}
        seeded = self._there.seeds
        return {
            group: dict(begins) if group in stayed else {tp: points.get(tp, begin) for tp, begin in begins.items()}
            for group, begins in self._there.begins.items()
            if group in seeded
        }

    @property
    def begins(self) -> Mapping[str, dict[TopicPartition, int]]:
        starts, seeds = self._there.note_offsets("target_starts"), self._there.seeds
        return {
            group: {tp: seeds.get(group, {}).get(tp, starts.get(tp, 0)) for tp in begins}
            for group, begins in self._there.begins.items()
        }

    def note(self, key: str) -> Any:
        return self._there.note(key) if key == "topics" else super().note(key)

    def note_offsets(self, key: str) -> dict[TopicPartition, int]:
        return self._points_there() if key == "target_starts" else super().note_offsets(key)

    def _points_there(self) -> dict[TopicPartition, int]:
        return self._there.latest_points(stage for stage in self._stages if self._there.frozen_at(stage) is not None)


def current_pass(records: Records) -> Pass:
    """The pass that a migration works in now: the last one, or the next if that was rolled back. Opens nothing."""
    last = last_pass(records)
    if last.finished and last.finished["purpose"] in ("rollback", "failback"):
        return Pass(records, last.number + 1)
    return last


def last_pass(records: Records) -> Pass:
    """The pass that was opened last: the one that a rollback takes back."""
    return Pass(records, int(records.get("pass") or 1))


def open_pass(records: Records) -> Pass:
    """The current pass, recorded as such."""
    current = current_pass(records)
    if records.get("pass") != current.number:
        records.set("pass", current.number)
    return current


def when(at: float | None = None) -> str:
    """A moment for people: UTC, to the second."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class _ByGroup(Mapping[str, dict[TopicPartition, int]]):
    """Recorded offsets by group. Each is read when it is asked for: a task of one service needs few of very many."""

    def __init__(self, data: Mapping[str, Mapping[str, int]]) -> None:
        self._data = data
        self._read: dict[str, dict[TopicPartition, int]] = {}

    def __getitem__(self, group: str) -> dict[TopicPartition, int]:
        if group not in self._read:
            self._read[group] = from_json(self._data[group])
        return self._read[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


def some(items: Sequence[object], most: int = 5) -> str:
    """The first few of many, for a message."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(str(item) for item in items[:most]) + more
