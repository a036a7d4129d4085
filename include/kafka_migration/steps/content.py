"""Step: every copied message compared with its original, over ranges that were fixed before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka_migration.findings import Finding, accept
from kafka_migration.mirror.legs import Leg
from kafka_migration.offsets import TopicPartition
from kafka_migration.progress import ProgressLog
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import differing, holding, remade, repeats
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.heads import kept
from kafka_migration.steps.mirroring import leg_of, stamped
from kafka_migration.topics.describe import describe_topics
from kafka_migration.verification.content import ContentResult, Kind, RangePair, compare_content, judge_content
from kafka_migration.verification.content_expectations import judge_counts
from kafka_migration.verification.suite import data_docs_page


def compare(run: Run) -> StepReport:
    """Compare what was copied, up to the cutover point. Raises `FindingsFailed` naming the first differences.

    A pass that has finished keeps the result that it was finished with: since then either side may have deleted.
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


def compare_again(run: Run) -> StepReport:
    """Of a finished migration everything that both clusters still keep. Raises `FindingsFailed`.

    What either has deleted since was proved when the migration was: that is said, and no failure.
    """
    finished, leg = run.current.finished, leg_of(run)
    if finished is None or leg is None or not leg.ended:
        return StepReport("nothing was copied that could be compared")
    return _compared(run, leg, [], proved_by=str(finished["run_id"]))


def _compared(run: Run, leg: Leg, found: list[Finding], proved_by: str = "") -> StepReport:
    assert leg.end is not None
    assert leg.image is not None
    remade.refuse(run, leg, "comparing what was copied")
    topics = describe_topics(run.clusters.origin, {tp.topic for tp in leg.begin})
    anew = stamped(run, leg.begin)
    pairs = [
        RangePair(
            tp,
            leg.begin[tp],
            leg.end[tp],
            leg.onto[tp],
            leg.image[tp],
            ignore_timestamp=tp.topic in anew,
            by_key=topics[tp.topic].compacted,
        )
        for tp in sorted(leg.begin)
    ]
    pairs = kept(run, leg, pairs)
    progress = ProgressLog(run.log, "offsets compared")
    results = compare_content(run.clusters.origin, run.clusters.destination, pairs, progress)
    compared = totals(results)
    again = repeats.allowed(run)
    found += judge_content(results, again, proved_by)
    found += judge_counts(results.values(), at_least_once=again, run_name=run.run_id, docs_folder=run.documents)
    report = StepReport(
        summary=f"{compared['messages']:,} messages of {len(results)} partitions are equal on both clusters",
        tables=[_table(run, results), *differing.tables(run, results)],
        findings=accept(found, run.plan.acceptances),
        data={"compared": compared, "content": entries(pairs, results, again), **data_docs_page(run.documents)},
    )
    stop_with(report, "comparing what was copied")
    return report


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


def _table(run: Run, results: dict[TopicPartition, ContentResult]) -> Table:
    return Table(
        "Copied messages",
        ("partition", f"visible on the {run.leaving}", f"visible on the {run.heading}", "equal", *Kind),
        tuple(
            (str(tp), r.origin_visible, r.destination_visible, r.equal, *(r.counts[kind] for kind in Kind))
            for tp, r in sorted(results.items())
        ),
    )
