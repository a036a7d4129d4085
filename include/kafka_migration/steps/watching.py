"""Step: watch a mirror that is kept until the next run of its DAG watches it.

Each look asks how far copying is, sends a canary, and notes in the log of positions what groups have read: that is what
a failover knows. It changes nothing of the plan's: what has to be set right is left to `prepare`, in a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import Refused
from kafka_migration.evidence.words import counted
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import canary, positions
from kafka_migration.offsets import to_json
from kafka_migration.report import Change, StepReport, Table
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import keeping, mirroring, remade
from kafka_migration.steps.pace import bytes_each
from kafka_migration.steps.watched import KEPT, WatchLook, as_told, configuration, topics_digest
from kafka_migration.topics.describe import partitions_of, topic_names
from kafka_migration.waiting import Look, Outcome

STATE = "mirror/state"
"""The record that tells how the mirror was when it was last looked at."""

_FOR_EVER = 10 * 366 * 86400.0
_LATE = 120.0  # seconds after the time of the next run for which it is waited for
_FRESH = 60.0  # seconds: what was seen before that says nothing about now
_LEAST = 30.0  # a watch is at least about as long


class WatchStep:
    """Watches until a younger run does, or none has come in its time. `args`: none."""

    name = "the next run, which goes on watching"

    def timeout(self, run: Run) -> float:
        return _FOR_EVER  # it ends by itself: in its time, or when something does not answer

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        """Set right what a look has seen to be wrong, then fix what the next looks compare with."""
        if why := keeping.stands_back(run):
            return {"flows": {}, "why": why}
        if run.dry_run:
            return {"flows": {}, "why": "would watch the mirror"}
        with keeping.advising(run):
            return self._prepared(run)

    def _prepared(self, run: Run) -> dict[str, Any]:
        report = StepReport()
        for step in (keeping.create_topics, keeping.start_mirror) if _has_changed(run) else (keeping.start_mirror,):
            done = step(run)
            report.changes += done.changes
            report.findings += [f for f in done.findings if f.status is not Status.PASS]
        if why := keeping.stands_back(run):
            return {"flows": {}, "why": why}
        _record(run, {}, [f"{f.id}: {f.seen}" for f in report.findings])
        log = positions.topic_of(run.plan)
        brought = canary.topic_of(run.plan)
        return {
            "plan": run.plan.plan,
            "flows": {side.value: _flow(run.headed(side), brought, log) for side in _kept(run)},
            "why": "",
            "run": run.run_id,
            "until": _ends(run),
            "prepared": run.now(),
            "did": [*(as_told(f) for f in report.findings), *(_changed(c) for c in report.changes)],
            "restarts": list(run.records.get(keeping.RESTARTS) or ()),
            "canary": brought,
            "log": log,
            "groups": sorted(g for g, c in run.plan.groups.items() if c.offsets == "group"),
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if not brief["flows"]:
            return Look(Outcome.DONE, (brief["why"],), memory)
        return WatchLook(clusters, brief, memory, now).look()

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return _report(brief, look)

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        if not brief["flows"]:
            return StepReport(brief["why"])
        report = _report(brief, look)
        problems = [f"{f.id}: {f.seen}" for f in report.findings if f.status is not Status.PASS]
        _record(run, report.data["watched"], problems)
        return report


def last_word(run: Run, problems: Sequence[str], whole: bool) -> StepReport:
    """What is left on record of a run that did not come to its end; `problems`: of what its steps have failed."""
    if why := keeping.stands_back(run):
        return StepReport(why)
    if not whole and not run.dry_run:
        _record(run, {"state": "not watched"}, [*problems] or ["the last run did not come to its end"])
    return StepReport("the mirror is watched by the next run")


def _record(run: Run, watched: Mapping[str, Any], problems: list[str]) -> None:
    """The state of the mirror, for whoever looks at the plan; what is not known anew stays as it was."""
    former = run.records.get(STATE) or {}
    known = {key: watched.get(key, former.get(key)) for key in ("behind", "latency", "tasks")}
    state = watched.get("state") or mirroring.runner(run).state()
    run.records.set(STATE, {"at": run.now(), "state": state, **known, "problems": problems})


def _kept(run: Run) -> list[Side]:
    """The sides that are copied to now."""
    found = []
    for side in run.plan.ways:
        leg = mirroring.leg_of(run.headed(side))
        if leg is not None and not leg.ended and leg.heading is side:
            found.append(side)
    if not found:
        raise Refused("no mirror has been started; run the task `start_mirror` first")
    return found


def _flow(run: Run, brought: str | None, log: str) -> dict[str, Any]:
    """Of one mirror what a look must know."""
    leg = mirroring.leg_of(run)
    assert leg is not None
    mirror, there = mirroring.runner(run), run.heading is Side.TARGET
    remade.refuse(run, leg, "watching the mirror")
    watched = mirror.watched.to_json()
    known = positions.read(run.clusters.target, log)
    return {
        "mirror": watched,
        "config": configuration(run.clusters, {"mirror": watched}),
        "topics": topics_digest(run.clusters.origin),
        "begins": to_json(leg.begin),
        "ids": {side: dict(ids) for side, ids in leg.ids.items()},
        "proved": to_json(known.copied) if there else {},
        "carried": dict(known.carry) if there and run.now() - (known.looked_at or 0.0) <= _FRESH else {},
        "bytes": bytes_each(run, sorted({tp.topic for tp in leg.begin})),
        "copy": mirror.copy_of(brought) if brought and there else None,
    }


def _has_changed(run: Run) -> bool:
    """Whether the plan chooses topics of the source, or partitions of them, that are not copied yet."""
    chosen = {name for name in topic_names(run.clusters.source) if run.plan.includes(name)}
    for side in run.plan.ways:
        way = run.headed(side)
        leg, here = mirroring.leg_of(way), chosen & topic_names(way.clusters.origin)
        if leg is None or any(tp not in leg.begin for tp in partitions_of(way.clusters.origin, here)):
            return True
    return False


def _ends(run: Run) -> float:
    return _next(run, run.now() + _LEAST) + _LATE


def _next(run: Run, after: float) -> float:
    from croniter import croniter

    assert run.plan.mirror is not None
    return float(croniter(run.plan.mirror.schedule, datetime.fromtimestamp(after, UTC)).get_next(float))


def _changed(change: Change) -> dict[str, str]:
    return {"what": change.what, "before": change.before, "after": change.after}


def _report(brief: Mapping[str, Any], look: Look) -> StepReport:
    """What the watch has seen."""
    if not brief["flows"]:
        return StepReport(brief["why"])
    memory = look.memory
    did: list[Mapping[str, str]] = list(memory.get("did", ()))
    findings = [
        Finding.from_json({key: value for key, value in one.items() if key != "finding"})
        for one in did
        if "finding" in one
    ]
    flows: Mapping[str, Mapping[str, Any]] = memory.get("flows", {})
    behind = sum(flow.get("behind", 0) for flow in flows.values())
    latency = max((flow["latency"] for flow in flows.values() if "latency" in flow), default=None)
    restarted = sum(f.id.startswith("mirror-restarted/") for f in findings)
    told = "copied up to the end" if not behind else f"{counted(behind, 'offset')} behind"
    if latency is not None:
        told += f", a message needs {latency:.1f} s"
    worst = max((flow.get("worst", 0) for flow in flows.values()), default=0)
    return StepReport(
        f"{told}; at most {counted(worst, 'offset')} behind while it was watched",
        tables=[_lagging(flows)],
        changes=[Change(one["what"], one["before"], one["after"]) for one in did if "what" in one],
        findings=findings or [Finding("mirror-kept/all", Status.PASS, f"{told}; nothing had to be set right")],
        notes=list(look.lines),
        data={
            "watched": {
                "behind": behind,
                "worst": worst,
                "latency": latency,
                "slowest": max((flow["slowest"] for flow in flows.values() if "slowest" in flow), default=None),
                "tasks": int(sum(n for key, n in look.numbers.items() if key.endswith(".tasks"))),
                "restarted": restarted,
                "noted_at": max((flow["noted_at"] for flow in flows.values() if "noted_at" in flow), default=None),
            }
        },
    )


def _lagging(flows: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (f"to the {side}", partition, at, end, end - at)
        for side, flow in flows.items()
        for partition, (at, end, *_) in sorted(flow.get("lag", {}).items())
    ]
    columns = ("mirror", "partition", "copied up to", "ends at", "offsets behind")
    return Table("Partitions that are behind", columns, tuple(rows[:KEPT]))


watch = WatchStep()
