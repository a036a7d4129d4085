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

from pydantic import TypeAdapter

from kafka_migration.checks.services import is_going_back
from kafka_migration.errors import Refused
from kafka_migration.findings import accept
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import TopicPartition
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import content, copies, onward, remade
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.coverage import coverage_table
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.steps.sampling import sampled, share_of, told
from kafka_migration.steps.spans import spans
from kafka_migration.steps.verifying import nothing_yet, still_there
from kafka_migration.verification.coverage import CoverageRow, totals
from kafka_migration.verification.differences import ContentResult, RangePair
from kafka_migration.verification.expectations import judge_coverage
from kafka_migration.verification.proved import Known, Proved
from kafka_migration.verification.suite import data_docs_page
from kafka_migration.visible import count_between

_MOST_SHARES = 32
_WORTH_A_SHARE = 2_000_000  # offsets: a task of its own takes seconds to start, and reads about so many in ten
_RUN = "verified/run"
_FOUND = "verified/found/{}"
_RESULTS = TypeAdapter(list[tuple[RangePair, ContentResult]])


def ranges(run: Run) -> StepReport:
    """Fix what is looked at, and divide what is to be read of it by its size.

    `data["shares"]`: the arguments of `compare`, one for each task; at least one. Raises `FindingsFailed`,
    `ClusterError`.
    """
    leg, why = _subject(run)
    if why is not None:
        run.records.set(_RUN, {"run_id": run.run_id, "why": why})
        return StepReport(f"nothing to verify: {why}", data={"shares": [{"number": 0}]})
    begun: dict[str, Any] = {"run_id": run.run_id, "level": run.level, "seed": run.seed, "why": None}
    report = StepReport(data={"level": run.level})
    sizes: dict[TopicPartition, int] = {}
    if leg is not None:
        remade.refuse(run, leg, "looking at what was copied")
        pairs, before = copies.ranges(run, leg), _known(run, leg)
        copies.keep(run, leg, before, _only_counts(run))
        new = _new(run, leg, pairs, before)
        share = share_of(run) if run.level == "sample" else 1.0
        sizes = {p.partition: int(share * _size(p)) for p in new}
        report.tables = [_ranges_table(run, pairs, sizes)]
    if not run.plan.copies and run.level in ("counts", "content"):
        rows, marks = onward.rows_now(run, _counted(run))
        begun["rows"] = [row.to_json() for row in rows]
        begun["marks"] = {str(tp): found for tp, found in marks.items()}
        sizes = {tp: found[-1] - found[0] for tp, found in marks.items()}
    shares = _divide(sizes)
    copies.share_out(run, len(shares))
    run.records.set(_RUN, {**begun, "shares": len(shares)})
    report.data["shares"] = [
        {"number": number, "partitions": [str(tp) for tp in sorted(mine)]} for number, mine in enumerate(shares)
    ]
    total = sum(sizes.values())
    report.summary = f"{total:,} offsets of {len(sizes)} partitions to read in {len(shares)} shares, level {run.level}"
    return report


def compare(run: Run, share: Mapping[str, Any]) -> StepReport:
    """Read one share, and keep what it shows. What differs is no error here: `proof` judges all shares together."""
    begun = _begun(run)
    if begun["why"] is not None:
        return StepReport("nothing to verify")
    run = _at_its_rate(run, begun["shares"])
    number = int(share["number"])
    mine = {TopicPartition.parse(text) for text in share["partitions"]}
    leg, _ = _subject(run)
    if leg is None:
        marks = {TopicPartition.parse(text): found for text, found in begun.get("marks", {}).items()}
        counts = count_between(run.clusters.target, {tp: marks[tp] for tp in mine})
        _keep(run, number, counts={str(tp): [numbers, complete] for tp, (numbers, complete) in counts.items()})
        read = sum(sum(numbers) for numbers, _ in counts.values())
        return StepReport(f"{read:,} messages of {len(mine)} partitions counted on the target")
    pairs = [p for p in copies.ranges(run, leg) if p.partition in mine]
    kept: dict[str, Any] = {}
    if run.level == "sample":
        found = sampled(run, leg, copies.ranges(run, leg), pairs)
        results, kept["blocks"] = found.results, found.total
    else:
        compared = copies.compare(run, leg, pairs, _known(run, leg), number, _only_counts(run))
        results = [(p, compared[p.partition]) for p in pairs]
    _keep(run, number, **kept, results=_RESULTS.dump_python(list(results), mode="json"))
    equal, different = sum(r.equal for _, r in results), sum(r.different for _, r in results)
    are = "are on both clusters" if _only_counts(run) else "are equal"
    return StepReport(f"{equal:,} messages of {len(pairs)} partitions {are}, {different:,} differ")


def proof(run: Run) -> StepReport:
    """What all shares have shown, and how far the groups have read since. Raises `FindingsFailed`."""
    begun = _begun(run)
    if begun["why"] is not None:
        return StepReport(f"nothing to verify: {begun['why']}", notes=[f"level {run.level}"])
    shares = [_found(run, number) for number in range(begun["shares"])]
    leg, _ = _subject(run)
    report = StepReport() if leg is None else _proof_of_copies(run, leg, shares)
    if run.current.finished:
        table, found = onward.progress(run)
        report.tables.append(table)
        report.findings += accept(found, run.plan.acceptances)
    if "rows" in begun:
        _prove_coverage(run, begun, shares, report)
    report.data["level"] = run.level
    report.summary = report.summary or f"{len(report.findings)} findings"
    stop_with(report, "verifying what was moved")
    return report


def _proof_of_copies(run: Run, leg: Leg, shares: Sequence[Mapping[str, Any]]) -> StepReport:
    finished = run.current.finished
    proved_by = str(finished["run_id"]) if finished else ""
    if run.level == "offsets":
        table, found = spans(run, copies.ranges(run, leg))
        report = StepReport(f"{len(table.rows)} partitions, by offsets alone", [table], findings=found)
        report.findings = accept(found, run.plan.acceptances)
    else:
        results = [one for share in shares for one in _RESULTS.validate_python(share["results"])]
        if run.level == "sample":
            report = _of_sample(run, results, next((s["blocks"] for s in shares), 0), proved_by)
        else:
            pairs, by_partition = [p for p, _ in results], {p.partition: r for p, r in results}
            report = content.judged(run, pairs, by_partition, [], proved_by)
            proved = content.proved(run, pairs, by_partition)
            copies.keep(run, leg, {**_known(run, leg), **proved}, _only_counts(run))
    if leg.ended:
        report.findings += accept(still_there(run), run.plan.acceptances)
    else:
        report.summary += ", as far as the mirror has copied"
    return report


def _of_sample(run: Run, results: Sequence[tuple[RangePair, ContentResult]], blocks: int, proved_by: str) -> StepReport:
    """The blocks of one partition told as one."""
    merged: dict[TopicPartition, tuple[RangePair, ContentResult]] = {}
    for pair, result in results:
        known = merged.get(pair.partition)
        merged[pair.partition] = (pair, result) if known is None else (_joined(known[0], pair), known[1].joined(result))
    by_partition = {tp: result for tp, (_, result) in merged.items()}
    report = content.judged(run, [pair for pair, _ in merged.values()], by_partition, [], proved_by)
    report.findings = [
        replace(f, seen=f"{f.seen}, in the sample") if f.id.startswith("content/") else f for f in report.findings
    ]
    report.findings.append(told(run, results, blocks))
    report.summary += ", in the sample"
    return report


def _joined(one: RangePair, other: RangePair) -> RangePair:
    return replace(
        one,
        origin_start=min(one.origin_start, other.origin_start),
        origin_end=max(one.origin_end, other.origin_end),
        destination_start=min(one.destination_start, other.destination_start),
        destination_end=max(one.destination_end, other.destination_end),
    )


def _prove_coverage(
    run: Run, begun: Mapping[str, Any], shares: Sequence[Mapping[str, Any]], report: StepReport
) -> None:
    """What the groups have read on the target since their seeds, exactly; remembered where nothing is wrong."""
    counts: dict[TopicPartition, tuple[list[int], list[int], bool]] = {}
    for share in shares:
        for text, (numbers, complete) in share.get("counts", {}).items():
            counts[TopicPartition.parse(text)] = (begun["marks"][text], numbers, complete)
    rows = onward.reread([CoverageRow(**row) for row in begun["rows"]], counts)
    found = accept(judge_coverage(rows, run_name=run.run_id, docs_folder=run.documents), run.plan.acceptances)
    report.tables.append(coverage_table(run, rows, "counted now"))
    report.findings += found
    report.data |= {"coverage": [row.to_json() for row in rows], **totals(rows), **data_docs_page(run.documents)}
    if not any(f.stops for f in found):
        run.records.set(_coverage_key(run), [row.to_json() for row in rows])
    report.summary = f"{len(rows)} rows: {totals(rows)['destination_visible']:,} messages on the target since the seeds"


def _subject(run: Run) -> tuple[Leg | None, str | None]:
    """What was copied, where anything was; and why there is nothing to verify, where that is so.

    What a mirror has copied can be verified before its migration has finished.
    """
    why = nothing_yet(run)
    leg = leg_of(run) if run.plan.copies and not run.plan.decommissioned else None
    if why is None or leg is None or run.current.finished or is_going_back(run):
        return leg, why
    if run.level not in ("content", "offsets") and not leg.ended:
        return leg, f"the mirror has not ended yet, which level {run.level} needs"
    return leg, None


def _at_its_rate(run: Run, shares: int) -> Run:
    """The same run, reading at its share of the rate: all shares may be read at once."""
    clusters = run.clusters
    source, target = (
        cluster.verified(cluster.throttle.bytes_per_second / shares) if cluster.throttle else cluster
        for cluster in (clusters.source, clusters.target)
    )
    return replace(run, clusters=replace(clusters, source=source, target=target))


def _new(run: Run, leg: Leg, pairs: Sequence[RangePair], before: Known) -> Sequence[RangePair]:
    """What is to be read."""
    if run.level == "offsets":
        return []
    return pairs if run.level == "sample" else copies.left(pairs, before)


def _known(run: Run, leg: Leg) -> dict[TopicPartition, Proved]:
    return {} if run.full else copies.known(run, leg, _only_counts(run))


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


def _counted(run: Run) -> list[CoverageRow]:
    """What was counted last, by a verification or the migration."""
    kept = run.records.get(_coverage_key(run)) or run.current.note("coverage") or ()
    return [CoverageRow(**row) for row in kept]


def _coverage_key(run: Run) -> str:
    return f"verified/pass/{run.current.number}/coverage"


def _begun(run: Run) -> Mapping[str, Any]:
    begun: Mapping[str, Any] | None = run.records.get(_RUN)
    if begun is None or begun["run_id"] != run.run_id:
        raise Refused("another verification has begun since this one: trigger a new one")
    return begun


def _keep(run: Run, number: int, **found: Any) -> None:
    run.records.set(_FOUND.format(number), {"run_id": run.run_id, **found})


def _found(run: Run, number: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = run.records.get(_FOUND.format(number))
    if found is None or found["run_id"] != run.run_id:
        raise Refused(f"share {number} has not been read: clear the task `compare` of that number")
    return found
