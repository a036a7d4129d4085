"""What several steps need: stages of the cutover, the change window, services side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

from kafka_migration.errors import FindingsFailed, OutsideWindow, Refused, ServiceError
from kafka_migration.findings import stop_on
from kafka_migration.groups.describe import describe_groups
from kafka_migration.offsets import TopicPartition, by_topic, of_topics
from kafka_migration.passes import CutoverPoint, Pass, some
from kafka_migration.plan.graph import FIRST_STAGE, Graph
from kafka_migration.plan.model import Consumes, Service
from kafka_migration.purposes import MIGRATE
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import Controller, Observation
from kafka_migration.sides import Side

_JOINING = "joining"

FLOW = "mirror/flow"
"""Where the records say that a kept mirror stays stopped, since services have followed it to the target."""

T = TypeVar("T")


def check_window(run: Run, doing: str) -> None:
    """Raise `OutsideWindow` when an irreversible step is reached outside the plan's change window.

    It binds a migration alone: whoever must go back, or is cut off from the source, cannot wait for a window.
    """
    if run.purpose != MIGRATE:
        return
    window, now = run.plan.window, datetime.fromtimestamp(run.now(), UTC)
    if window.not_before and now < window.not_before:
        raise OutsideWindow(
            f"{doing}: the change window opens at {window.not_before.isoformat()}; nothing was changed."
            " Clear this task when it has opened."
        )
    if window.not_after and now > window.not_after:
        raise OutsideWindow(
            f"{doing}: the change window closed at {window.not_after.isoformat()}; nothing was changed."
            " Move the window in the plan and trigger a new run, or roll back."
        )


def stop_with(report: StepReport, doing: str) -> None:
    """Raise `FindingsFailed` when a finding of the report stops the run; the error carries the whole report."""
    try:
        stop_on(report.findings, doing)
    except FindingsFailed as error:
        error.report = report
        raise


def stage_of(run: Run, topic: str) -> str:
    """The stage in which the topic reaches its cutover point: the name of a unit, or the first."""
    return next((unit.name for unit in run.graph.readers if topic in unit.settles), FIRST_STAGE)


def stages_read(run: Run, services: Iterable[Service]) -> set[str]:
    """The stages of all topics that these services read."""
    return {stage_of(run, topic) for service in services for topic in service.reads}


def moved_topics(current: Pass) -> list[str]:
    """The topics of this pass, as its first run found them."""
    return list(current.note("topics") or ())


def recorded_points(graph: Graph, current: Pass) -> dict[str, list[CutoverPoint]]:
    """Every stage that has a cutover point in this pass, with all of them."""
    return {stage: points for stage in graph.stages if (points := current.points(stage))}


def topics_of_stage(run: Run, current: Pass, stage: str) -> list[str]:
    return [topic for topic in moved_topics(current) if stage_of(run, topic) == stage]


def points_for(run: Run, current: Pass, *services: Service) -> dict[str, dict[TopicPartition, int]]:
    """By group of these services: the latest cutover point of every partition of the topics they read with it."""
    stages = stages_read(run, services)
    frozen = {stage for stage in stages if current.frozen_at(stage) is not None}
    unfrozen = sorted(stage for stage in stages - frozen if not _stays(run, stage))
    if unfrozen:
        early = [service.name for service in services if stages_read(run, [service]) & set(unfrozen)]
        raise Refused(
            f"{some(early)} reads topics whose cutover point is not frozen yet (stage"
            f" {', '.join(unfrozen)}): run the task `cutover` of that stage first. A task that was marked as success by"
            " hand has recorded nothing."
        )
    read = {topic for service in services for topic in service.reads}
    latest = by_topic(current.latest_points(sorted(frozen), read))
    found: dict[str, dict[TopicPartition, int]] = {}
    for consumes in (consumes for service in services for consumes in service.consumes):
        found.setdefault(consumes.group, {}).update(of_topics(latest, consumes.topics))
    return found


def goes_on_from(current: Pass, group: str) -> dict[TopicPartition, int]:
    """Where the group begins on the cluster that it goes to: its seed, or where it was handed over to."""
    handed = current.note_offsets(handover_key(group))
    return handed or dict(current.seeds.get(group, {}))


def handover_key(group: str) -> str:
    """Where a pass keeps the offsets at which a group goes on that was handed over."""
    return f"handover/{group}"


def exported_key(group: str) -> str:
    """Where a pass keeps what was written of the offsets of a group that keeps its own."""
    return f"exported/{group}"


def note_members(run: Run, groups: Iterable[str]) -> None:
    """Record, once in a pass, which of these groups have members on the source: the others join none to read."""
    if run.current.note(_JOINING) is None:
        found = describe_groups(run.clusters.source, groups)
        run.current.keep(_JOINING, sorted(group for group, described in found.items() if described.active))


def joins(run: Run, consumes: Consumes) -> bool:
    """Whether a service that reads shows in Kafka as a member of its group.

    One that keeps its offsets itself need not; where it was seen to read without, nobody waits for it to join.
    """
    noted = run.headed(Side.TARGET).current.note(_JOINING)
    if noted is None and run.plan.keeps_mirror:  # nobody looks at them as long as nobody moves
        return consumes.offsets == "group"
    return consumes.offsets == "group" or noted is None or consumes.group in noted


def _stays(run: Run, stage: str) -> bool:
    """Whether the processors that a stage waits for stay on the source in a rollback: then nothing of it is left."""
    return stage != FIRST_STAGE and all(
        run.stays(name) for name in run.graph.unit(stage).services if run.plan.service(name).consumes
    )


def side_by_side(things: Sequence[T], deed: Callable[[T], object]) -> None:
    """Do the same with each at once; when several fail, one error names all of them."""
    if not things:
        return
    with ThreadPoolExecutor(max_workers=min(32, len(things))) as pool:
        futures = [pool.submit(deed, thing) for thing in things]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if len(errors) == 1 or any(not isinstance(error, ServiceError) for error in errors):
        raise next((e for e in errors if not isinstance(e, ServiceError)), errors[0])
    if errors:
        raise type(errors[0])("\n".join(str(error) for error in errors))


def observe_all(controllers: Mapping[str, Controller]) -> dict[str, Observation]:
    """What each instance does now, under the names given. Raises `ServiceError`."""
    return {name: controller.observe() for name, controller in controllers.items()}


def observations_table(title: str, seen: dict[str, Observation]) -> Table:
    return Table(
        title,
        ("service", "state", "side", "address in use", "address configured", "seen in"),
        tuple(
            (
                name,
                o.state.value,
                o.side.value if o.side else "-",
                o.address or "-",
                o.configured or "-",
                o.how,
            )
            for name, o in sorted(seen.items())
        ),
    )
