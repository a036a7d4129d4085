"""Of a rollback where stored messages were copied: which services have gone to the target, or may have.

A controller sees where its service runs. What is in a person's hands is told by Kafka and by what was recorded; in
doubt it has gone: then everything is brought home, and the person is asked.
"""

from __future__ import annotations

from collections.abc import Iterable

from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import OffsetRange, Which, read_several
from kafka_migration.plan.model import Service
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.services.registry import is_idle
from kafka_migration.sides import Side
from kafka_migration.steps.common import handover_key, observe_all
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.visible import first_visible


def has_gone(run: Run, name: str, seen: Observation) -> bool:
    """Whether the service has gone to the target: `seen` there, recorded, or told by Kafka."""
    there = run.headed(Side.TARGET).current
    if there.switched(name) or seen.side is Side.TARGET:
        return True
    service = run.plan.service(name)
    if any(there.note(handover_key(c.group)) is not None for c in service.external):
        return True  # from then on a person may have set the offsets in the application's own store
    return seen.state is State.UNSEEN and not is_idle(service) and (_reads_there(run, service) or _wrote(run, service))


def none_has_gone(run: Run, services: Iterable[str]) -> bool:
    """Whether all of these are still where they were. Their groups then stand where they stood."""
    seen = observe_all({name: run.controllers[name] for name in services})
    return not any(has_gone(run, name, o) for name, o in seen.items())


def _reads_there(run: Run, service: Service) -> bool:
    """Whether a group has members on the target, or has read on from where it was handed over to."""
    there = run.headed(Side.TARGET).current
    if any(group.active for group in describe_groups(run.clusters.target, service.groups).values()):
        return True
    commits = committed(run.clusters.target, service.groups)
    handed = {group: there.note_offsets(handover_key(group)) for group in service.groups}
    return any(commits[group].get(tp, offset) != offset for group, of in handed.items() for tp, offset in of.items())


def _wrote(run: Run, service: Service) -> bool:
    """Whether a topic that it writes holds on the target what was not copied there."""
    leg = leg_of(run.headed(Side.TARGET))
    if leg is None or leg.image is None:
        return False
    images = {tp: image for tp, image in leg.image.items() if tp.topic in service.produces}
    ends = read_several(run.clusters.target, images, (Which.END,))[Which.END]
    behind = [OffsetRange(tp, image, ends[tp]) for tp, image in images.items() if ends[tp] > image]
    seen = first_visible(run.clusters.target, behind).values()
    return any(found.first is not None or not found.complete for found in seen)
