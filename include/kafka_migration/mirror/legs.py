"""Legs: what a plan's mirrors have copied, one range after the other, there and back.

They are kept for the whole plan and not for one pass: a later leg begins where an earlier one ended, and a group that
has not read for long may stand in the range of an early one. The ends of a leg are anchors as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kafka_migration.mirror.anchors import Pair
from kafka_migration.offsets import Offsets, TopicPartition, from_json, to_json
from kafka_migration.records import Records
from kafka_migration.sides import Side

_KEY = "mirror/legs"


@dataclass(frozen=True)
class Leg:
    """One range of each partition, copied to `heading`.

    `begin`: the offset of the origin from which on it was copied; `onto`: where the destination ended then. `end`: the
    cutover point of the origin; `image`: where the destination ended when everything before it had been copied; None
    until then. `syncs_from`: where the topic of offset syncs ended when the leg began. `ids`: by side the id of each
    topic when copying of it began.
    """

    number: int
    heading: Side
    begin: Offsets
    onto: Offsets
    end: Offsets | None = None
    image: Offsets | None = None
    syncs_from: int = 0
    ids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.image is not None

    def starts_next(self, heading: Side) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Where the next leg begins, and onto what: behind this one, seen from where that one copies."""
        end, image = dict(self.end or {}), dict(self.image or {})
        return (end, image) if heading is self.heading else (image, end)

    def pairs(self) -> dict[TopicPartition, list[Pair]]:
        """Its ends as pairs of offsets, those of the source first."""
        found: dict[TopicPartition, list[Pair]] = {}
        for one, other in ((self.begin, self.onto), (self.end or {}, self.image or {})):
            for tp, offset in one.items():
                pair = (offset, other[tp]) if self.heading is Side.TARGET else (other[tp], offset)
                found.setdefault(tp, []).append(pair)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "heading": self.heading.value,
            "begin": to_json(self.begin),
            "onto": to_json(self.onto),
            "end": None if self.end is None else to_json(self.end),
            "image": None if self.image is None else to_json(self.image),
            "syncs_from": self.syncs_from,
            "ids": {side: dict(ids) for side, ids in self.ids.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Leg:
        return cls(
            data["number"],
            Side(data["heading"]),
            from_json(data["begin"]),
            from_json(data["onto"]),
            None if data["end"] is None else from_json(data["end"]),
            None if data["image"] is None else from_json(data["image"]),
            data["syncs_from"],
            data.get("ids", {}),
        )


class Legs:
    """All legs of a plan, in the order in which they were copied."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def all(self) -> list[Leg]:
        return [Leg.from_json(one) for one in self._records.get(_KEY) or ()]

    def last(self) -> Leg | None:
        return next(reversed(self.all()), None)

    def keep(self, leg: Leg) -> Leg:
        """Record it: a new one, or what has become known of one."""
        known = self.all()
        known[leg.number : leg.number + 1] = [leg]
        self._records.set(_KEY, [one.to_json() for one in known])
        return leg

    def add(self, leg: Leg, begin: Offsets, onto: Offsets, ids: Mapping[str, Mapping[str, str]]) -> Leg:
        """With partitions that came since it began, and the ids of those topics that came."""
        leg = self.all()[leg.number]  # as it is now: another run may have added, or ended it
        known = {side: {**told, **leg.ids.get(side, {})} for side, told in ids.items()}
        if leg.ended:
            return leg
        return self.keep(replace(leg, begin={**begin, **leg.begin}, onto={**onto, **leg.onto}, ids=known))


def without(leg: Leg, topics: Collection[str]) -> Leg:
    """The same without these topics."""

    def rest(offsets: Offsets) -> dict[TopicPartition, int]:
        return {tp: at for tp, at in offsets.items() if tp.topic not in topics}

    return replace(
        leg,
        begin=rest(leg.begin),
        onto=rest(leg.onto),
        end=None if leg.end is None else rest(leg.end),
        image=None if leg.image is None else rest(leg.image),
        ids={side: {name: id_ for name, id_ in ids.items() if name not in topics} for side, ids in leg.ids.items()},
    )


def brought_home(records: Records) -> dict[TopicPartition, int]:
    """By partition of the target: up to where the last rollback has copied it to the source."""
    last = Legs(records).last()
    return dict(last.end or {}) if last is not None and last.ended and last.heading is Side.SOURCE else {}


def rising(pairs: Iterable[Pair]) -> list[Pair]:
    """Of syncs in the order in which they were written those that count: after a rewind the later copy does."""
    found: list[Pair] = []
    for up, down in pairs:
        while found and found[-1][0] >= up:
            found.pop()
        found.append((up, down))
    return found


def swapped(pairs: Iterable[Pair]) -> list[Pair]:
    """The same, seen from the other side."""
    return [(down, up) for up, down in pairs]
