"""Seconds to compute and prove where 100 groups go on in 100 partitions: 10,000 positions, copied by a real mirror.

Three cases: every group has read everything; every group is little behind; every group is anywhere, so that everything
has to be read. What is timed is what the step does once commits rest: reading the offset syncs, then
mapping and proving every position. A position that is not proved ends the benchmark.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed
from benchmarks.pair import Pair, check_count, two_clusters
from benchmarks.whole_copy import WholeCopy
from kafka_migration.mirror.anchors import Anchors
from kafka_migration.mirror.handover import Position, map_positions
from kafka_migration.mirror.rest import Connect

_LITTLE = 1_000  # messages: about a window, as far as two offset syncs lie apart


@dataclass(frozen=True)
class Sizes:
    """How many groups, each on all partitions, and how many messages in all."""

    groups: int = 100
    partitions: int = 100
    messages: int = 1_000_000


@dataclass(frozen=True)
class Measured:
    """One case: positions mapped, in how many seconds, and how often each verdict was given."""

    case: str
    positions: int
    seconds: float
    verdicts: Mapping[str, int]


def run(console: Console, scale: float = 1.0) -> None:
    sizes = Sizes(messages=max(Sizes.partitions, int(Sizes.messages * scale)))
    with two_clusters() as pair, pair.worker() as connect:
        found = measure(pair, connect, sizes)
    title = f"{sizes.groups} groups, {sizes.partitions} partitions, {sizes.messages:,} messages of 100 bytes"
    table = Table("every group stands", "positions", "seconds", "positions/s", "verdicts", title=title)
    for one in found:
        told = ", ".join(f"{count:,} {verdict}" for verdict, count in one.verdicts.items())
        rate = f"{one.positions / one.seconds:,.0f}"
        table.add_row(one.case, f"{one.positions:,}", f"{one.seconds:.1f}", rate, told)
    console.print(table)


def measure(pair: Pair, connect: Connect, sizes: Sizes) -> list[Measured]:
    with (
        pair.topic("handed-over", sizes.partitions, sizes.messages) as partitions,
        WholeCopy(pair, connect, partitions) as copy,
    ):
        copy.start()
        copy.finish()
        check_count(pair.target, partitions, sizes.messages)
        return [_mapped(case, copy, sizes.groups, stands) for case, stands in _cases().items()]


Stands = Callable[[Anchors], int]


def _cases() -> dict[str, Stands]:
    """By name, where on the source a group stands in a partition of which these anchors are known."""
    chance = random.Random(7)
    return {
        "at the end": lambda known: known.pairs[-1][0],
        f"in the last {_LITTLE:,}": lambda known: (
            known.pairs[-1][0] - 1 - chance.randrange(min(_LITTLE, known.pairs[-1][0]))
        ),
        "anywhere": lambda known: chance.randrange(known.pairs[-1][0]),
    }


def _mapped(case: str, copy: WholeCopy, groups: int, stands: Stands) -> Measured:
    known = copy.anchors()
    positions = [Position(f"group-{n}", tp, stands(known[tp])) for n in range(groups) for tp in copy.partitions]
    began = time.monotonic()
    mapped = map_positions(copy.pair.source, copy.pair.target, copy.anchors(), positions)
    seconds = time.monotonic() - began
    unproved = next((one for one in mapped if not one.proved), None)
    if unproved is not None:
        raise BenchmarkFailed(f"a position is not proved: {unproved}")
    return Measured(case, len(mapped), seconds, Counter(one.verdict.value for one in mapped))
