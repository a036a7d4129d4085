"""What every runner of a mirror can do, and what it tells. It decides nothing about the migration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from kafka_migration.findings import Finding
from kafka_migration.offsets import Offsets, TopicPartition
from kafka_migration.report import Change


@dataclass(frozen=True)
class Progress:
    """`state` in the runner's own word, `tasks` how many it has; `failures`: by task its trace.

    `positions`: by partition the offset of the origin that is copied next; partitions of which nothing is stored are
    absent.
    """

    state: str
    tasks: int
    failures: Mapping[str, str]
    positions: Mapping[TopicPartition, int]


class MirrorRunner(Protocol):
    """One mirror: topics of one cluster, copied to another. Every call can be repeated."""

    name: str
    syncs_topic: str
    """The topic on the destination that tells which offset was copied to which."""

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
