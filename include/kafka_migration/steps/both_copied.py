"""Step of a failback of a mirror that copies both ways: what one cluster had is on the other. It stops no mirror.

Nobody has to be the last to write, as with one way: what comes later is copied like all else, and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka_migration.errors import ServiceError
from kafka_migration.offsets import Offsets, Which, from_json, read_offsets, to_json
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.sides import Side
from kafka_migration.steps import remade
from kafka_migration.steps.both_places import begun
from kafka_migration.steps.common import observe_all, topics_of_stage
from kafka_migration.steps.mirroring import StopStep
from kafka_migration.steps.pace import kept_running
from kafka_migration.waiting import Look


class CopiedStep(StopStep):
    """Waits until nothing visible is left to copy of what there was when the writers had stopped. `args`: none."""

    def prepare(self, run: Run, args: Mapping[str, Any]) -> dict[str, Any]:
        if run.dry_run or run.way_back.finished:
            return {"mirror": None}
        leg, mirror = begun(run, run.heading)
        remade.refuse(run, leg, "waiting until everything is copied")
        ends = run.way_back.note_offsets(_key(run)) or _fixed(run, leg.begin)
        mirror.resume()
        return {
            "mirror": kept_running(mirror, run.log).watched.to_json(),
            "begins": to_json(leg.begin),
            "ids": leg.ids,
            "points": to_json(ends),
        }

    def settle(self, run: Run, brief: Mapping[str, Any], look: Look) -> StepReport:
        if brief["mirror"] is None:
            return StepReport(
                f"would wait until everything of the {run.leaving} is copied" if run.dry_run else "nothing to wait for"
            )
        ends = from_json(brief["points"])
        return StepReport(
            f"everything of the {run.leaving} is on the {run.heading}; the mirror goes on",
            tables=[
                Table(
                    f"Copied to the {run.heading}",
                    ("partition", f"up to offset of the {run.leaving}"),
                    tuple((str(tp), end) for tp, end in sorted(ends.items())),
                )
            ],
        )


def _fixed(run: Run, begins: Offsets) -> Offsets:
    """Where the cluster that is copied from ends, recorded by the first attempt: on the way home a cutover point."""
    back = run.way_back
    if run.heading is Side.SOURCE:
        seen = observe_all({s.name: run.controllers[s.name] for s in run.plan.services if s.produces})
        there = [n for n, o in seen.items() if o.state is State.RUNNING and o.side is not run.heading]
        if there:
            raise ServiceError(
                f"{', '.join(there)} still write with the {run.leaving}'s address: run the task `stop_writers` again"
            )
    ends = read_offsets(run.clusters.origin, begins, Which.END)
    if run.heading is Side.SOURCE:
        for stage in run.graph.stages:
            topics = topics_of_stage(run, back, stage)
            back.freeze(stage, {tp: end for tp, end in ends.items() if tp.topic in topics}, run.run_id, run.now())
    back.keep(_key(run), to_json(ends))
    return ends


def _key(run: Run) -> str:
    return f"copied/{run.heading}"


copied = CopiedStep()
