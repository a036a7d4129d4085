"""Steps: hold what is copied to the target until the verdict, and lift the holds after it.

After a failure they stay: lifting them would delete copies before the failed task is run again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka_migration.findings import Finding, Status
from kafka_migration.report import Change, StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps.common import check_window, moved_topics
from kafka_migration.topics.create import set_settings
from kafka_migration.topics.describe import Topic, describe_topics
from kafka_migration.topics.holds import Holds, holds_for

_KEY = "holds"
_HEARD_WITHIN = 1.0  # seconds


def held(run: Run) -> dict[str, dict[str, str]]:
    """By topic, what this pass holds on the target now, with the values to put back."""
    kept: dict[str, dict[str, str]] = run.headed(Side.TARGET).current.note(_KEY) or {}
    return kept


def hold(run: Run, names: Sequence[str] | None = None) -> StepReport:
    """Nothing of the topics on the target is deleted or compacted from now on; the former values are recorded first.

    `names`: which of them; by default those that move.
    """
    current = run.current
    if current.finished:
        return StepReport(f"nothing to do: run {current.finished['run_id']} has finished this migration")
    there = describe_topics(run.clusters.target, moved_topics(current) if names is None else names)
    wanted = _unheld(there)
    changes = [
        Change(f"{key} of {name}", there[name].settings.get(key, ""), value, done=not run.dry_run)
        for name, settings in wanted.items()
        for key, value in settings.items()
    ]
    if run.dry_run:
        return StepReport(f"would hold the stored messages of {len(wanted)} topics on the target", changes=changes)
    if wanted:
        check_window(run, "holding the topics of the target")
        before = held(run)
        former = {
            name: {**{key: there[name].settings[key] for key in settings}, **before.get(name, {})}
            for name, settings in wanted.items()
        }
        current.keep(_KEY, {**before, **former})
        set_settings(run.clusters.target, wanted)
    return StepReport(
        f"{len(held(run))} topics of the target are held: nothing of them is deleted or compacted until the verdict",
        changes=changes,
        data={"holds": told(held(run))},
    )


def renewed(run: Run) -> list[Finding]:
    """Set again what somebody has taken back since, one WARN a topic. What was deleted meanwhile is gone.

    Called by every later step that works on the copies: the content comparison names what is missing then.
    """
    holds = held(run)
    there = describe_topics(run.clusters.target, holds)
    wanted = _unheld(there)
    if run.dry_run or not wanted:
        return []
    # Of a hold that was set just now another broker may not have heard: so whoever is accused is looked at twice.
    time.sleep(_HEARD_WITHIN)
    there = describe_topics(run.clusters.target, wanted)
    wanted = _unheld(there)
    found = [
        Finding(
            f"hold-renewed/{name}",
            Status.WARN,
            "was " + ", ".join(f"{key}={there[name].settings.get(key, '')}" for key in settings) + ", held again now",
            "held until the verdict: " + ", ".join(f"{key}={value}" for key, value in settings.items()),
            "find out who changes this topic; what was deleted meanwhile is named when the content is compared",
        )
        for name, settings in sorted(wanted.items())
    ]
    set_settings(run.clusters.target, wanted)
    return found


def _unheld(topics: Mapping[str, Topic]) -> dict[str, dict[str, str]]:
    """By topic the settings that would let it lose something."""
    return {name: settings for name, topic in topics.items() if (settings := holds_for(topic))}


def lift(run: Run) -> StepReport:
    """Every hold of this pass is taken back: the target deletes and compacts as the source would."""
    holds = held(run)
    there = describe_topics(run.clusters.target, holds)
    changes = [
        Change(f"{key} of {name}", there[name].settings.get(key, ""), value, done=not run.dry_run)
        for name, settings in sorted(holds.items())
        if name in there
        for key, value in settings.items()
    ]
    if run.dry_run or not holds:
        return StepReport(f"{'would lift' if run.dry_run else 'no hold to lift:'} {len(holds)} topics", changes=changes)
    set_settings(run.clusters.target, {name: settings for name, settings in holds.items() if name in there})
    run.headed(Side.TARGET).current.keep(_KEY, {})
    return StepReport(
        f"the holds of {len(holds)} topics are lifted",
        changes=changes,
        findings=[Finding("holds-lifted/all", Status.PASS, f"{len(holds)} topics keep what the source would keep")],
    )


def told(holds: Holds) -> list[Mapping[str, Any]]:
    """Holds for the evidence: which, and how a person lifts them."""
    return [
        {
            "topic": topic,
            "settings": dict(settings),
            "lift": f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config "
            + ",".join(f"{key}={value}" for key, value in settings.items()),
        }
        for topic, settings in sorted(holds.items())
    ]
