"""The two sides of a migration and how an address tells which of them a service uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """The two clusters of a plan."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> Side:
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


@dataclass(frozen=True)
class Addresses:
    """The bootstrap servers of both clusters, from their connections."""

    source: str
    target: str

    def of(self, side: Side) -> str:
        return self.source if side is Side.SOURCE else self.target

    def side_of(self, address: str | None) -> Side | None:
        """The side that an address belongs to: a service may name fewer, more or reordered servers of a cluster.

        None for an address of neither, and for one that names servers of both.
        """
        servers = _servers(address)
        found = [side for side in Side if servers & _servers(self.of(side))]
        return found[0] if len(found) == 1 else None


def _servers(address: str | None) -> frozenset[str]:
    """`host:port` of each server; Java clients also take it with the listener's name before it."""
    parts = (part.strip().lower() for part in (address or "").split(","))
    return frozenset(re.sub(r"^[a-z0-9_]*://", "", part) for part in parts if part)
