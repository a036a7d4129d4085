"""Holds: what keeps a topic of the target whole until the verdict, and how it is taken back.

Copies keep the timestamps of their originals, so that a target with the source's retention would delete the oldest of
them minutes after they were copied (measured), and a compacted topic would lose what the source still has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kafka_migration.topics.describe import Topic

_NEVER = str(2**63 - 1)

Holds = Mapping[str, Mapping[str, str]]
"""By topic: each setting that is held, with the value that it has when nothing is."""


def holds_for(topic: Topic) -> dict[str, str]:
    """The settings under which nothing of this topic is deleted or compacted."""
    policy = topic.settings.get("cleanup.policy", "delete")
    wanted: dict[str, str] = {}
    if "delete" in policy:
        wanted |= {"retention.ms": "-1", "retention.bytes": "-1"}
    if "compact" in policy:
        # The broker wants the one not to be above the other.
        wanted |= {"max.compaction.lag.ms": _NEVER, "min.compaction.lag.ms": _NEVER}
    return {name: value for name, value in wanted.items() if topic.settings.get(name) != value}


def lifted(topic: Topic, holds: Holds) -> Topic:
    """The topic as it will be when its holds are lifted."""
    held = holds.get(topic.name)
    return replace(topic, settings={**topic.settings, **held}) if held else topic
