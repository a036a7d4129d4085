"""Of a rollback that copies back: which services have gone to the target, or may have, and with them which topics.

A controller sees where its service runs. What is in a person's hands is told by Kafka and by what was recorded; in
doubt it has gone: then everything is brought home, and the person is asked. An attempt may have been killed before it
recorded anything: so what the target holds, and what groups have read there, counts as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from kafka_migration.groups.commits import committed
from kafka_migration.groups.describe import describe_groups
from kafka_migration.plan.model import Service
from kafka_migration.run import Run
from kafka_migration.services.controller import Observation, State
from kafka_migration.services.registry import is_idle
from kafka_migration.sides import Side
from kafka_migration.steps.common import handover_key, moved_topics, observe_all
from kafka_migration.steps.mirroring import leg_of
from kafka_migration.steps.produced import target_starts, written_there


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
    """Whether all of these are still where they were. Their groups then stand where they stood.

    Where only what comes home is copied, `begin` has decided it.
    """
    if not run.plan.copies:
        return any(run.stays(name) for name in services)
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
    if run.plan.prefixed:  # the target's own topic tells nothing: others write there as well
        return bool(service.produces)
    if leg is None or leg.image is None:
        return False
    images = {tp: image for tp, image in leg.image.items() if tp.topic in service.produces}
    return bool(written_there(run, images))


def services_gone(run: Run, seen: Mapping[str, Observation]) -> set[str]:
    """The services that were switched, run there, or of which a group has read something there."""
    there = run.headed(Side.TARGET).current
    seeds = there.seeds
    commits = committed(run.clusters.target, seeds)
    has_read = {g for g, mine in seeds.items() if any(commits[g].get(tp, seed) > seed for tp, seed in mine.items())}
    return {
        service.name
        for service in run.plan.services
        if has_gone(run, service.name, seen[service.name]) or has_read.intersection(service.groups)
    }


def staying(run: Run, gone: Collection[str]) -> set[str]:
    """The services that read and have not left the source: their groups stand where they stood.

    A unit stays as a whole: who shares a group with one that has gone has left as well.
    """
    return {
        name
        for unit in run.graph.readers
        if not set(gone).intersection(unit.services)
        for name in unit.services
        if run.plan.service(name).consumes
    }


def topics_gone(run: Run, gone: Collection[str]) -> list[str]:
    """The topics that the target continues: written there, or by nobody, or read there by a service that has gone.

    None where nothing was written there and nobody has gone.
    """
    grown = {tp.topic for tp in written_there(run, target_starts(run))}
    if not gone and not grown:
        return []
    read = {topic for name in gone for topic in run.plan.service(name).reads}
    return [
        topic
        for topic in moved_topics(run.headed(Side.TARGET).current)
        if topic in grown or topic in read or not (w := run.plan.writers(topic)) or any(s.name in gone for s in w)
    ]


def writers_on_source(run: Run, topics: Collection[str], seen: Mapping[str, Observation]) -> list[str]:
    """The services that run on the source and write one of these topics."""
    return [
        s.name
        for s in run.plan.services
        if set(topics).intersection(s.produces)
        and seen[s.name].state is State.RUNNING
        and seen[s.name].side is Side.SOURCE
    ]
