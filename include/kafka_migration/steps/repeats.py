"""What a mirror that copies at least once has copied again: where that lies, and who will read it twice."""

from __future__ import annotations

from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.anchors import read_syncs
from kafka_migration.mirror.legs import Leg
from kafka_migration.mirror.properties import at_least_once
from kafka_migration.mirror.rewinds import Rewind, rewinds
from kafka_migration.offsets import TopicPartition
from kafka_migration.run import Run

Rewinds = dict[TopicPartition, list[Rewind]]


def allowed(run: Run) -> bool:
    """Whether the plan says that messages may be copied more than once."""
    return run.plan.mirror is not None and at_least_once(run.plan.mirror.properties)


def rewinds_of(run: Run, leg: Leg) -> Rewinds:
    """By partition, where the mirror of a leg has copied again; empty where the plan lets nothing be repeated."""
    if not allowed(run) or run.mirror is None:
        return {}
    syncs = read_syncs(run.clusters.destination, run.mirror.syncs_topic, leg.syncs_from)
    found = {tp: rewinds((begin, leg.onto[tp]), syncs.get(tp, ())) for tp, begin in leg.begin.items()}
    return {tp: some for tp, some in found.items() if some}


def told(run: Run, again: Rewinds) -> list[Finding]:
    """A WARN for each partition that holds messages more than once."""
    return [
        Finding(
            f"mirror-repeats/{tp}",
            Status.WARN,
            f"the mirror was killed, and has copied up to {sum(r.again for r in found):,} messages again, first from"
            f" offset {found[0].up:,} of the {run.leaving}, to offset {found[0].down:,} on the {run.heading}",
            "every message once",
            "the mirror copies at least once, as the plan asks; groups that have not read these messages yet read them"
            " twice, others go on behind them; the comparison counts them exactly",
        )
        for tp, found in sorted(again.items())
    ]
