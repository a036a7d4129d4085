"""Step: every copied message compared with its original, over ranges that were fixed before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kafka_migration.findings import Finding, Status, accept
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import TopicPartition
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import copies, differing, holding, remade, repeats
from kafka_migration.steps.both_ways import way
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.steps.tail import followed
from kafka_migration.verification.content import ContentResult, Kind, RangePair, judge_content
from kafka_migration.verification.content_expectations import judge_counts
from kafka_migration.verification.proved import Proved
from kafka_migration.verification.suite import data_docs_page


def compare(run: Run) -> StepReport:
    """Compare what was copied, up to the cutover point. Raises `FindingsFailed` naming the first differences.

    What a verification has proved while the mirror ran is not read again. A pass that has finished keeps the result
    that it was finished with: since then either side may have deleted.
    """
    if run.dry_run:
        return StepReport("would compare every copied message with its original")
    current = run.current
    if current.finished:
        known = current.note("compared") or {}
        told = f"{known.get('messages', 0):,} messages, compared by run {current.finished['run_id']}"
        return StepReport(f"nothing to do: {told}", data={"compared": known})
    leg = leg_of(run)
    if leg is None or not leg.ended:
        return StepReport("nothing was copied that could be compared")
    report = _compared(run, leg, holding.renewed(run))
    current.keep("compared", report.data["compared"])
    return report


def compare_followed(run: Run) -> StepReport:
    """Of a failback: compare what had been copied to the target until it was followed there. Heads for the target.

    What a verification has proved before is not read again. Raises `FindingsFailed` naming the first differences.
    """
    leg = followed(run)
    if run.dry_run or leg is None:
        return StepReport("would compare what had been copied until the failover")
    if run.way_back.finished:
        return StepReport(f"nothing to do: run {run.way_back.finished['run_id']} has come back")
    report = _compared(replace(run, documents=None), leg, [], lost=Status.WARN)
    del report.data["content"]  # rows of the other direction: the evidence has those of what came home
    return report


def _compared(run: Run, leg: Leg, found: list[Finding], lost: Status = Status.INCONCLUSIVE) -> StepReport:
    """`lost`: what it means that something could not be compared. A kept mirror holds no retention: what was deleted
    before anybody had compared it keeps nobody from being home.
    """
    remade.refuse(run, leg, "comparing what was copied")
    pairs, before = copies.ranges(run, leg), copies.trusted(run, leg)
    results = copies.compare(run, leg, pairs, before, copies.ALONE)
    report = judged(run, pairs, results, found)
    report.findings = [
        replace(f, status=lost) if f.status is Status.INCONCLUSIVE and not f.accepted else f for f in report.findings
    ]
    copies.settle(run, leg, *proved(run, pairs, results))
    stop_with(report, "comparing what was copied")
    return report


def judged(
    run: Run,
    pairs: Sequence[RangePair],
    results: Mapping[TopicPartition, ContentResult],
    found: list[Finding],
    proved_by: str = "",
    known: Collection[TopicPartition] = (),
) -> StepReport:
    """What comparing showed, as a step's report. `found`: what is told before; the rest: see `judge_content`."""
    compared, again = totals(results), repeats.allowed(run)
    documents = None if way(run) else run.documents  # the page of one way would take the place of the other's
    names = {f"content/{p.partition.topic}": f"content/{p.copy}" for p in pairs if p.copy}
    judged_ = judge_content(results, again, proved_by, known)
    found = [*found, *(replace(finding, id=names.get(finding.id, finding.id)) for finding in judged_)]
    found += judge_counts(results.values(), at_least_once=again, run_name=run.run_id, docs_folder=documents)
    before = sum(r.before for r in results.values())
    since = f", {before:,} of them proved before and not read again" if before else ""
    are = "were counted" if any(r.counted for r in results.values()) else "are equal"
    return StepReport(
        summary=f"{compared['messages']:,} messages of {len(results)} partitions {are} on both clusters{since}",
        tables=[_table(run, results), *differing.tables(run, results)],
        findings=accept(found, run.plan.acceptances),
        data={"compared": compared, "content": entries(pairs, results, again), **data_docs_page(documents)},
    )


def proved(
    run: Run, pairs: Iterable[RangePair], results: Mapping[TopicPartition, ContentResult]
) -> tuple[dict[TopicPartition, Proved], set[TopicPartition]]:
    """What the results prove; and the partitions of which they prove nothing."""
    again = repeats.allowed(run)
    found = {p.partition: results[p.partition].proved(p, again) for p in pairs}
    return {tp: p for tp, p in found.items() if p is not None}, {tp for tp, p in found.items() if p is None}


def totals(results: Mapping[TopicPartition, ContentResult]) -> dict[str, Any]:
    """What was compared, over all partitions, as the evidence tells it."""
    return {
        "messages": sum(r.equal for r in results.values()),
        "partitions": len(results),
        "differences": sum(r.different for r in results.values()),
        "repeated": sum(r.counts[Kind.REPEATED] for r in results.values()),
        "first": next((str(d) for r in results.values() for d in r.differences), None),
    }


def entries(
    pairs: Iterable[RangePair], results: Mapping[TopicPartition, ContentResult], at_least_once: bool = False
) -> list[dict[str, Any]]:
    """One row a partition, as `ContentEntry` of the evidence has it."""
    return [
        {
            "topic": pair.partition.topic,
            "partition": pair.partition.partition,
            "copy_topic": pair.copy or pair.partition.topic,
            "origin_start": pair.origin_start,
            "origin_end": pair.origin_end,
            "destination_start": pair.destination_start,
            "destination_end": pair.destination_end,
            "origin_visible": result.origin_visible,
            "destination_visible": result.destination_visible,
            "equal": result.equal,
            **{kind.value: result.counts[kind] for kind in Kind},
            "by_key": result.by_key,
            "verdict": result.verdict(at_least_once),
        }
        for pair in pairs
        for result in (results[pair.partition],)
    ]


def _table(run: Run, results: Mapping[TopicPartition, ContentResult]) -> Table:
    return Table(
        "Copied messages",
        ("partition", f"visible on the {run.leaving}", f"visible on the {run.heading}", "equal", *Kind),
        tuple(
            (str(tp), r.origin_visible, r.destination_visible, r.equal, *(r.counts[kind] for kind in Kind))
            for tp, r in sorted(results.items())
        ),
    )
