"""Rewinds: where a mirror that copies at least once was killed, and has copied again what it had copied before.

MirrorMaker tells it in its offset syncs: behind a sync for one message comes one for an earlier message, further on
(measured). One that is killed before it has told anything shows only by more copies between two syncs than the origin
has offsets there (seen as well). Mirrors that copy exactly once have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kafka_migration.mirror.anchors import Pair


@dataclass(frozen=True)
class Rewind:
    """From `up` of the origin on it was copied again, to `down` of the destination on.

    `again`: how many messages that was at most; what lies between two offset syncs may be counted too much.
    """

    up: int
    down: int
    again: int


def rewinds(start: Pair, syncs: Iterable[Pair]) -> list[Rewind]:
    """`start`: from where was copied, and onto where; `syncs` in the order in which they were written."""
    told = [start]
    found = []
    for up, down in syncs:
        if up < start[0] or down <= told[-1][1]:  # of another range, or of a task that outlived the next one's start
            continue
        if told[-1][0] >= up or down - told[-1][1] > up - told[-1][0]:
            before = [pair for pair in told if pair[0] <= up]
            found.append(Rewind(up, down, down - before[-1][1]))
            told = [pair for pair in told if pair[0] < up]
        told.append((up, down))
    return found
