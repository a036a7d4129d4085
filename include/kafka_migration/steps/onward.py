"""How far every group has read on the target since it was moved: by offsets, and in exact numbers of messages.

What was counted before is not counted again. It changes nothing, and commits nothing for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kafka_migration.findings import Finding, Status
from kafka_migration.groups.commits import committed
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_several
from kafka_migration.passes import some
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.steps.common import goes_on_from
from kafka_migration.topics.describe import topic_names
from kafka_migration.topics.ids import topic_ids
from kafka_migration.verification.coverage import CoverageRow
from kafka_migration.visible import first_visible

_LOST = "it was made anew or truncated: what was written there since the migration is lost; the source has none of it"

Counts = Mapping[TopicPartition, tuple[Sequence[int], Sequence[int], bool]]
"""By partition: marks, the visible messages between neighbouring ones, and whether all was read."""


def progress(run: Run) -> tuple[Table, list[Finding]]:
    """Of every group and partition: where it went on, what it has committed, what is left. By offsets alone.

    Offsets are an upper bound of messages: markers of transactions and what compaction removed have some too. What was
    still unread when it was looked at last is remembered: by that is judged what has been deleted since.
    """
    cluster, current = run.clusters.target, run.current
    groups = [group for group, c in run.plan.groups.items() if c.offsets == "group"]
    began = {group: at for group in groups if (at := goes_on_from(current, group))}
    there = topic_names(cluster)
    gone = {tp.topic for at in began.values() for tp in at} - there
    began = {group: {tp: b for tp, b in at.items() if tp.topic in there} for group, at in began.items()}
    commits = committed(cluster, began)
    partitions = {tp for at in began.values() for tp in at}
    offsets = read_several(cluster, partitions, (Which.START, Which.END, Which.STABLE))
    reached = {g: {tp: commits[g].get(tp, begin) for tp, begin in at.items()} for g, at in began.items()}
    unread = _unread(run, reached, offsets) if run.level != "offsets" else {}
    before: Mapping[str, Mapping[str, Sequence[int | None]]] = run.records.get(_unread_key(run)) or {}
    rows, found = [], []
    for group, at in sorted(began.items()):
        told = _Told(group)
        for tp, begin in sorted(at.items()):
            start, end, commit = offsets[Which.START][tp], offsets[Which.END][tp], commits[group].get(tp)
            rows.append((group, str(tp), begin, commit, end, max(0, end - reached[group][tp])))
            told.judge(tp, begin, commit, (start, end), before.get(group, {}).get(str(tp)))
        found += told.findings(len(at))
    found += [
        Finding(
            f"group-onward/{topic}",
            Status.FAIL,
            "the topic is not on the target any more, and groups were moved to it",
            "every topic that was moved",
            "find out who has deleted it; what its groups had not read is lost to them",
        )
        for topic in sorted(gone)
    ]
    if unread and not any(f.stops for f in found):
        run.records.set(_unread_key(run), unread)
    columns = ("group", "partition", "went on at", "committed", "end", "offsets to read, at most")
    return Table("Groups on the target", columns, tuple(rows)), found


def counted(run: Run) -> list[CoverageRow]:
    """Every row that the migration has counted, as it was counted last."""
    first, last = run.current.note("coverage") or (), run.records.get(_coverage_key(run)) or ()
    known = {(row["topic"], row["partition"], row["group"]): row for row in (*first, *last)}
    return [CoverageRow(**row) for row in known.values()]


def remember(run: Run, rows: Sequence[CoverageRow]) -> None:
    """So the next look need not count it again; and the ids of the topics that were looked at."""
    run.records.set(_coverage_key(run), [row.to_json() for row in rows])
    run.records.set(_ids_key(run), topic_ids(run.clusters.target, {row.topic for row in rows}))


def cut(run: Run, rows: Sequence[CoverageRow]) -> list[Finding]:
    """A FAIL for each topic that was made anew on the target, or truncated, since it was counted last."""
    before: Mapping[str, str] = run.records.get(_ids_key(run)) or {}
    now = topic_ids(run.clusters.target, before)
    ends = {(row.topic, row.partition): row.destination_end for row in counted(run)}
    found = [
        Finding(
            f"target-cut/{topic}",
            Status.FAIL,
            f"has the id {now[topic]} on the target" if topic in now else "is not on the target",
            f"the topic that was looked at before, of id {known}",
            _LOST,
        )
        for topic, known in sorted(before.items())
        if now.get(topic) != known
    ]
    short = {(r.topic, r.partition): r for r in rows if r.destination_end < ends[r.topic, r.partition]}
    return found + [
        Finding(
            f"target-cut/{topic}/{number}",
            Status.FAIL,
            f"ends at {row.destination_end:,} on the target",
            f"at least {ends[topic, number]:,}, where it ended before",
            _LOST,
        )
        for (topic, number), row in sorted(short.items())
    ]


def rows_now(run: Run, counted: Sequence[CoverageRow]) -> tuple[list[CoverageRow], dict[TopicPartition, list[int]]]:
    """The rows that were counted before, with the target's offsets of now; and the marks between which to count.

    Of each row `counted_from` says from where on; counts are filled in by `reread`.
    """
    cluster = run.clusters.target
    there = topic_names(cluster)
    rows = [
        row for row in counted if row.topic in there
    ]  # one that is gone is told by `progress`, and stays remembered
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
        if goes_on and not row.destination_left:  # nothing is visible up to where it ended then
            from_ = max(from_, min(start, row.destination_end))
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


def _unread(
    run: Run, reached: Mapping[str, Mapping[TopicPartition, int]], offsets: Mapping[Which, Mapping[TopicPartition, int]]
) -> dict[str, dict[str, list[int | None]]]:
    """By group and partition: up to where was looked, and the first visible message that it has not read."""
    lowest: dict[TopicPartition, list[int]] = {}
    for at in reached.values():
        for tp, offset in at.items():
            lowest.setdefault(tp, []).append(max(offset, offsets[Which.START][tp]))
    found: dict[tuple[TopicPartition, int], int | None] = {}
    while lowest:  # a round for each group that stands elsewhere
        ranges = [OffsetRange(tp, spots.pop(), offsets[Which.STABLE][tp]) for tp, spots in lowest.items()]
        lowest = {tp: spots for tp, spots in lowest.items() if spots}
        wanted = [r for r in ranges if (r.partition, r.start) not in found]
        seen = first_visible(run.clusters.target, wanted)
        found |= {(r.partition, r.start): seen[r.partition].first for r in wanted}
    stable = offsets[Which.STABLE]
    return {
        group: {str(tp): [stable[tp], found[tp, max(at[tp], offsets[Which.START][tp])]] for tp in at}
        for group, at in reached.items()
    }


class _Told:
    """What is said of one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._lost: list[str] = []
        self._unknown: list[str] = []
        self._back: list[str] = []
        self._cut: list[str] = []
        self._nowhere: list[str] = []

    def judge(
        self,
        tp: TopicPartition,
        begin: int,
        commit: int | None,
        there: tuple[int, int],
        before: Sequence[int | None] | None,
    ) -> None:
        """`there`: start and end of the partition. `before`: what `_unread` said of it last."""
        start, end = there
        reached = begin if commit is None else commit
        if commit is None:
            self._nowhere.append(f"{tp}, where it was set to {begin:,}")
        if reached > end:
            self._cut.append(f"{tp} at {reached:,}, which ends at {end:,}")
        elif reached < start:
            deleted = f"offsets {reached:,} to {start:,} of {tp}"
            seen_to, unread = before if before else (None, None)
            if unread is not None and reached <= unread < start:
                self._lost.append(deleted)
            elif seen_to is None or unread is not None or seen_to < start:
                self._unknown.append(deleted)
        elif reached < begin:
            self._back.append(f"{tp} to {reached:,}, before {begin:,}")

    def findings(self, partitions: int) -> list[Finding]:
        group = f"group-onward/{self._group}"
        expected = "it reads everything on the target from where it went on"
        apart = "raise retention.ms there, and compare with the application's own records"
        found = []
        if self._cut:
            seen = f"has committed more than there is: {some(self._cut)}"
            found.append(Finding(group, Status.FAIL, seen, expected, _LOST))
        if self._lost:
            seen = f"deleted before it read them: {some(self._lost)}"
            found.append(Finding(group, Status.FAIL, seen, expected, f"they are lost to the group: {apart}"))
        if self._unknown:
            seen = f"deleted, and whether there was something to read nobody looked at before: {some(self._unknown)}"
            found.append(Finding(group, Status.INCONCLUSIVE, seen, expected, apart))
        if self._nowhere:
            seen = f"has no commit any more: {some(self._nowhere)}"
            told = "its offsets have expired or were deleted: set them again before it starts, or it starts anywhere"
            found.append(Finding(group, Status.WARN, seen, expected, told))
        if self._back:
            told = "whoever did so has it read messages again that it had read on the source"
            found.append(
                Finding(
                    f"group-set-back/{self._group}",
                    Status.WARN,
                    f"was set back: {some(self._back)}",
                    "it reads on from where it was moved to",
                    told,
                )
            )
        return found or [Finding(group, Status.PASS, f"reads on from where it was moved to, {partitions} partitions")]


def _coverage_key(run: Run) -> str:
    return f"verified/pass/{run.current.number}/coverage"


def _ids_key(run: Run) -> str:
    return f"verified/pass/{run.current.number}/ids"


def _unread_key(run: Run) -> str:
    return f"verified/pass/{run.current.number}/unread"
