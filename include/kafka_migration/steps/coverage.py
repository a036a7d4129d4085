"""Step: coverage and counts, judged by a Great Expectations suite over one row per topic, partition and group."""

from __future__ import annotations

from collections.abc import Sequence

from kafka_migration.findings import Finding, Status, accept
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.back import unread_on_target
from kafka_migration.steps.common import stop_with
from kafka_migration.verification.coverage import CoverageRow, cover, totals
from kafka_migration.verification.expectations import judge_coverage
from kafka_migration.verification.suite import data_docs_page


def coverage(run: Run) -> StepReport:
    """Count, judge, keep. A pass that has finished keeps the result that it was finished with.

    Raises `FindingsFailed` naming the rows that break an expectation.
    """
    if run.dry_run:
        return StepReport("would count what every group has read on both clusters, and judge it")
    current = run.current
    if run.returning and not current.seeds:
        return StepReport("no group had been seeded: nothing was written to the target that has to be read there")
    if current.finished:
        kept = current.note("coverage") or []
        rows = [CoverageRow(**row) for row in kept]
        title = f"proved by run {current.finished['run_id']}"
        findings = judge_coverage(rows, run_name=run.run_id, docs_folder=None)
    else:
        rows = cover(run, current)
        title = "counted now"
        staying = _staying(run)
        # Where every group stays on the source there is nothing that a row could prove.
        findings = judge_coverage(rows, run_name=run.run_id, docs_folder=run.documents) if rows or not staying else []
        findings += staying
    report = StepReport(
        tables=[coverage_table(run, rows, title)],
        findings=accept(findings, run.plan.acceptances),
        data={"coverage": [row.to_json() for row in rows], **totals(rows), **data_docs_page(run.documents)},
    )
    stop_with(report, "coverage")
    if not current.finished:
        current.keep("coverage", [row.to_json() for row in rows])
    report.summary = (
        f"{len(rows)} rows: every group has read {totals(rows)['origin_visible']:,} messages on the {run.leaving} up"
        f" to the cutover points, and reads the {run.heading} from its seed on"
    )
    return report


def _staying(run: Run) -> list[Finding]:
    """Of a rollback, the services that stayed on the source: what the target holds for them is read by nobody."""
    names = [s.name for s in run.plan.services if s.consumes and run.stays(s.name)]
    if not names:
        return []
    unread = {g: n for g, n in unread_on_target(run).items() if any(g in run.plan.service(s).groups for s in names)}
    return [
        Finding(
            f"rollback-unread/{group}",
            Status.INCONCLUSIVE,
            f"group {group} has {count:,} unread messages on the target, and goes on at the source without them",
            "nothing unread on the target",
            "let the group read them there before the next migration, which refuses to begin until then",
            # The approval of this rollback was asked with these numbers; without it this step would not have come.
            accepted="a return with disorder was approved" if run.disorder else "",
        )
        for group, count in sorted(unread.items())
        if count
    ] or [Finding("rollback-unread/none", Status.PASS, f"{', '.join(names)} stayed on the source and miss nothing")]


def coverage_table(run: Run, rows: Sequence[CoverageRow], title: str) -> Table:
    """A row a group and partition. `title`: by whom it was counted."""
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
            f"{run.heading} commit",
            f"{run.heading} end",
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
                r.origin_commit,
                r.origin_verdict,
                r.origin_visible,
                r.origin_left,
                r.seed,
                r.destination_commit,
                r.destination_end,
                r.destination_visible,
                r.destination_consumed,
                r.destination_left,
            )
            for r in rows
        ),
    )
