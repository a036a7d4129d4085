"""Step: is the target in step with the source? Topics listed, a canary arrived, every group's place there known.

It comes behind the rehearsal and before anybody is asked to stop the writers. It sets no offset and moves nobody; what
it writes is the canary, where the plan has one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import canary
from kafka_migration.mirror.progress import progress as progress_of
from kafka_migration.offsets import Which, read_several
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps import remade
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.handover import rehearsed_positions
from kafka_migration.steps.mirroring import canary_topic, copied_topics, leg_of, runner
from kafka_migration.steps.pace import failing, kept_running
from kafka_migration.topics.describe import describe_topics
from kafka_migration.waiting import Look, Outcome

_ARRIVES_WITHIN = 900.0  # seconds, though the plan gave the mirror longer to catch up: by now it has


class SynchronisedStep:
    """Sends a canary where the plan has one, waits until the mirror has brought it, and judges. `args`: none.

    Each attempt sends a canary of its own.
    """

    name = "the canary on the target"

    def timeout(self, run: Run) -> float:
        return min(run.plan.mirror.timeout, _ARRIVES_WITHIN) if run.plan.mirror else 0.0

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        leg = leg_of(run)
        topic = canary_topic(run)
        if run.dry_run or leg is None or leg.ended or topic is None:
            return {"canary": None}
        remade.refuse(run, leg, "sending a canary")
        mirror = kept_running(runner(run), run.log)
        sent = canary.send(run.clusters, topic, run.now)
        return {"canary": sent.to_json(), "mirror": mirror.watched.to_json()}

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        if brief["canary"] is None:
            return Look(Outcome.DONE, (), memory)
        if memory.get("id") == brief["canary"]["id"]:  # it was seen before: looking again does not make it later
            return Look(Outcome.DONE, (_told(memory),), memory)
        began = time.monotonic()
        if canary.has_arrived(clusters, brief["canary"]):
            after = now - brief["canary"]["sent_at"] + time.monotonic() - began
            seen = {**memory, "id": brief["canary"]["id"], "seconds": round(after, 3)}
            return Look(Outcome.DONE, (_told(seen),), seen)
        if failed := failing(progress_of(clusters, brief["mirror"]), memory):
            return failed
        line = f"the canary has not arrived yet, {now - brief['canary']['sent_at']:.0f} s after it was written"
        return Look(Outcome.WAITING, (line,), memory)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        if brief["canary"] is None:
            return StepReport()
        topic = brief["canary"]["topic"]
        return StepReport(
            findings=[
                Finding(
                    f"canary/{topic}",
                    Status.FAIL,
                    "; ".join(look.lines) or "it has not arrived",
                    "what is written to the source arrives on the target",
                    f"the mirror has caught up with the plan's topics, and does not copy {topic}: look at its log, and"
                    " whether it may read and write that topic; then clear this task, which sends another",
                )
            ],
            notes=[look.why] if look.why else [],
        )

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        leg = leg_of(run)
        if run.dry_run:
            return StepReport("would look whether the target is in step with the source")
        if leg is None or leg.ended:
            return StepReport("nothing to look at: the mirror has reached the cutover point")
        report = StepReport("the target is in step with the source")
        if brief["canary"] is not None:
            seconds, topic = float(look.memory["seconds"]), brief["canary"]["topic"]
            report.findings.append(Finding(f"canary/{topic}", Status.PASS, _told(look.memory)))
            report.data["canary"] = {"topic": topic, "seconds": seconds}
            report.summary += f"; a message needs at most {seconds:.1f} s"
        _topics(run, report)
        _groups(run, report)
        stop_with(report, "looking whether the target is in step with the source")
        return report


def _told(memory: Mapping[str, Any]) -> str:
    return f"the canary was visible on the target at most {memory['seconds']:.1f} s after it was written to the source"


def _topics(run: Run, report: StepReport) -> None:
    """Every topic that is copied is listed on the target, with as many partitions."""
    names = sorted(copied_topics(run))
    here, there = (
        {name: topic.partitions for name, topic in describe_topics(cluster, names).items()}
        for cluster in (run.clusters.origin, run.clusters.destination)
    )
    rows = tuple((name, here.get(name, 0), there.get(name, 0)) for name in names)
    report.tables.append(Table("Topics", ("topic", f"partitions on the {run.leaving}", f"on the {run.heading}"), rows))
    report.findings += [
        Finding(
            f"listed/{name}",
            # Partitions that have come to the source since are made on the target by the next comparison of topics.
            Status.WARN if 0 < theirs < mine else Status.FAIL,
            f"has {mine} partitions on the {run.leaving}, {theirs} on the {run.heading}",
            "as many on both: what is copied keeps its partition",
            "`compare_topics`, which comes next, makes the partitions that are missing"
            if 0 < theirs < mine
            else "somebody has changed the topics since `create_topics`: find out who, then clear that task with all"
            " that comes behind it",
        )
        for name, mine, theirs in rows
        if mine != theirs
    ] or [Finding("listed/all", Status.PASS, f"{len(rows)} topics are listed on both with as many partitions")]


def _groups(run: Run, report: StepReport) -> None:
    """How far every group has come, and what that is on the target, as the rehearsal has proved it.

    A position near the end has no place there yet: it lies where the mirror copies now, and is proved at the handover.
    """
    known = rehearsed_positions(run.current, run.plan.groups)
    ends = read_several(run.clusters.origin, {tp for places in known.values() for tp in places}, (Which.END,))
    rows = []
    for group, consumes in sorted(run.plan.groups.items()):
        if consumes.offsets != "group":
            report.notes.append(f"{group} keeps its offsets outside Kafka: told as a table once the mirror has ended")
            continue
        mine = [
            (group, str(tp), here, max(0, ends[Which.END][tp] - here), there)
            for tp, (here, there) in sorted(known.get(group, {}).items())
        ]
        rows += mine
        left, placed = sum(row[3] for row in mine), sum(row[4] is not None for row in mine)
        ahead = "" if placed == len(mine) else f"; {len(mine) - placed} lie where the mirror copies now"
        report.findings.append(
            Finding(
                f"progress/{group}",
                Status.PASS if mine else Status.FAIL,
                f"{left:,} offsets left on the {run.leaving}; {placed} of {len(mine)} positions have their place on the"
                f" {run.heading}{ahead}",
                "every position of the group in the rehearsal",
                "" if mine else "run the task `rehearse` first; one that was marked as success by hand records nothing",
            )
        )
    columns = ("group", "partition", f"next on the {run.leaving}", "offsets left there", f"next on the {run.heading}")
    report.tables.append(Table("How far every group has come", columns, tuple(rows)))


verify_synchronisation = SynchronisedStep()
