"""Coverage judged: the promises of a Great Expectations suite over one row per topic, partition and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka_migration.findings import Finding, Status
from kafka_migration.groups.drain import Drain
from kafka_migration.verification.coverage import CoverageRow
from kafka_migration.verification.suite import Rule, Suite, judge

_COUNTS = ("origin_visible", "destination_visible", "destination_consumed")
_READ = (Drain.DRAINED.value, Drain.AHEAD.value)
_NO_COMMIT = -1  # stands for a commit that is not there: below every offset, so that it fails where one is needed


def judge_coverage(rows: Sequence[CoverageRow], *, run_name: str, docs_folder: Path | None) -> list[Finding]:
    """One finding for each expectation that held, and one for each row on which one did not.

    No rows prove nothing: INCONCLUSIVE. The Data Docs of earlier runs in `docs_folder` stay beside this one's.
    """
    if not rows:
        return [
            Finding(
                "coverage-rows/all",
                Status.INCONCLUSIVE,
                "there is no topic, partition and group to prove anything of",
                "at least one row",
                "Name the consumer groups of the services in the plan: only their reading can prove it.",
            )
        ]
    return judge(COVERAGE, rows, run_name=run_name, docs_folder=docs_folder)


def _hole(row: CoverageRow) -> Status:
    """Deleted before it was read is a loss. Deleted since, or in between unseen, can no longer be told apart."""
    return Status.INCONCLUSIVE if row.origin_verdict in _READ else Status.FAIL


def _deleted(row: CoverageRow) -> Status:
    """The same at the destination: what lies below the log start and above the commit is gone unread for certain.

    Not in a later look: what lies there may be the marker of a transaction. What was seen there before tells.
    """
    read = row.destination_commit is not None and row.destination_commit >= row.destination_log_start
    return Status.INCONCLUSIVE if read or row.counted_from is not None else Status.FAIL


_RULES: tuple[Rule[CoverageRow], ...] = (
    Rule(
        "one-row",
        "one row for each topic, partition and group",
        "ExpectCompoundColumnsToBeUnique",
        {"column_list": ["topic", "partition", "group"]},
        lambda r: "more than one row",
        "Two services of the plan seem to share the group: the rows hide one another.",
    ),
    Rule(
        "counted",
        "every visible message was counted, on both clusters",
        "ExpectColumnValuesToBeInSet",
        {"column": "uncounted", "value_set": [""]},
        lambda r: f"{_uncounted(r)} could not be counted",
        "An open transaction ends the reading before the range does. Clear this task when it has ended.",
        lambda row: Status.INCONCLUSIVE,
    ),
    Rule(
        "origin-left",
        "no visible message is left unread before the cutover point of the cluster that is left",
        "ExpectColumnValuesToBeBetween",
        {"column": "origin_left", "min_value": 0, "max_value": 0},
        lambda r: (
            f"{r.origin_left:,} visible messages before the cutover point {r.cutover:,} were not read;"
            f" the group's commit is {_offset(r.origin_commit)}"
        ),
        "They are still there. Start a consumer of this group there until it has read them.",
    ),
    Rule(
        "origin-verdict",
        "the group has drained the cluster that it leaves, or is ahead of the cutover point",
        "ExpectColumnValuesToBeInSet",
        {"column": "origin_verdict", "value_set": list(_READ)},
        lambda r: f"{r.origin_verdict}, with commit {_offset(r.origin_commit)} of cutover point {r.cutover:,}",
        "Clear the drain of this service: it tells what holds the group up.",
    ),
    Rule(
        "no-hole",
        "the cluster that is left keeps everything from where the group began to read",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "begin", "column_B": "origin_log_start", "or_equal": True},
        lambda r: (
            f"offsets {r.begin:,} to {r.origin_log_start:,} have been deleted from it;"
            f" the group's commit is {_offset(r.origin_commit)}"
        ),
        "Whether the group had read them before they were deleted can no longer be counted. Its drain watched for"
        " that: see its log, and accept the finding if it had read past them in time.",
        _hole,
    ),
    Rule(
        "destination-seed",
        "the group reads the cluster that it goes to from its seed on",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "destination_commit", "column_B": "seed", "or_equal": True},
        lambda r: f"the group's commit there is {_offset(r.destination_commit)}, its seed was {r.seed:,}",
        "Stop the service, set the group to its seed again, start it: from the seed on nothing is missed.",
    ),
    Rule(
        "destination-kept",
        "the cluster that it goes to keeps everything from the seed on that was not counted before",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "counted_from", "column_B": "destination_log_start", "or_equal": True},
        lambda r: (
            f"offsets {r.counts_from:,} to {r.destination_log_start:,} have been deleted from it;"
            f" the group's commit there is {_offset(r.destination_commit)}"
        ),
        "Whether the group had read them before they were deleted can no longer be counted. Raise retention.ms"
        " there, and compare with the application's own records.",
        _deleted,
    ),
    Rule(
        "destination-sum",
        "what the group has read and has still to read where it goes is all that is visible there since its seed",
        "ExpectColumnValuesToBeBetween",
        {"column": "unaccounted", "min_value": 0, "max_value": 0},
        lambda r: (
            f"{_shown(r.destination_consumed)} read and {r.destination_left:,} to read"
            f" are not {_shown(r.destination_visible)}"
        ),
        "The counts contradict each other: clear this task to count again, and do not go on if it stays so.",
    ),
)


def _columns(row: CoverageRow) -> Mapping[str, Any]:
    """The row, with what the suite compares computed beforehand."""
    return {
        **row.to_json(),
        "counted_from": row.counts_from,
        "destination_commit": _NO_COMMIT if row.destination_commit is None else row.destination_commit,
        "uncounted": _uncounted(row),
        "unaccounted": None
        if row.destination_visible is None or row.destination_consumed is None
        else row.destination_visible - row.destination_consumed - row.destination_left,
    }


def _uncounted(row: CoverageRow) -> str:
    return ", ".join(name for name in _COUNTS if getattr(row, name) is None)


def _offset(commit: int | None) -> str:
    return "none" if commit is None else f"{commit:,}"


def _shown(count: int | None) -> str:
    return "uncounted" if count is None else f"{count:,}"


COVERAGE = Suite("coverage", ("topic", "partition", "group"), _columns, _RULES)
