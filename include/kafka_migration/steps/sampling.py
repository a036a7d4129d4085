"""A share of what was copied compared, chosen by chance, and what that says of the rest."""

from __future__ import annotations

from collections.abc import Sequence

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


def chosen(run: Run, leg: Leg, pairs: Sequence[RangePair]) -> tuple[list[RangePair], int]:
    """The blocks that are compared, chosen by the run's seed, and how many there are. Compacted topics stay whole.

    Raises `ClusterError`.
    """
    anchors = anchors_of(run, leg)
    in_order = kept(run, leg, [p for p in pairs if not p.by_key])
    all_blocks = [block for p in in_order for block in blocks(p, anchors[p.partition].pairs)]
    share = (run.plan.verify or Verify()).share
    mine = choose(all_blocks, share, run.seed) if all_blocks else []
    return [*mine, *(p for p in pairs if p.by_key)], len(all_blocks)


def compare_blocks(run: Run, wanted: Sequence[RangePair]) -> list[tuple[RangePair, ContentResult]]:
    """Each with what comparing it showed. Raises `ClusterError`."""
    left = list(wanted)
    telling = ProgressLog(run.log, "offsets compared")
    found: list[tuple[RangePair, ContentResult]] = []
    while left:  # the first block of each partition, then the second, and so on
        now = list({block.partition: block for block in reversed(left)}.values())
        results = compare_content(run.clusters.origin, run.clusters.destination, now, telling)
        found += [(block, results[block.partition]) for block in now]
        left = [block for block in left if block not in now]
    return found


def told(run: Run, results: Sequence[tuple[RangePair, ContentResult]], total: int) -> Finding:
    """What the sample was, and what it says of the rest."""
    chosen = [result for block, result in results if not block.by_key]
    if not chosen:
        return Finding("sample/all", Status.PASS, "there is nothing to choose from: this migration has copied nothing")
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
