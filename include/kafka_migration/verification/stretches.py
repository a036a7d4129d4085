"""Where very many messages differ: the stretches of offsets in which they lie, few enough to be read by a person.

They summarise: what lies between the ends of a stretch need not all differ, and its count tells how many do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

MOST = 20  # stretches of one kind that are kept of a partition; the last one is widened by whatever comes behind
_NEAR = 10  # offsets: nearer ones are one stretch, since markers and what nobody sees lie between neighbours


@dataclass(frozen=True)
class Stretch:
    """Of the offsets [start, end) so many differ: the first and the last of them, and `count` in all."""

    start: int
    end: int
    count: int

    def __str__(self) -> str:
        return f"{self.start:,} to {self.end:,}"

    def over(self, offset: int) -> Stretch:
        """The same with one more."""
        return Stretch(min(self.start, offset), max(self.end, offset + 1), self.count + 1)


def add(stretches: list[Stretch], offset: int) -> None:
    """One more that differs. They come in their order; one that does not widens the last stretch."""
    if stretches and (len(stretches) == MOST or offset < stretches[-1].end + _NEAR):
        stretches[-1] = stretches[-1].over(offset)
    else:
        stretches.append(Stretch(offset, offset + 1, 1))


def of(offsets: Iterable[int]) -> list[Stretch]:
    """The stretches of these offsets."""
    stretches: list[Stretch] = []
    for offset in sorted(offsets):
        add(stretches, offset)
    return stretches


def together(several: Iterable[Stretch]) -> list[Stretch]:
    """Those of several ranges; where they are too many, the last ones are one."""
    listed = sorted(several, key=lambda stretch: stretch.start)
    kept, rest = listed[: MOST - 1], listed[MOST - 1 :]
    if not rest:
        return kept
    return [*kept, Stretch(rest[0].start, max(s.end for s in rest), sum(s.count for s in rest))]


def without(stretches: Iterable[Stretch], offsets: Iterable[int]) -> list[Stretch]:
    """The same without some of what they count. Their ends stay, where nobody knows what else lies at them."""
    gone = sorted(offsets)
    left = [replace(s, count=s.count - sum(s.start <= at < s.end for at in gone)) for s in stretches]
    return [stretch for stretch in left if stretch.count]
