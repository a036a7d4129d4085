"""A share of what was copied, chosen by chance: blocks between offsets of which is known where their copies lie.

By its seed the same blocks are chosen again. It reaches no cluster.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from kafka_migration.verification.differences import RangePair

BLOCK = 10_000
"""Offsets of a block, at least; it ends with the next offset that is known on both sides."""

_DOUBT = 0.05


def blocks(pair: RangePair, known: Sequence[tuple[int, int]]) -> list[RangePair]:
    """The range of a partition in blocks. `known`: offsets of the origin and where their messages lie, rising."""
    edges = [(pair.origin_start, pair.destination_start)]
    for here, there in known:
        if here - edges[-1][0] >= BLOCK and pair.origin_end - here >= BLOCK and there > edges[-1][1]:
            edges.append((here, there))
    edges.append((pair.origin_end, pair.destination_end))
    return [
        replace(
            pair,
            origin_start=a[0],
            origin_end=b[0],
            destination_start=a[1],
            destination_end=b[1],
            open_ended=pair.open_ended and b == edges[-1],
            former_start=pair.former_start if a == edges[0] else None,
            copies_from=pair.origin_start,
            copies_to=pair.origin_end,
        )
        for a, b in pairwise(edges)
        if a[0] < b[0] or a[1] < b[1]
    ]


def choose(all_blocks: Sequence[RangePair], share: float, seed: int) -> list[RangePair]:
    """That share of the blocks, at least one."""
    count = min(len(all_blocks), max(1, math.ceil(share * len(all_blocks))))
    return [all_blocks[n] for n in sorted(random.Random(seed).sample(range(len(all_blocks)), count))]


def most_with_differences(total: int, chosen: int) -> int:
    """Of `total` blocks how many can hold a difference at most, with 95 % confidence, if `chosen` showed none.

    So many that with one more the chance to choose none of them would be below 5 % (hypergeometric: blocks are chosen
    without putting them back).
    """
    low, high = 0, total - chosen
    while low < high:
        middle = (low + high + 1) // 2
        if _chance_of_none(total, chosen, middle) >= _DOUBT:
            low = middle
        else:
            high = middle - 1
    return low


def _chance_of_none(total: int, chosen: int, damaged: int) -> float:
    """That none of `damaged` is among the chosen."""
    if damaged > total - chosen:
        return 0.0
    return math.exp(_ways(total - damaged, chosen) - _ways(total, chosen))


def _ways(n: int, k: int) -> float:
    """The logarithm of how many ways there are to choose k of n."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
