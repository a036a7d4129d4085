"""Steps of a verification that read: fix what is looked at, look at it in shares, tell what it comes to.

The ranges are fixed first, so that clusters in use can be verified. What was proved before is not read again, but for a
run that was told to. Each share can be read by another worker: what it finds is kept with the plan, on no worker's
disk. They write nothing else, and commit nothing for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from typing import Any

from kafka_migration.checks.services import is_going_back
from kafka_migration.findings import Finding, accept
from kafka_migration.mirror.legs import Leg, Legs
from kafka_migration.offsets import TopicPartition
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import content, copies, onward, remade
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.coverage import coverage_table
from kafka_migration.steps.job import Found, Job, Results, all_found, begin, begun, forget, keep
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.steps.sampling import chosen, compare_blocks, told
from kafka_migration.steps.spans import spans
from kafka_migration.steps.verifying import nothing_yet, still_there
from kafka_migration.verification.coverage import totals
from kafka_migration.verification.differences import ContentResult, RangePair
from kafka_migration.verification.expectations import judge_coverage
from kafka_migration.verification.proved import Proved
from kafka_migration.verification.suite import data_docs_page
from kafka_migration.visible import count_between

_MOST_SHARES = 32
_WORTH_A_SHARE = 2_000_000  # offsets: a task of its own takes seconds to start, and reads about so many in ten
_REMEMBERED = ("counts", "content")
"""The levels that look at all messages: what they prove need not be read again."""


def ranges(run: Run) -> StepReport:
    """Fix what is looked at, and divide what is to be read of it by its size.

    `data["shares"]`: the arguments of `compare`, one for each task; at least one. Raises `FindingsFailed`,
    `ClusterError`, `MirrorError`.
    """
    leg, why = _subject(run)
    job = Job(run.run_id, run.current.number, why or "")
    sizes: dict[TopicPartition, int] = {}
    report = StepReport()
    if why is None and leg is not None:
        remade.refuse(run, leg, "looking at what was copied")
        job = _of_copies(run, leg, job)
        new = copies.left(job.pairs, _known(run, leg)) if run.level in _REMEMBERED else job.pairs
        for pair in new:
            sizes[pair.partition] = sizes.get(pair.partition, 0) + (_size(pair) if run.level != "offsets" else 0)
        report.tables = [_ranges_table(run, job.pairs, sizes)]
        if leg.number and not run.plan.prefixed:
            report.notes = ["what an earlier migration of this plan has copied lies before these ranges"]
    elif why is None and run.level in _REMEMBERED:
        job = _of_groups(run, job)
        sizes = {TopicPartition.parse(text): found[-1] - found[0] for text, found in job.marks.items()}
    shares = _divide(sizes)
    copies.share_out(run, len(shares))
    begin(run, replace(job, shares=len(shares)))
    report.data = {
        "shares": [
            {"number": number, "partitions": [str(tp) for tp in sorted(mine)]} for number, mine in enumerate(shares)
        ]
    }
    report.summary = (
        f"nothing to verify: {why}"
        if why is not None
        else f"{sum(sizes.values()):,} offsets of {len(sizes)} partitions to read in {len(shares)} shares, level"
        f" {run.level}"
    )
    return report


def compare(run: Run, share: Mapping[str, Any]) -> StepReport:
    """Read one share, and keep what it shows. What differs is no error here: `proof` judges all shares together."""
    job, number = begun(run), int(share["number"])
    if job.why:
        return StepReport(f"nothing to verify: {job.why}")
    run = _at_its_rate(run, job.shares * len(run.plan.ways))
    mine = {TopicPartition.parse(text) for text in share["partitions"]}
    if job.leg is None:
        counts = count_between(run.clusters.target, {tp: job.marks[str(tp)] for tp in mine})
        keep(run, number, Found(run.run_id, counts={str(tp): found for tp, found in counts.items()}))
        read = sum(sum(numbers) for numbers, _ in counts.values())
        return StepReport(f"{read:,} messages of {len(mine)} partitions counted on the target")
    pairs = [p for p in job.pairs if p.partition in mine] if run.level != "offsets" else []
    if run.level == "sample":
        results = compare_blocks(run, pairs)
    else:
        leg = _leg(run, job)
        compared = copies.compare(run, leg, pairs, _known(run, leg), number, _only_counts(run))
        results = [(p, compared[p.partition]) for p in pairs]
    keep(run, number, Found(run.run_id, results))
    equal, different = sum(r.equal for _, r in results), sum(r.different for _, r in results)
    are = "are on both clusters" if _only_counts(run) else "are equal"
    return StepReport(f"{equal:,} messages of {len(mine)} partitions {are}, {different:,} differ")


def proof(run: Run) -> StepReport:
    """What all shares have shown, and how far the groups have read since. Raises `FindingsFailed`."""
    job = begun(run)
    if job.why:
        return StepReport(f"nothing to verify: {job.why}")
    shares = all_found(run, job)
    report = StepReport() if job.leg is None else _proof_of_copies(run, job, shares)
    if run.current.finished:
        table, found = onward.progress(run)
        report.tables.append(table)
        report.findings += accept(found, run.plan.acceptances)
    if job.rows:
        _prove_coverage(run, job, shares, report)
    report.data["level"] = run.level
    report.summary = report.summary or f"{len(report.findings)} findings"
    forget(run, job)
    stop_with(report, "verifying what was moved")
    return report


def _of_copies(run: Run, leg: Leg, job: Job) -> Job:
    """What of the copies is looked at. What is proved is forgotten first, where all shall be read again."""
    pairs = copies.ranges(run, leg)
    copies.settle(run, leg, {}, ())
    proved = sorted(map(str, copies.ever_proved(run, leg)))
    if run.full and run.level in _REMEMBERED:
        copies.forget(run, leg)
    blocks = 0
    if run.level == "sample":
        pairs, blocks = chosen(run, leg, pairs)
    return replace(job, leg=leg.number, ended=leg.ended, pairs=pairs, blocks=blocks, proved=proved)


def _of_groups(run: Run, job: Job) -> Job:
    rows, marks = onward.rows_now(run, onward.counted(run))
    return replace(job, rows=rows, marks={str(tp): found for tp, found in marks.items()})


def _proof_of_copies(run: Run, job: Job, shares: Sequence[Found]) -> StepReport:
    leg, finished = _leg(run, job), run.current.finished
    if run.level == "offsets":
        table, found = spans(run, job.pairs)
        report = StepReport(f"{len(table.rows)} partitions, by offsets alone", [table], findings=found)
        report.findings = accept(found, run.plan.acceptances)
    else:
        results = [one for share in shares for one in share.results]
        if {p.partition for p, _ in results} != {p.partition for p in job.pairs}:
            raise RuntimeError("the shares hold not what was to be looked at: this is a fault of this code")
        merged = _merged(results)
        pairs, found_of = [p for p, _ in merged], {p.partition: r for p, r in merged}
        known = [TopicPartition.parse(text) for text in job.proved]
        report = content.judged(run, pairs, found_of, [], str(finished["run_id"]) if finished else "", known)
        proved, doubtful = content.proved(run, pairs, found_of)
        # A sample proves nothing of the rest; a difference in it ends the belief in what was proved before.
        copies.settle(run, leg, proved if run.level in _REMEMBERED else {}, doubtful, _only_counts(run))
        if run.level == "sample":
            report.findings = [_in_sample(f) for f in report.findings]
            report.findings.append(told(run, results, job.blocks))
            report.summary += ", in the sample"
    if job.ended:
        report.findings += accept(still_there(run), run.plan.acceptances)
    else:
        report.summary += ", as far as the mirror has copied"
    return report


def _in_sample(finding: Finding) -> Finding:
    return replace(finding, seen=f"{finding.seen}, in the sample") if finding.id.startswith("content/") else finding


def _merged(results: Results) -> Results:
    """The blocks of one partition told as one."""
    merged: dict[TopicPartition, tuple[RangePair, ContentResult]] = {}
    for pair, result in results:
        known = merged.get(pair.partition)
        merged[pair.partition] = (pair, result) if known is None else (_joined(known[0], pair), known[1].joined(result))
    return list(merged.values())


def _joined(one: RangePair, other: RangePair) -> RangePair:
    return replace(
        one,
        origin_start=min(one.origin_start, other.origin_start),
        origin_end=max(one.origin_end, other.origin_end),
        destination_start=min(one.destination_start, other.destination_start),
        destination_end=max(one.destination_end, other.destination_end),
    )


def _prove_coverage(run: Run, job: Job, shares: Sequence[Found], report: StepReport) -> None:
    """What the groups have read on the target since their seeds, exactly; remembered where nothing is wrong."""
    counts = {
        TopicPartition.parse(text): (job.marks[text], numbers, complete)
        for share in shares
        for text, (numbers, complete) in share.counts.items()
    }
    rows = onward.reread(job.rows, counts)
    found = [*onward.cut(run, rows), *judge_coverage(rows, run_name=run.run_id, docs_folder=run.documents)]
    found = accept(found, run.plan.acceptances)
    report.tables.append(coverage_table(run, rows, "counted now"))
    report.findings += found
    report.data |= {"coverage": [row.to_json() for row in rows], **totals(rows), **data_docs_page(run.documents)}
    if not any(f.stops for f in found):
        onward.remember(run, rows)
    report.summary = f"{len(rows)} rows: {totals(rows)['destination_visible']:,} messages on the target since the seeds"


def _subject(run: Run) -> tuple[Leg | None, str | None]:
    """What was copied, where anything was; and why there is nothing to verify, where that is so.

    What a mirror has copied can be verified before its migration has finished.
    """
    why = nothing_yet(run)
    leg = leg_of(run) if run.plan.copies and not run.plan.decommissioned else None
    unfinished = not run.plan.keeps_mirror and not run.current.finished and not is_going_back(run)
    if why is not None and not (leg is not None and unfinished):
        return leg, why
    if leg is not None and not leg.ended and run.level not in ("content", "offsets"):
        return leg, f"the mirror has not ended, which level {run.level} needs"
    return leg, None


def _at_its_rate(run: Run, shares: int) -> Run:
    """The same run, reading at its share of the rate: all shares may be read at once."""
    clusters = run.clusters
    source, target = (
        cluster.verified(cluster.throttle.bytes_per_second / shares) if cluster.throttle else cluster
        for cluster in (clusters.source, clusters.target)
    )
    return replace(run, clusters=replace(clusters, source=source, target=target))


def _leg(run: Run, job: Job) -> Leg:
    assert job.leg is not None
    return Legs(run.records).all()[job.leg]


def _known(run: Run, leg: Leg) -> dict[TopicPartition, Proved]:
    """What need not be read. Where all shall be, `ranges` has forgotten what was proved before this run."""
    return copies.trusted(run, leg, _only_counts(run))


def _only_counts(run: Run) -> bool:
    return run.level == "counts"


def _size(pair: RangePair) -> int:
    """Offsets to read, of both sides together."""
    here, there = pair.origin_end - pair.origin_start, pair.destination_end - pair.destination_start
    return max(0, here) + max(0, there)


def _divide(sizes: Mapping[TopicPartition, int]) -> list[list[TopicPartition]]:
    """Shares of about the same size: the largest partitions first, each to the share that has least."""
    count = max(1, min(_MOST_SHARES, len(sizes), -(-sum(sizes.values()) // _WORTH_A_SHARE)))
    shares: list[tuple[int, int, list[TopicPartition]]] = [(0, number, []) for number in range(count)]
    for tp, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        held, number, mine = heappop(shares)
        mine.append(tp)
        heappush(shares, (held + size, number, mine))
    return [mine for _, _, mine in sorted(shares, key=lambda share: share[1])]


def _ranges_table(run: Run, pairs: Sequence[RangePair], sizes: Mapping[TopicPartition, int]) -> Table:
    return Table(
        "Ranges to be equal",
        (
            "partition",
            f"from on the {run.leaving}",
            "up to",
            f"from on the {run.heading}",
            "up to",
            "offsets to read",
        ),
        tuple(
            (
                str(p.partition),
                p.origin_start,
                p.origin_end,
                p.destination_start,
                p.destination_end,
                sizes.get(p.partition, 0),
            )
            for p in pairs
        ),
    )
