"""What offsets alone tell of copies: how many messages there are at most. Nothing is read but offsets."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_migration.findings import Finding, Status
from kafka_migration.report import Table
from kafka_migration.run import Run
from kafka_migration.verification.differences import RangePair


def spans(run: Run, pairs: Sequence[RangePair]) -> tuple[Table, list[Finding]]:
    """A row a partition, a finding a topic. Markers and what compaction removed have offsets: so it is a bound."""
    by_topic: dict[str, list[RangePair]] = {}
    for pair in pairs:
        by_topic.setdefault(pair.copy or pair.partition.topic, []).append(pair)
    columns = ("partition", f"offsets on the {run.leaving}", f"offsets on the {run.heading}")
    table = Table(
        "Copied, by offsets alone: an upper bound of messages",
        columns,
        tuple((str(p.partition), _here(p), _there(p)) for p in pairs),
    )
    return table, [_judge(run, topic, mine) for topic, mine in sorted(by_topic.items())]


def _judge(run: Run, topic: str, pairs: Sequence[RangePair]) -> Finding:
    bare = [str(p.partition) for p in pairs if _here(p) and not _there(p)]
    if bare:
        return Finding(
            f"spans/{topic}",
            Status.INCONCLUSIVE,
            f"nothing was copied of {', '.join(bare[:5])}, where the {run.leaving} has offsets",
            "copies where there are originals",
            "they may all be markers of transactions: verify with level counts or content",
        )
    here, there = sum(map(_here, pairs)), sum(map(_there, pairs))
    return Finding(
        f"spans/{topic}",
        Status.PASS,
        f"by offsets alone at most {here:,} messages on the {run.leaving} and at most {there:,} on the {run.heading};"
        " none was looked at",
    )


def _here(pair: RangePair) -> int:
    return max(0, pair.origin_end - pair.origin_start)


def _there(pair: RangePair) -> int:
    return max(0, pair.destination_end - pair.destination_start)
