"""What comparing one partition needs, in whichever way: how far both sides have been read, and when to stop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from kafka_migration.verification.differences import ContentResult, RangePair

ORIGIN, DESTINATION = 0, 1


class Comparison(ABC):
    """One partition. Feed both sides while they are wanted, tell how far each has been read, advance.

    Either side may be fed and told by a thread of its own; whoever advances waits for both.
    """

    def __init__(self, pair: RangePair) -> None:
        head = "" if pair.former_start is None else f"offsets {pair.former_start:,} to {pair.origin_start:,}"
        self.found = ContentResult(pair.partition, by_key=pair.by_key, head=head)
        self.found.destination_read = pair.destination_start
        self._left = [
            max(0, pair.origin_end - pair.origin_start),
            max(0, pair.destination_end - pair.destination_start),
        ]

    def wants(self, side: int) -> bool:
        """Whether more of a side should be read."""
        return self._left[side] > 0 and self.found.complete

    @property
    def unfinished(self) -> bool:
        """Whether something of either range has not been read, or not been compared."""
        return self.found.complete and any(self._left)

    def read_up_to(self, side: int, left: int) -> None:
        """That many offsets of a side are left to read."""
        self._left[side] = left

    def cut_short(self, side: int) -> None:
        """An open transaction is in the way. What comes behind it may make up for everything that is missing now."""
        if side == ORIGIN:
            self.found.origin_complete = False
        else:
            self.found.destination_complete = False

    def feed(self, side: int, messages: Sequence[Any], told: Sequence[bytes]) -> None:
        """The next visible messages of a side, with their digests."""
        if side == ORIGIN:
            self.found.origin_visible += len(messages)
        else:
            self.found.destination_visible += len(messages)

    @abstractmethod
    def advance(self) -> None:
        """Compare what can be compared of what was fed."""
