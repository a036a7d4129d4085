"""A share of what was copied compared, chosen by chance, and what that says of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.legs import Leg
from kafka_migration.plan.model import Verify
from kafka_migration.progress import ProgressLog
from kafka_migration.run import Run
from kafka_migration.steps import repeats
from kafka_migration.steps.handover import anchors_of
from kafka_migration.steps.heads import kept
from kafka_migration.verification.content import compare_content
from kafka_migration.verification.differences import ContentResult, RangePair
from kafka_migration.verification.sample import blocks, choose, most_with_differences


@dataclass(frozen=True)
class Sampled:
    """`results`: each chosen block with what comparing it showed. `total`: blocks that there are of all partitions."""

    results: Sequence[tuple[RangePair, ContentResult]]
    total: int


def share_of(run: Run) -> float:
    """Which share the plan has compared."""
    return (run.plan.verify or Verify()).share


def sampled(run: Run, leg: Leg, pairs: Sequence[RangePair], mine: Sequence[RangePair]) -> Sampled:
    """Choose from `pairs` by the run's seed, and compare what lies in `mine`. Compacted topics are compared whole.

    Raises `ClusterError`.
    """
    anchors = anchors_of(run, leg)
    in_blocks = [b for p in kept(run, leg, pairs) if not p.by_key for b in blocks(p, anchors[p.partition].pairs)]
    assert run.plan.verify is None or run.plan.verify.share
    partitions = {p.partition for p in mine}
    left = [b for b in choose(in_blocks, share_of(run), run.seed) if b.partition in partitions] if in_blocks else []
    left += [p for p in mine if p.by_key]
    telling = ProgressLog(run.log, "offsets compared")
    found: list[tuple[RangePair, ContentResult]] = []
    while left:  # the first block of each partition, then the second, and so on
        now = list({block.partition: block for block in reversed(left)}.values())
        results = compare_content(run.clusters.origin, run.clusters.destination, now, telling)
        found += [(block, results[block.partition]) for block in now]
        left = [block for block in left if block not in now]
    return Sampled(found, len(in_blocks))


def told(run: Run, results: Sequence[tuple[RangePair, ContentResult]], total: int) -> Finding:
    """What the sample was, and what it says of the rest."""
    chosen = [result for block, result in results if not block.by_key]
    if not chosen:
        return Finding("sample/all", Status.PASS, "there is nothing to choose from: no partition holds a message")
    what = f"{len(chosen):,} of {total:,} blocks were compared, chosen by chance with seed {run.seed}"
    if any(r.verdict(repeats.allowed(run)) is not Status.PASS for r in chosen):
        return Finding("sample/all", Status.WARN, what, "no difference in the sample", "verify with level content")
    most = most_with_differences(total, len(chosen))
    rest = (
        f"with 95 % confidence at most {most:,} of them ({most / total:.1%}) hold a difference"
        if most
        else "with 95 % confidence none of them holds a difference"
    )
    return Finding("sample/all", Status.PASS, f"{what}; {rest}. That nothing is missing anywhere is not shown")
