"""A pass: what one migration has recorded, from its seeds to its end, reused by every run until it has finished.

Seeds and cutover points are recorded once in a pass, so that a retry, a cleared task or a second run continues instead
of beginning anew. A finished migration run again stays in its pass and finds nothing to do; after a rollback has
finished, a migration opens the next one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kafka_migration.groups.drain import Proof
from kafka_migration.offsets import Offsets, TopicPartition, from_json, to_json
from kafka_migration.records import Records


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
    """One pass and what it has recorded. Every value is JSON under a key of its own."""

    def __init__(self, records: Records, number: int) -> None:
        self._records = records
        self.number = number

    # -- seeds and beginnings: written by the step that seeds, once

    @property
    def seeds(self) -> dict[str, dict[TopicPartition, int]]:
        """By group: the offset set on the target."""
        return _groups(self._get("seeds"))

    @seeds.setter
    def seeds(self, value: Mapping[str, Offsets]) -> None:
        self._set("seeds", {group: to_json(offsets) for group, offsets in value.items()})

    @property
    def begins(self) -> dict[str, dict[TopicPartition, int]]:
        """By group: from where it had still to read on the source when the pass began."""
        return _groups(self._get("begins"))

    @begins.setter
    def begins(self, value: Mapping[str, Offsets]) -> None:
        self._set("begins", {group: to_json(offsets) for group, offsets in value.items()})

    @property
    def uncommitted(self) -> dict[str, list[str]]:
        """By group: the partitions on which it had never committed when the pass began."""
        return self._get("uncommitted") or {}

    @uncommitted.setter
    def uncommitted(self, value: Mapping[str, list[str]]) -> None:
        self._set("uncommitted", dict(value))

    # -- cutover points, by stage

    def points(self, stage: str) -> list[CutoverPoint]:
        return [CutoverPoint.from_json(point) for point in self._get(f"cutover/{stage}") or ()]

    def freeze(self, stage: str, offsets: Offsets, run_id: str, now: float) -> CutoverPoint:
        """Record the next point of a stage; the former ones stay."""
        former = self.points(stage)
        point = CutoverPoint(len(former) + 1, now, run_id, dict(offsets))
        self._set(f"cutover/{stage}", [p.to_json() for p in (*former, point)])
        return point

    def latest_points(self, stages: Iterable[str]) -> dict[TopicPartition, int]:
        """The last frozen offset of every partition of these stages. KeyError for a stage without a point."""
        found: dict[TopicPartition, int] = {}
        for stage in stages:
            points = self.points(stage)
            if not points:
                raise KeyError(stage)
            found |= points[-1].offsets
        return found

    # -- services

    def leaving(self, service: str) -> bool:
        """Whether the service is about to leave the source, or has: its topics' points cannot be frozen anew."""
        return bool(self._get(f"leaving/{service}"))

    def set_leaving(self, service: str, leaving: bool) -> None:
        self._set(f"leaving/{service}", leaving)

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
        return self._records.get(f"pass/{self.number}/{key}")

    def _set(self, key: str, value: Any) -> None:
        self._records.set(f"pass/{self.number}/{key}", value)


def current_pass(records: Records) -> Pass:
    """The pass that a migration works in now: the last one, or the next if that was rolled back. Opens nothing."""
    number = int(records.get("pass") or 1)
    last = Pass(records, number)
    if last.finished and last.finished["purpose"] == "rollback":
        return Pass(records, number + 1)
    return last


def open_pass(records: Records) -> Pass:
    """The current pass, recorded as such."""
    current = current_pass(records)
    if records.get("pass") != current.number:
        records.set("pass", current.number)
    return current


def when(at: float | None = None) -> str:
    """A moment for people: UTC, to the second."""
    return datetime.fromtimestamp(time.time() if at is None else at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _groups(data: Mapping[str, Mapping[str, int]] | None) -> dict[str, dict[TopicPartition, int]]:
    return {group: from_json(offsets) for group, offsets in (data or {}).items()}


def some(items: Sequence[object], most: int = 5) -> str:
    """The first few of many, for a message."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(str(item) for item in items[:most]) + more
