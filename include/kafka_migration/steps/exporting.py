"""Step: for applications that keep their offsets outside Kafka, the table from the offsets here to those there.

Made once the mirror has ended, so that nothing of it changes any more, and before the service is stopped, so that its
standstill does not grow with what is stored. It reads both clusters and writes a file; it changes no offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kafka_migration.errors import Refused
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.mirror.table import Row, as_csv, cells, columns, read_table, summed
from kafka_migration.offsets import TopicPartition
from kafka_migration.passes import Pass
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import both_places, remade
from kafka_migration.steps.common import exported_key, stop_with
from kafka_migration.steps.gone import none_has_gone
from kafka_migration.steps.handover import anchors_of
from kafka_migration.steps.mirroring import leg_of, stamped
from kafka_migration.topics.describe import describe_topics

_SHOWN = 50

Rows = Mapping[TopicPartition, Sequence[Row]]


def export(run: Run, unit: str) -> StepReport:
    """Write the table of each group of the unit that keeps its offsets itself, once in a pass.

    Raises `FindingsFailed` where of some messages it is not known exactly where to go on.
    """
    services = run.graph.unit(unit).services
    groups = {c.group: c for name in services for c in run.plan.service(name).external}
    if run.dry_run:
        return StepReport(f"would write the table of offsets for {', '.join(groups)}")
    current = run.current
    if run.returning and none_has_gone(run, services):
        return StepReport(f"{', '.join(services)} has not left the source: its offsets stay as they are")
    if all(exported(current, group) for group in groups):
        files = [f"{group}: {exported(current, group)['file']}" for group in groups]
        return StepReport("nothing to do: the tables were written before", notes=files)
    if run.plan.prefixed:
        told = both_places.tell_external(run, groups)
        return StepReport(
            f"the table of offsets is written for {', '.join(groups)}",
            notes=[f"{group}: {file}" for group, file in told.items()],
        )
    rows = _read(run, {topic for c in groups.values() for topic in c.topics})
    written = [
        _write(run, group, {tp: mine for tp, mine in rows.items() if tp.topic in c.topics})
        for group, c in groups.items()
    ]
    report = StepReport(
        f"the table of offsets is written for {', '.join(groups)}",
        tables=[one.table for one in written],
        findings=accept([finding for one in written for finding in one.findings], run.plan.acceptances),
        notes=[f"{one.group}: {one.kept['file']}" for one in written],
        data={"exported": {one.group: one.kept for one in written}},
    )
    stop_with(report, "telling where each offset has gone")
    for one in written:
        current.keep(exported_key(one.group), one.kept)
    return report


def exported(current: Pass, group: str) -> dict[str, Any]:
    """What was written for the group in this pass; empty where nothing was.

    `file` and its `sha256`; how many `rows`; `shown`: the first of them as lists; `ends`: of each partition the row of
    its end.
    """
    found: dict[str, Any] = current.note(exported_key(group)) or {}
    return found


def shown_columns(run: Run) -> tuple[str, ...]:
    """The names of what `exported` shows of a row."""
    return columns(run.leaving, run.heading)[:7]


@dataclass(frozen=True)
class _Written:
    group: str
    table: Table
    findings: list[Finding]
    kept: dict[str, Any]


def _read(run: Run, read: Collection[str]) -> Rows:
    """All that was copied of these topics."""
    leg = leg_of(run)
    if leg is None or not leg.ended:
        raise Refused("the mirror has not come to its end; run the task `stop_mirror` first")
    remade.refuse(run, leg, "telling where each offset has gone")
    topics = describe_topics(run.clusters.origin, read)
    return read_table(
        run.clusters.origin,
        run.clusters.destination,
        {tp: known for tp, known in anchors_of(run, leg).items() if tp.topic in read},
        ignore_timestamp=stamped(run, leg.begin),
        compacted={name for name, topic in topics.items() if topic.compacted},
    )


def _write(run: Run, group: str, rows: Rows) -> _Written:
    listed = [row for mine in rows.values() for row in mine]
    text = as_csv(listed, run.leaving, run.heading)
    file = run.leave(f"offsets-{group}.csv", text)
    table = Table(
        f"Offsets of {group}: {file}",
        ("partition", "rows", "messages", "not known exactly", f"end on the {run.leaving}", f"on the {run.heading}"),
        tuple((str(tp), len(mine), *summed(mine), mine[-1].first, mine[-1].there) for tp, mine in rows.items()),
    )
    kept = {
        "file": file,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "rows": len(listed),
        "shown": [list(cells(row)) for row in listed[:_SHOWN]],
        "ends": [list(cells(mine[-1])) for mine in rows.values()],
    }
    return _Written(group, table, _findings(run, group, rows), kept)


def _findings(run: Run, group: str, rows: Rows) -> list[Finding]:
    doubtful = {tp: found for tp, mine in rows.items() if (found := [row for row in mine if not row.known])}
    if not doubtful:
        messages = sum(summed(mine)[0] for mine in rows.values())
        seen = f"{messages:,} messages of {len(rows)} partitions, each found equal on the {run.heading}"
        return [Finding(f"offsets-table/{group}", Status.PASS, seen)]
    return [
        Finding(
            f"offsets-table/{group}/{tp}",
            Status.INCONCLUSIVE,
            f"of {summed(mine)[0]:,} messages on the {run.leaving}, offsets {mine[0].first:,} to"
            f" {mine[-1].last:,}, it is not known exactly where they lie on the {run.heading}",
            "each message that was copied, found equal there",
            "accept it if the application's own offset is in no row that has an empty target or repeats something",
        )
        for tp, mine in doubtful.items()
    ]
