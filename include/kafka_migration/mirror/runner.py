"""What every runner of a mirror can do, and what it tells. It decides nothing about the migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from kafka_migration.findings import Finding
from kafka_migration.offsets import Offsets, TopicPartition
from kafka_migration.report import Change


@dataclass(frozen=True)
class Progress:
    """`state` in the runner's own word (None: it tells none), `tasks` how many it has; `failures`: by task its trace.

    `positions`: by partition the offset of the origin that is copied next; partitions of which nothing is stored are
    absent.
    """

    state: str | None
    tasks: int
    failures: Mapping[str, str]
    positions: Mapping[TopicPartition, int]


@dataclass(frozen=True)
class Watched:
    """By what a mirror is found again by a look, which has no plan. `alias`: of the cluster that it copies from."""

    kind: Literal["connect", "dedicated"]
    name: str
    alias: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class MirrorRunner(Protocol):
    """One mirror: topics of one cluster, copied to another. Every call can be repeated."""

    name: str
    syncs_topic: str
    """The topic that tells which offset was copied to which: on the destination, of mirrors both ways on the target."""

    @property
    def watched(self) -> Watched:
        """By what a look finds it."""

    def copy_of(self, topic: str) -> str:
        """What the topic is called on the cluster that it is copied to."""

    def check(self) -> list[Finding]:
        """What would keep it from copying as it must; changes nothing."""

    def create(self, begins: Offsets) -> list[Change]:
        """Make it, stopped, so that it copies from these offsets on. Where it is there, only add what is missing."""

    def resume(self) -> None:
        """Let it copy."""

    def stop(self) -> None:
        """Stop it; when this returns nothing is copied any more. Raises `MirrorError` when it goes on."""

    def state(self) -> str:
        """Its state in the runner's own word."""

    def restart_failed(self) -> list[str]:
        """Start again what has failed; what that was."""

    def remove(self) -> None:
        """Forget it and how far it has come."""


def to_set(begins: Offsets, known: Offsets) -> dict[TopicPartition, int]:
    """Where a mirror must be told to begin: it is set forward where a new range begins, and never wound back."""
    return {tp: begin for tp, begin in begins.items() if begin > known.get(tp, 0)}
