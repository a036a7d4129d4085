"""Compared copies judged: the promises of a Great Expectations suite over one row per partition.

Beside `judge_content`, which names the first messages that differ, it judges the counts: that both sides hold as many
messages, that no kind of difference occurs, and that what was counted adds up. Of what could not be read whole nothing
is claimed here: `judge_content` says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from kafka_migration.findings import Finding, Status
from kafka_migration.verification.differences import ContentResult, Kind
from kafka_migration.verification.suite import Rule, Suite, judge


@dataclass(frozen=True)
class ContentRow:
    """What comparing one partition showed, in counts of visible messages. None: it was not read, so it is not known.

    `surplus`: how many more the destination holds. `origin_unaccounted`, `destination_unaccounted`: visible there, and
    neither equal nor told as a difference. The three are None of a compacted topic, whose sides may hold different
    former messages of a key. `may_repeat`: the plan says that messages may be there more than once.
    """

    topic: str
    partition: int
    origin_visible: int | None
    destination_visible: int | None
    equal: int | None
    missing: int | None
    extra: int | None
    repeated: int | None
    altered: int | None
    misplaced: int | None
    surplus: int | None
    origin_unaccounted: int | None
    destination_unaccounted: int | None
    may_repeat: bool

    @classmethod
    def of(cls, result: ContentResult, may_repeat: bool = False) -> ContentRow:
        def known(count: int) -> int | None:
            return count if result.complete else None

        def found(kind: Kind) -> int | None:
            # What was found before an open transaction is there; that there is none is known only at the end.
            return result.counts[kind] or known(0)

        def in_order(count: int) -> int | None:
            return None if result.by_key else known(count)

        both = result.equal + result.counts[Kind.ALTERED] + result.counts[Kind.MISPLACED]
        added = result.counts[Kind.EXTRA] + result.counts[Kind.REPEATED]
        return cls(
            topic=result.partition.topic,
            partition=result.partition.partition,
            origin_visible=known(result.origin_visible),
            destination_visible=known(result.destination_visible),
            equal=known(result.equal),
            missing=found(Kind.MISSING),
            extra=found(Kind.EXTRA),
            repeated=found(Kind.REPEATED),
            altered=found(Kind.ALTERED),
            misplaced=found(Kind.MISPLACED),
            surplus=in_order(result.destination_visible - result.origin_visible),
            origin_unaccounted=in_order(result.origin_visible - both - result.counts[Kind.MISSING]),
            destination_unaccounted=in_order(result.destination_visible - both - added),
            may_repeat=may_repeat,
        )


def judge_counts(
    results: Iterable[ContentResult], *, at_least_once: bool, run_name: str, docs_folder: Path | None
) -> list[Finding]:
    """One finding for each expectation that held, and one for each partition on which one did not.

    `at_least_once`: messages that are only repeated are a WARN.
    """
    rows = [ContentRow.of(result, at_least_once) for result in results]
    return judge(CONTENT, rows, run_name=run_name, docs_folder=docs_folder) if rows else []


def _repeats(row: ContentRow) -> Status:
    return Status.WARN if row.may_repeat else Status.FAIL


def _surplus(row: ContentRow) -> Status:
    return _repeats(row) if row.surplus == row.repeated else Status.FAIL


_NONE = {"min_value": 0, "max_value": 0}
_BETWEEN = "ExpectColumnValuesToBeBetween"
_NAMED = "The finding `content` of this topic names the first of them, and what to do."
_CONTRADICTION = "The counts contradict each other: clear this task to compare again, and do not go on if it stays so."

CONTENT: Suite[ContentRow] = Suite(
    "content",
    ("topic", "partition"),
    asdict,
    (
        Rule(
            "one-row",
            "one row for each partition",
            "ExpectCompoundColumnsToBeUnique",
            {"column_list": ["topic", "partition"]},
            lambda r: "more than one row",
            _CONTRADICTION,
        ),
        Rule(
            "missing",
            "every message of the cluster that is left is on the one that services go to",
            _BETWEEN,
            {"column": "missing", **_NONE},
            lambda r: f"{r.missing:,} messages are missing",
            _NAMED,
        ),
        Rule(
            "extra",
            "the cluster that services go to holds no message that the other has not",
            _BETWEEN,
            {"column": "extra", **_NONE},
            lambda r: f"{r.extra:,} messages are there that are on no other cluster",
            _NAMED,
        ),
        Rule(
            "repeated",
            "no message is there more than once",
            _BETWEEN,
            {"column": "repeated", **_NONE},
            lambda r: f"{r.repeated:,} messages are there more than once",
            _NAMED,
            _repeats,
        ),
        Rule(
            "altered",
            "every message has its key, value, headers and timestamp",
            _BETWEEN,
            {"column": "altered", **_NONE},
            lambda r: f"{r.altered:,} messages are altered",
            _NAMED,
        ),
        Rule(
            "misplaced",
            "all messages are in their order",
            _BETWEEN,
            {"column": "misplaced", **_NONE},
            lambda r: f"{r.misplaced:,} messages are in another place",
            _NAMED,
        ),
        Rule(
            "surplus",
            "as many messages are visible on both clusters",
            _BETWEEN,
            {"column": "surplus", **_NONE},
            lambda r: (
                f"{r.origin_visible:,} are visible on the one that is left, {r.destination_visible:,} on the other"
            ),
            _NAMED,
            _surplus,
        ),
        Rule(
            "origin-sum",
            "every visible message of the cluster that is left is equal, or told as a difference",
            _BETWEEN,
            {"column": "origin_unaccounted", **_NONE},
            lambda r: f"of {r.origin_visible:,} messages {r.origin_unaccounted:,} are neither",
            _CONTRADICTION,
        ),
        Rule(
            "destination-sum",
            "every visible message of the cluster that services go to is equal, or told as a difference",
            _BETWEEN,
            {"column": "destination_unaccounted", **_NONE},
            lambda r: f"of {r.destination_visible:,} messages {r.destination_unaccounted:,} are neither",
            _CONTRADICTION,
        ),
    ),
)
