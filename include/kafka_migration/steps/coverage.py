"""Step: coverage and counts, judged by a Great Expectations suite over one row per topic, partition and group."""

from __future__ import annotations

from kafka_migration.findings import accept
from kafka_migration.passes import current_pass
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.common import stop_with
from kafka_migration.verification.coverage import CoverageRow, cover, totals
from kafka_migration.verification.expectations import data_docs_link, judge_coverage


def coverage(run: Run) -> StepReport:
    """Count, judge, keep. A pass that has finished keeps the result that it was finished with.

    Raises `FindingsFailed` naming the rows that break an expectation.
    """
    if run.dry_run:
        return StepReport("would count what every group has read on both clusters, and judge it")
    current = current_pass(run.records)
    if current.finished:
        kept = current.note("coverage") or []
        rows = [CoverageRow(**row) for row in kept]
        title = f"proved by run {current.finished['run_id']}"
        findings = judge_coverage(rows, run_name=run.run_id, docs_folder=None)
    else:
        rows = cover(run, current)
        title = "counted now"
        findings = judge_coverage(rows, run_name=run.run_id, docs_folder=run.documents)
    link = data_docs_link(run.documents) if run.documents else None
    page = {"data_docs": f"{run.documents.name}/{link}"} if run.documents and link else {}
    report = StepReport(
        tables=[_table(rows, title)],
        findings=accept(findings, run.plan.acceptances),
        data={"coverage": [row.to_json() for row in rows], **totals(rows), **page},
    )
    stop_with(report, "coverage")
    if not current.finished:
        current.keep("coverage", [row.to_json() for row in rows])
    report.summary = (
        f"{len(rows)} rows: every group has read {totals(rows)['source_visible']:,} messages on the source up to the"
        f" cutover points, and reads the target from its seed on"
    )
    return report


def _table(rows: list[CoverageRow], title: str) -> Table:
    return Table(
        f"Coverage, {title}",
        (
            "group",
            "partition",
            "begin",
            "cutover",
            "commit",
            "verdict",
            "visible",
            "left",
            "seed",
            "target commit",
            "target end",
            "visible",
            "consumed",
            "to read",
        ),
        tuple(
            (
                r.group,
                f"{r.topic}/{r.partition}",
                r.begin,
                r.cutover,
                r.source_commit,
                r.source_verdict,
                r.source_visible,
                r.source_left,
                r.seed,
                r.target_commit,
                r.target_end,
                r.target_visible,
                r.target_consumed,
                r.target_left,
            )
            for r in rows
        ),
    )
