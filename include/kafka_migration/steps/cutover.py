"""Step that waits: the cutover point of a stage's topics, their end offsets once these are final.

Final means: no end has moved for the plan's `cutover.quiet`, the last stable offset equals the high watermark (no open
transaction), and no writer runs with the address of the cluster that is left. What a controller cannot see, Kafka must
show: the ends of its topics rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.clusters.protocol import speak
from kafka_migration.errors import ServiceError
from kafka_migration.offsets import TopicPartition, Which, from_json, read_several, to_json
from kafka_migration.passes import some
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps.common import observations_table, observe_all, stage_of, topics_of_stage
from kafka_migration.stragglers import find_stragglers, settle_stragglers
from kafka_migration.topics.describe import choose, partitions_of, topic_names
from kafka_migration.waiting import Look, Outcome


class CutoverStep:
    """`args`: `stage`. The brief holds the topics; the memory the ends of the last look and since when they rest."""

    name = "cutover"

    def timeout(self, run: Run) -> float:
        return run.plan.cutover.timeout

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        stage = str(args["stage"])
        current = run.current
        topics = [] if self._nobody_leaves(run, stage) else topics_of_stage(run, current, stage)
        if run.dry_run and not current.note("topics"):
            chosen, _ = choose(run.plan.topics, run.plan, topic_names(run.clusters.origin))
            topics = [topic for topic in chosen if stage_of(run, topic) == stage]
        frozen = current.points(stage)
        # Frozen by an earlier run, and since then a rollback may have begun to move the writers back.
        settled = bool(frozen) and run.returning and run.heading is Side.TARGET
        if not run.dry_run and not settled:
            self._no_writer_left(run, topics)
        return {
            "stage": stage,
            "topics": topics,
            "quiet": run.plan.cutover.quiet,
            "frozen": to_json(frozen[-1].offsets) if frozen else None,
            "writers": {t: [s.name for s in run.plan.writers(t)] for t in topics},
        }

    def look(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> Look:
        topics = brief["topics"]
        if not topics or brief["frozen"] is not None:
            return Look(Outcome.DONE, ("the cutover point is recorded already",))
        offsets = read_several(clusters.origin, partitions_of(clusters.origin, topics), (Which.END, Which.STABLE))
        ends = to_json(offsets[Which.END])
        open_at = sorted(tp for tp, end in offsets[Which.END].items() if offsets[Which.STABLE][tp] < end)
        moved = memory.get("ends") != ends
        kept: dict[str, Any] = {"ends": ends, "since": now if moved else memory["since"]}
        if open_at:
            return Look(Outcome.WAITING, (_open(clusters, open_at),), kept)
        rest = now - kept["since"]
        if rest >= brief["quiet"] and not moved:
            return Look(Outcome.DONE, (f"no end offset has moved for {rest:.1f} s",), kept)
        moving = sorted(
            {tp.rpartition("/")[0] for tp, end in ends.items() if memory.get("ends", {}).get(tp, end) != end}
        )
        line = (
            f"still growing: {', '.join(moving)} (written by {some([w for t in moving for w in brief['writers'][t]])})"
            if moving
            else f"at rest for {rest:.1f} s of {brief['quiet']:.1f} s"
        )
        return Look(Outcome.WAITING, (line,), kept)

    def seen(self, brief: Mapping[str, Any], look: Look) -> StepReport:
        return StepReport(notes=list(look.lines))

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        stage, topics = brief["stage"], brief["topics"]
        if run.dry_run:
            return StepReport(
                f"would freeze the end offsets of {', '.join(topics) or 'no topic'}", notes=list(look.lines)
            )
        current = run.current
        if not topics:
            return StepReport("no topic reaches its cutover point here")
        already = brief["frozen"] is not None
        notes = []
        if already:
            stragglers = find_stragglers(run, current, [stage])
            for point in settle_stragglers(run, current, [stage], stragglers):
                notes += [f"straggler: {s}; frozen anew as point {point.number}" for s in stragglers]
        else:
            self._no_writer_left(run, topics)
            current.freeze(stage, from_json(look.memory["ends"]), run.run_id, run.now())
        points = current.points(stage)
        writers = sorted({s.name for t in topics for s in run.plan.writers(t)})
        seen = observe_all(run.instances(writers))
        by_hand = sorted(name for name, o in seen.items() if o.state is State.UNSEEN)
        if by_hand:
            notes.append(f"{', '.join(by_hand)}: moved by hand; that the ends rest is what shows it")
        target = read_several(run.clusters.destination, points[-1].offsets, (Which.END,))[Which.END]
        return StepReport(
            summary=f"cutover point {points[-1].number} of {len(topics)} topics "
            + ("was recorded before" if already else f"frozen at {sum(points[-1].offsets.values()):,} offsets in all"),
            tables=[
                observations_table("Writers", seen),
                Table(
                    f"Cutover point {points[-1].number}",
                    ("partition", f"end offset on the {run.leaving}", f"end offset on the {run.heading} now"),
                    tuple((str(tp), end, target[tp]) for tp, end in sorted(points[-1].offsets.items())),
                ),
            ],
            notes=notes,
            data={"stage": stage, "points": [point.to_json() for point in points]},
        )

    def _nobody_leaves(self, run: Run, stage: str) -> bool:
        """Of a rollback's way there: whether this point is not needed, since who would need it stays on the source."""
        if not run.returning or run.heading is Side.SOURCE:
            return False
        units = run.graph.readers if stage == FIRST_STAGE else [run.graph.unit(stage)]
        return all(run.stays(name) for unit in units for name in unit.services if run.plan.service(name).consumes)

    def _no_writer_left(self, run: Run, topics: list[str]) -> None:
        writers = {s.name for t in topics for s in run.plan.writers(t)}
        seen = observe_all(run.instances(sorted(writers)))
        there = [f"{name}: {o}" for name, o in seen.items() if o.state is State.RUNNING and o.side is not run.heading]
        if there:
            raise ServiceError(
                f"a cutover point cannot be frozen while a writer runs with the {run.leaving}'s address:\n  "
                + "\n  ".join(there)
                + "\nRun the task that switches it again."
            )


def _open(clusters: Clusters, partitions: list[TopicPartition]) -> str:
    """Who holds a transaction open, where the broker tells."""
    with speak(clusters.origin) as protocol:
        held = protocol.open_transactions(partitions) if protocol else None
    if held:
        return f"open transaction: {some([str(t) for t in held])}; it ends with its producer's commit or its time-out"
    return f"open transaction on {some(partitions)}; the broker does not tell who holds it"


cutover = CutoverStep()
