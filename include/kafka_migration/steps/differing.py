"""What a comparison found different, as tables of its step: the first messages by themselves, all of them by stretches.

It shows parts of keys and values, so that somebody can find the messages in his own records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka_migration.offsets import TopicPartition
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.verification.differences import ContentResult, Difference, Kind

_ROWS = 500  # of either table: a step's report is kept, and read by people


def tables(run: Run, results: Mapping[TopicPartition, ContentResult]) -> list[Table]:
    """None where nothing differs."""
    found = [result for _, result in sorted(results.items())]
    shown = [_row(difference) for result in found for difference in result.differences]
    stretches = [
        (str(result.partition), str(kind), str(_named_on(run, kind)), stretch.start, stretch.end, stretch.count)
        for result in found
        for kind, some in result.stretches.items()
        for stretch in some
    ]
    here, there = f"on the {run.leaving}", f"on the {run.heading}"
    columns = ("partition", "kind", "differs in", f"offset {here}", f"offset {there}", "digest of the key", here, there)
    return [
        *_table("The first differences", columns, shown),
        *_table(
            "Where the differences lie", ("partition", "kind", "offsets of the", "from", "up to", "messages"), stretches
        ),
    ]


def _named_on(run: Run, kind: Kind) -> str:
    return run.leaving if kind.on_origin else run.heading


def _row(d: Difference) -> tuple[Any, ...]:
    where = str(d.partition) if d.there is None else f"{d.partition}, there {d.there}"
    fields = ", ".join(d.fields) or None
    return (where, str(d.kind), fields, d.origin_offset, d.destination_offset, d.key, d.origin, d.destination)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[Table]:
    if not rows:
        return []
    more = f", {_ROWS} of {len(rows):,}" if len(rows) > _ROWS else ""
    return [Table(f"{title}{more}", columns, tuple(rows[:_ROWS]))]
