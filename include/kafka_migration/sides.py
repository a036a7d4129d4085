"""The two sides of a migration and how an address tells which of them a service uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """The two clusters of a plan."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True)
class Addresses:
    """The bootstrap servers of both clusters, from their connections."""

    source: str
    target: str

    def of(self, side: Side) -> str:
        return self.source if side is Side.SOURCE else self.target

    def side_of(self, address: str | None) -> Side | None:
        """The side that an address belongs to: a service may name fewer, more or reordered servers of a cluster."""
        servers = _servers(address)
        for side in Side:
            if servers and servers & _servers(self.of(side)):
                return side
        return None


def _servers(address: str | None) -> set[str]:
    return {part.strip().lower().removeprefix("//") for part in (address or "").split(",") if part.strip()}
