"""The mirrors of a plan, by the side that they copy to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kafka_migration.clusters.client import Clusters
from kafka_migration.mirror.connect import ConnectMirror
from kafka_migration.mirror.dedicated import DedicatedMirror, Installation
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.plan.model import Mirror, Plan, Service
from kafka_migration.services.controller import Connection, Controller
from kafka_migration.services.registry import build_controller
from kafka_migration.sides import Addresses, Side

_PROGRAM = "mirror"
"""What the program of a dedicated MirrorMaker is called in messages of its controller."""


def build_mirrors(plan: Plan, clusters: Clusters, connection: Connection) -> dict[Side, MirrorRunner]:
    """By the side that it copies to; of a mirror that copies both ways, both at once. Nothing is contacted yet.

    What copies back always runs on Kafka Connect.
    """
    if plan.mirror is None:
        return {}
    found: dict[Side, MirrorRunner] = {
        side: ConnectMirror(_flow(plan, plan.mirror, clusters, side), connect)
        for side, connect in clusters.workers.items()
        if not (plan.history and side is Side.TARGET)
    }
    controller = mirror_controller(plan, clusters.addresses, connection)
    own = plan.mirror
    if controller is not None and own.properties_file is not None:
        # The aliases are this plan's own: MirrorMakers of the same aliases share their work and their offsets.
        flow = _flow(plan, own, clusters, Side.TARGET, prefix=f"{plan.plan}-")
        installation = Installation(Path(own.properties_file), own.listener, own.java, own.archive, own.sha512)
        found[Side.TARGET] = DedicatedMirror(flow, installation, controller)
    return found


def build_history(plan: Plan, clusters: Clusters) -> ConnectMirror | None:
    """What copies the stored messages under prefixed names; None where the plan asks for none."""
    if plan.mirror is None or not plan.history:
        return None
    flow = replace(_flow(plan, plan.mirror, clusters, Side.TARGET), prefixed=True, history=True)
    return ConnectMirror(flow, clusters.workers[Side.TARGET])


def mirror_controller(plan: Plan, addresses: Addresses, connection: Connection) -> Controller | None:
    """The controller of a dedicated MirrorMaker; None where the plan has none."""
    if plan.mirror is None or plan.mirror.controller is None:
        return None
    return build_controller(_program(plan, plan.mirror), addresses, connection)


def _program(plan: Plan, mirror: Mirror) -> Service:
    topics = tuple(sorted({topic for service in plan.services for topic in (*service.produces, *service.reads)}))
    return Service.model_validate({"name": _PROGRAM, "produces": topics, "controller": mirror.controller})


def _flow(plan: Plan, mirror: Mirror, clusters: Clusters, side: Side, prefix: str = "") -> Flow:
    clients = {Side.SOURCE: mirror.clients.source, Side.TARGET: mirror.clients.target}
    topics = sorted({topic for service in plan.services for topic in (*service.produces, *service.reads)})
    return Flow(
        plan.plan,
        topics,
        clusters.of(side.other),
        clusters.of(side),
        clients[side.other],
        clients[side],
        mirror.properties,
        prefix,
        prefixed=plan.prefixed,
        # Where groups that have read copies on the source go on is asked of the target, when the source is gone.
        syncs_on_origin=plan.prefixed and side is Side.SOURCE,
    )
