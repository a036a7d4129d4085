"""Step: preflight. Reads everything that could stop the migration later, changes nothing, shows all at once."""

from __future__ import annotations

import time

from kafka_migration.checks.clusters import check_clusters
from kafka_migration.checks.groups import check_groups
from kafka_migration.checks.history import check_history
from kafka_migration.checks.mirror import check_mirrors
from kafka_migration.checks.placement import check_placement, placing_table
from kafka_migration.checks.scene import Scene, look_around
from kafka_migration.checks.services import check_services
from kafka_migration.checks.topics import check_growth, check_topics
from kafka_migration.checks.ways import check_ways
from kafka_migration.findings import accept
from kafka_migration.offsets import Which, by_topic, read_offsets
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation
from kafka_migration.steps.common import observations_table, stop_with

_WATCHED = 1.0  # seconds between two looks at the end offsets: a topic with traffic grows within that


def preflight(run: Run) -> StepReport:
    """All findings in one table. Raises `FindingsFailed` when one of them stops the run."""
    report = preflight_report(run)
    stop_with(report, "preflight")
    return report


def preflight_report(run: Run) -> StepReport:
    """The findings, whatever they are. Raises `ClusterUnreachable`."""
    scene = look_around(run)
    began = time.monotonic()
    findings = [*check_clusters(scene), *check_services(scene), *check_groups(scene), *check_topics(scene)]
    findings += check_placement(scene)
    findings += [*check_mirrors(run), *check_history(scene), *check_ways(scene)]
    time.sleep(max(0.0, _WATCHED - (time.monotonic() - began)))
    findings += check_growth(scene, read_offsets(run.clusters.source, scene.source.offsets[Which.END], Which.END))
    findings = accept(findings, run.plan.acceptances)
    finished = scene.current.finished
    return StepReport(
        summary=f"{len(findings)} findings, {sum(f.stops for f in findings)} of them stop the run",
        tables=[*_tables(scene), observations_table("Services", _seen(scene))],
        findings=findings,
        notes=[f"Pass {scene.current.number} has finished already (run {finished['run_id']}): nothing is left to move."]
        if finished
        else [],
        data={
            "topics": len(scene.source.topics),
            "partitions": sum(t.partitions for t in scene.source.topics.values()),
            "groups": len(run.plan.groups),
            "services": len(run.plan.services),
            "source_cluster_id": scene.source.identity.cluster_id,
            "target_cluster_id": scene.target.identity.cluster_id,
        },
    )


def _seen(scene: Scene) -> dict[str, Observation]:
    return {name: o for name, o in scene.services.items() if isinstance(o, Observation)}


def _tables(scene: Scene) -> list[Table]:
    ends, starts = scene.source.offsets[Which.END], scene.source.offsets[Which.START]
    rows = [
        (
            topic.name,
            topic.partitions,
            topic.replication_factor,
            sum(ends[tp] - starts[tp] for tp in topic.numbered()),
            "equal" if topic.name in scene.target.topics else "to create",
            ", ".join(s.name for s in scene.run.plan.writers(topic.name)) or "-",
            ", ".join(s.name for s in scene.run.plan.readers(topic.name)) or "-",
        )
        for topic in scene.source.topics.values()
    ]
    partitions = {topic: list(of) for topic, of in by_topic(ends).items()}
    groups = [
        (
            group,
            described.state if (described := scene.source.groups.get(group)) else "-",
            described.kind if described else "-",
            len(described.members) if described else 0,
            sum(
                max(0, ends[tp] - scene.source.commits.get(group, {}).get(tp, starts[tp]))
                for topic in consumes.topics
                for tp in partitions.get(topic, ())
            ),
        )
        for group, consumes in sorted(scene.run.plan.groups.items())
    ]
    return [
        Table(
            "Clusters",
            ("side", "cluster id", "brokers", "racks", "bootstrap servers"),
            tuple(
                (str(c.side.value), i.cluster_id, len(i.brokers), len(i.racks), c.bootstrap_servers)
                for c, i in (
                    (scene.run.clusters.source, scene.source.identity),
                    (scene.run.clusters.target, scene.target.identity),
                )
            ),
        ),
        Table(
            "Topics",
            ("topic", "partitions", "replicas", "offsets kept", "on the target", "written by", "read by"),
            tuple(rows),
        ),
        placing_table(scene),
        Table("Groups on the source", ("group", "state", "type", "members", "lag in offsets"), tuple(groups)),
    ]
