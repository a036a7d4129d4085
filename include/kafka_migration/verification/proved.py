"""What is known of copies that were compared before, so that the next look reads only what has come since.

It reaches no cluster. A topic that was made anew has other ids, and nothing that is remembered is true of it: whoever
uses this looks at the ids first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from kafka_migration.offsets import TopicPartition


@dataclass(frozen=True)
class Proved:
    """Of one partition and its copy: all that is visible before `origin` is there before `destination`, and no more.

    Counts from the range's start on: `equal` messages (of a compacted topic: keys), `repeated` of them once more, and
    how many are visible on either side.
    """

    origin: int
    destination: int
    equal: int
    repeated: int = 0
    origin_visible: int = 0
    destination_visible: int = 0

    def behind(self, before: Proved | None) -> Proved:
        """The same with what had been proved before, where this goes on from there."""
        if before is None:
            return self
        return Proved(
            self.origin,
            self.destination,
            before.equal + self.equal,
            before.repeated + self.repeated,
            before.origin_visible + self.origin_visible,
            before.destination_visible + self.destination_visible,
        )

    def to_json(self) -> list[int]:
        return list(astuple(self))

    @classmethod
    def from_json(cls, data: Sequence[int]) -> Proved:
        return cls(*data)


Known = Mapping[TopicPartition, Proved]


def furthest(several: Iterable[Known]) -> dict[TopicPartition, Proved]:
    """Of each partition what reaches furthest."""
    found: dict[TopicPartition, Proved] = {}
    for known in several:
        for tp, proved in known.items():
            if tp not in found or proved.origin > found[tp].origin:
                found[tp] = proved
    return found


def to_json(known: Known) -> dict[str, Any]:
    return {str(tp): proved.to_json() for tp, proved in sorted(known.items())}


def from_json(data: Mapping[str, Any]) -> dict[TopicPartition, Proved]:
    return {TopicPartition.parse(text): Proved.from_json(proved) for text, proved in data.items()}
