"""The mirrors of a plan, by the side that they copy to."""

from __future__ import annotations

from kafka_migration.clusters.client import Clusters
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.plan.model import Plan
from kafka_migration.sides import Side


def build_mirrors(plan: Plan, clusters: Clusters) -> dict[Side, MirrorRunner]:
    """One for each Kafka Connect cluster that the plan names. Nothing is contacted yet."""
    if plan.mirror is None:
        return {}
    clients = {Side.SOURCE: plan.mirror.clients.source, Side.TARGET: plan.mirror.clients.target}
    topics = sorted({topic for service in plan.services for topic in (*service.produces, *service.reads)})
    return {
        side: ConnectMirror(
            Flow(
                plan.plan,
                topics,
                clusters.of(side.other),
                clusters.of(side),
                clients[side.other],
                clients[side],
                plan.mirror.properties,
            ),
            connect,
        )
        for side, connect in clusters.workers.items()
    }
