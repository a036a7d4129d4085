"""How far every group has read on the target since it was moved: by offsets, and in exact numbers of messages.

What was counted before is not counted again. It changes nothing, and commits nothing for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kafka_migration.findings import Finding, Status
from kafka_migration.groups.commits import committed
from kafka_migration.offsets import TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.steps.common import goes_on_from
from kafka_migration.topics.describe import topic_names
from kafka_migration.verification.coverage import CoverageRow

Counts = Mapping[TopicPartition, tuple[Sequence[int], Sequence[int], bool]]
"""By partition: marks, the visible messages between neighbouring ones, and whether all was read."""


def progress(run: Run) -> tuple[Table, list[Finding]]:
    """Of every group and partition: where it went on, what it has committed, what is left. By offsets alone.

    Offsets are an upper bound of messages: markers of transactions and what compaction removed have some too.
    """
    cluster, current = run.clusters.target, run.current
    groups = [group for group, c in run.plan.groups.items() if c.offsets == "group"]
    began = {group: at for group in groups if (at := _there(run, goes_on_from(current, group)))}
    commits = committed(cluster, began)
    offsets = read_several(cluster, {tp for at in began.values() for tp in at}, (Which.START, Which.END))
    rows, found = [], []
    for group, at in sorted(began.items()):
        lost, back = [], []
        for tp, begin in sorted(at.items()):
            commit, start, end = commits[group].get(tp), offsets[Which.START][tp], offsets[Which.END][tp]
            reached = begin if commit is None else commit
            rows.append((group, str(tp), begin, commit, end, max(0, end - reached)))
            if reached < start:
                lost.append(f"offsets {reached:,} to {start:,} of {tp}")
            elif reached < begin:
                back.append(f"{tp} to {reached:,}, before {begin:,}")
        found += _told(group, at, lost, back)
    columns = ("group", "partition", "went on at", "committed", "end", "offsets to read, at most")
    return Table("Groups on the target", columns, tuple(rows)), found


def rows_now(run: Run, counted: Sequence[CoverageRow]) -> tuple[list[CoverageRow], dict[TopicPartition, list[int]]]:
    """The rows that were counted before, with the target's offsets of now; and the marks between which to count.

    Of each row `counted_from` says from where on; counts are filled in by `reread`.
    """
    cluster = run.clusters.target
    there = topic_names(cluster)
    rows = [row for row in counted if row.topic in there]
    commits = committed(cluster, {row.group for row in rows})
    partitions = {TopicPartition(row.topic, row.partition) for row in rows}
    offsets = read_several(cluster, partitions, (Which.START, Which.STABLE))
    marks: dict[TopicPartition, set[int]] = {tp: set() for tp in partitions}
    now = []
    for row in rows:
        tp = TopicPartition(row.topic, row.partition)
        commit, start, end = commits[row.group].get(tp), offsets[Which.START][tp], offsets[Which.STABLE][tp]
        goes_on = not run.full and _goes_on(row, commit)
        from_ = row.destination_commit if goes_on and row.destination_commit is not None else row.seed
        new = replace(
            row,
            counted_from=from_,
            destination_commit=commit,
            destination_end=end,
            destination_log_start=start,
            destination_consumed=(row.destination_consumed or 0) if goes_on else 0,
        )
        now.append(new)
        low, read_to = _span(new)
        marks[tp] |= {low, read_to, max(end, read_to)}
    return now, {tp: sorted(found) for tp, found in marks.items() if len(found) > 1}


def reread(rows: Sequence[CoverageRow], counts: Counts) -> list[CoverageRow]:
    """The same rows with what was counted."""
    return [_reread(row, counts) for row in rows]


def _reread(row: CoverageRow, counts: Counts) -> CoverageRow:
    tp = TopicPartition(row.topic, row.partition)
    low, read_to = _span(row)
    read, unread = _between(counts, tp, low, read_to), _between(counts, tp, read_to, max(row.destination_end, read_to))
    before = row.destination_consumed or 0
    if read is None or unread is None:
        return replace(row, destination_consumed=None, destination_visible=None)
    return replace(
        row,
        destination_consumed=before + read,
        destination_left=unread,
        destination_visible=before + read + unread,
    )


def _between(counts: Counts, tp: TopicPartition, start: int, end: int) -> int | None:
    if start >= end:
        return 0
    marks, numbers, complete = counts[tp]
    if not complete:
        return None
    return sum(number for mark, number in zip(marks, numbers, strict=False) if start <= mark < end)


def _span(row: CoverageRow) -> tuple[int, int]:
    """From where on is counted, and up to where the group has read."""
    low = max(row.counts_from, row.destination_log_start)
    commit = row.destination_commit if row.destination_commit is not None else row.seed
    return low, max(low, commit)


def _goes_on(row: CoverageRow, commit: int | None) -> bool:
    """Whether the group has read on from where it was counted before; else it is counted from its seed on."""
    known = row.destination_commit
    return known is not None and known >= row.seed and commit is not None and commit >= known


def _there(run: Run, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    names = topic_names(run.clusters.target)
    return {tp: at for tp, at in offsets.items() if tp.topic in names}


def _told(group: str, at: Mapping[TopicPartition, int], lost: Sequence[str], back: Sequence[str]) -> list[Finding]:
    found = []
    if lost:
        found.append(
            Finding(
                f"group-onward/{group}",
                Status.FAIL,
                f"deleted before it read them: {some(lost)}",
                "it reads everything on the target from where it went on",
                "these messages are lost to the group: raise retention.ms there, and compare with the application's own"
                " records",
            )
        )
    if back:
        found.append(
            Finding(
                f"group-set-back/{group}",
                Status.WARN,
                f"was set back: {some(back)}",
                "it reads on from where it was moved to",
                "whoever did so has it read messages again that it had read on the source",
            )
        )
    return found or [
        Finding(f"group-onward/{group}", Status.PASS, f"reads on from where it was moved to, {len(at)} partitions")
    ]
