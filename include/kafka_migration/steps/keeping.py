"""Steps: see that a mirror can be kept, and set it right: topics, connector, configuration, what was stopped or failed.

Each is run again every few minutes, changes nothing where all is well, and tells what it found otherwise. They touch no
service and no group, and stand back while a failover or failback of the plan has the word.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from kafka_migration.checks.clusters import check_clusters
from kafka_migration.checks.mirror import check_mirrors
from kafka_migration.checks.scene import Scene, look_around
from kafka_migration.checks.topics import check_topics
from kafka_migration.checks.ways import check_ways
from kafka_migration.errors import ClusterUnreachable, Refused
from kafka_migration.findings import Finding, Status, accept
from kafka_migration.mirror import positions
from kafka_migration.mirror.properties import may_be_secret
from kafka_migration.mirror.rest import HALTED, Connect
from kafka_migration.mirror.runner import MirrorRunner
from kafka_migration.offsets import Which
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import mirroring, topics
from kafka_migration.steps.common import FLOW, moved_topics, stop_with

RESTARTS = "mirror/restarts"
"""The record of when failed tasks were started again, in seconds since the epoch."""

_APPLIED = "mirror/applied"
_REMEMBERED = 20
_LINES = 3


def stands_back(run: Run) -> str | None:
    """Why the mirror is left alone, read anew each time; None: it is kept."""
    if flow := run.records.get(FLOW):
        failback = f"{run.plan.plan}.failback"
        return f"stands back: the plan has {flow}; nothing is started before {failback} has come to its end"
    return None


def preflight(run: Run) -> StepReport:
    """What must be true for a mirror to be kept. Raises `FindingsFailed`, `ClusterUnreachable`."""
    if why := stands_back(run):
        return StepReport(why)
    with advising(run):
        scene = look_around(run, moves=False)
        findings = [*check_clusters(scene), *check_topics(scene), *check_ways(scene), *_mirrors(run), *_groups(scene)]
    report = StepReport(
        tables=[_table(scene)],
        findings=accept(findings, run.plan.acceptances),
        data={
            "topics": len(scene.source.topics),
            "partitions": sum(topic.partitions for topic in scene.source.topics.values()),
            "groups": len(run.plan.groups),
            "source_cluster_id": scene.source.identity.cluster_id,
            "target_cluster_id": scene.target.identity.cluster_id,
        },
    )
    report.summary = f"{len(report.findings)} findings, {sum(f.stops for f in report.findings)} of them stop the run"
    stop_with(report, "preflight")
    return report


def create_topics(run: Run) -> StepReport:
    """Create what is missing on the target, and what the source has gained since the last time."""
    if why := stands_back(run):
        return StepReport(why)
    with advising(run):
        return topics.create(run) if run.dry_run or not moved_topics(run.current) else topics.parity(run)


def start_mirror(run: Run) -> StepReport:
    """Let the mirror run as the plan has it. What somebody else has done to it is told, and set right.

    A failover that begins meanwhile says so before it stops the mirror: then what was started here is stopped again,
    by this attempt or, where that was killed, by the next.
    """
    if why := stands_back(run):
        return StepReport(why, changes=_stopped_again(run))
    if run.dry_run:
        return mirroring.start(run)
    kept = [_Kept.of(run.headed(side)) for side in run.plan.ways]
    try:
        with advising(run):
            report = mirroring.start(run)
        findings = [finding for one in kept for finding in one.set_right(run)]
    finally:
        why = stands_back(run)
        if why:
            for one in kept:
                one.mirror.stop()
    if why:
        return StepReport(why, changes=[Change(f"{one.mirror}", "started", "stopped again") for one in kept])
    report.changes += positions.make(run.clusters.target, positions.topic_of(run.plan))
    report.findings += findings
    told = counted_problems(findings)
    report.summary = f"{report.summary}; {told}" if told else report.summary
    return report


def _stopped_again(run: Run) -> list[Change]:
    """Until a failback has begun, which needs it, the mirror to the target stays stopped."""
    mirror = run.mirrors.get(Side.TARGET)
    if run.dry_run or mirror is None or run.way_back.note("copies") is not None:
        return []
    before = mirror.state()
    if before in ("STOPPED", "ABSENT"):
        return []
    mirror.stop()
    return [Change(f"{mirror}", before, "stopped again")]


@contextlib.contextmanager
def advising(run: Run) -> Iterator[None]:
    """What does not answer within is told with what to do about a source that is lost."""
    try:
        yield
    except ClusterUnreachable as error:
        raise ClusterUnreachable(f"{error}\n{if_lost(run.plan.plan)}") from None


def if_lost(plan: str) -> str:
    """What to do when the source does not come back."""
    return f"If the source is lost, or does not come back in time: run {plan}.failover."


def counted_problems(findings: Iterable[Finding]) -> str:
    """In a few words what was set right; nothing where nothing was."""
    words = {"mirror-drift": "changed by somebody", "mirror-resumed": "resumed", "mirror-restarted": "restarted"}
    listed = list(findings)
    counts = {word: sum(f.id.startswith(f"{prefix}/") for f in listed) for prefix, word in words.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


@dataclass(frozen=True)
class _Kept:
    """One mirror, as it was found before it is started.

    `known`: digests of the configuration that this product gave it. `begun`: whether it was started in this pass.
    """

    mirror: MirrorRunner
    worker: Connect
    known: Mapping[str, str]
    found: Mapping[str, str]
    state: str
    begun: bool

    @classmethod
    def of(cls, run: Run) -> _Kept:
        """The one that copies to where the run is headed."""
        mirror, worker = mirroring.runner(run), run.clusters.worker
        if worker is None:
            raise Refused(f"the plan names no Kafka Connect cluster that copies to the {run.heading}")
        known, found = run.records.get(_key(mirror)) or {}, _applied(worker, mirror.name)
        return cls(mirror, worker, known, found, mirror.state(), mirroring.leg_of(run) is not None)

    def set_right(self, run: Run) -> list[Finding]:
        """What somebody else has done to it and its start has set right; what had failed is started again."""
        applied = _applied(self.worker, self.mirror.name)
        if (digests := _digests(applied)) != self.known:
            run.records.set(_key(self.mirror), digests)
        others = [*_halted(self.mirror.name, self.state), *_drift(self.known, self.found, applied)]
        return [*(others if self.begun else ()), *_restarted(run, self.worker, self.mirror.name)]


def _key(mirror: MirrorRunner) -> str:
    return f"{_APPLIED}/{mirror.name}"


def _applied(worker: Connect, name: str) -> dict[str, str]:
    """The connector's configuration now; empty where there is none."""
    found = worker.config(name) or {}
    found.pop("name", None)
    return found


def configuration_digest(worker: Connect, name: str) -> str:
    """By what a look sees that somebody has changed the connector."""
    return _digest(repr(sorted(_applied(worker, name).items())))


def _digests(config: Mapping[str, str]) -> dict[str, str]:
    """What is remembered of a configuration: enough to see a change, and nothing that could be a secret."""
    return {key: _digest(value) for key, value in sorted(config.items()) if not may_be_secret(key)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _drift(known: Mapping[str, str], found: Mapping[str, str], applied: Mapping[str, str]) -> list[Finding]:
    """What is not as this product had left it. `known`: digests of that; `found`: before it was set right."""
    if not known or not found:
        return []
    return [
        Finding(
            f"mirror-drift/{key}",
            Status.WARN,
            f"was {_shown(key, found, applied)} in Kafka Connect, set right now",
            _shown(key, applied, applied),
            "somebody has changed the connector there: find out who; what shall stay so belongs into mirror.properties",
        )
        for key in sorted({*known, *found, *applied})
        if _differs(key, known, found, applied)
    ]


def _differs(key: str, known: Mapping[str, str], found: Mapping[str, str], applied: Mapping[str, str]) -> bool:
    """Of what may be a secret nothing is remembered: it differs where it had to be set right."""
    if may_be_secret(key):
        return found.get(key) != applied.get(key)
    return known.get(key) != (_digest(found[key]) if key in found else None)


def _shown(key: str, config: Mapping[str, str], applied: Mapping[str, str]) -> str:
    """A value for people: not where it may be a secret, nor of a property of which nothing is known."""
    if key not in config:
        return "not set"
    return "set to another value" if key not in applied or may_be_secret(key) else config[key] or "empty"


def _halted(name: str, state: str) -> list[Finding]:
    if state not in HALTED:
        return []
    return [
        Finding(
            f"mirror-resumed/{name}",
            Status.WARN,
            f"was {state}, runs again",
            "a mirror that is kept runs",
            "somebody has stopped it by Connect's REST: find out who. To keep it stopped, pause its DAG in Airflow",
        )
    ]


def _restarted(run: Run, worker: Connect, name: str) -> list[Finding]:
    """Start again what has failed; the reasons, which Connect forgets then, are told."""
    failures = worker.progress(name).failures
    if not failures:
        return []
    worker.restart_failed(name)
    run.records.set(RESTARTS, [*(run.records.get(RESTARTS) or []), run.now()][-_REMEMBERED:])
    return [
        Finding(
            f"mirror-restarted/{task}",
            Status.WARN,
            "had failed: " + reason(trace),
            "tasks that run",
            "it was started again; where it fails again and again the run fails: mend the cause",
        )
        for task, trace in sorted(failures.items())
    ]


def reason(trace: str) -> str:
    """What a Java trace says, without the places in the code."""
    lines = [line.strip() for line in trace.splitlines()]
    said = [line for line in lines if line and not line.startswith(("at ", "... "))]
    return "; ".join(dict.fromkeys(said[:1] + said[1:][-(_LINES - 1) :]))


def _mirrors(run: Run) -> list[Finding]:
    """What would copy home is not needed before a failback: nothing of it keeps the mirror from being kept."""
    return [
        replace(f, status=Status.WARN) if f.stops and f.id.endswith("-back") and not run.plan.prefixed else f
        for f in check_mirrors(run)
    ]


def _groups(scene: Scene) -> list[Finding]:
    """Groups of which nothing can be noted. It is no reason not to copy."""
    return [
        Finding(
            f"kept-group/{group}",
            Status.WARN,
            f"group {group} has no offsets on the source",
            "a group that reads",
            "check its name; until it has committed something a failover has nothing to set for it",
        )
        for group, consumes in scene.run.plan.groups.items()
        if consumes.offsets == "group" and not scene.source.commits.get(group)
    ]


def _table(scene: Scene) -> Table:
    ends, starts = scene.source.offsets[Which.END], scene.source.offsets[Which.START]
    return Table(
        "Topics",
        ("topic", "partitions", "offsets kept", "on the target"),
        tuple(
            (
                topic.name,
                topic.partitions,
                sum(ends[tp] - starts[tp] for tp in topic.numbered()),
                "there" if topic.name in scene.target.topics else "to create",
            )
            for topic in scene.source.topics.values()
        ),
    )
