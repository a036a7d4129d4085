"""One cell of the table: one run of one flow in which one victim is hit at each step where it acts or is waited for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.faults.flows import Flow
from tests.faults.follow import Followed
from tests.faults.plugins.rendezvous import Arrival
from tests.faults.shipments import unwritten
from tests.faults.stage import FaultStage
from tests.faults.victims import Victim

from demo.shop.catalogue import readers
from demo.waiting import WaitedInVain
from demo.witness import WitnessCount, wait_until_complete

OK = "ok"

_RUN = "run"
_DAG_WITHIN = 90.0
_RUN_WITHIN = 600.0
_CLEARS = 6
_COMPLETE_WITHIN = 120.0
_QUIET = 30.0


@dataclass(frozen=True)
class Row:
    """What became of one hit: whether its step was done in the end, and how many seconds after the hit."""

    step: str
    outcome: str
    seconds: float | None

    @property
    def ok(self) -> bool:
        return self.outcome == OK


@dataclass(frozen=True)
class CellResult:
    """One run: its hits, what was counted, what it took. `notes` say what is expected or was not possible."""

    flow: str
    victim: str
    rows: tuple[Row, ...]
    produced: int
    lost: int
    repeated: int
    out_of_order: int
    retries: int
    clears: int
    seconds: float
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems and all(row.ok for row in self.rows)


def run_cell(stage: FaultStage, flow: Flow, victim: Victim) -> CellResult:
    """Bring the shop into the flow's first state, trigger, hit, follow to the end, count."""
    began = time.monotonic()
    points = victim.points(flow)
    plan = f"{flow.name}-{victim.name}"
    stage.renew(plan, flow.text(plan))
    stage.client.wait_for_dag(flow.dag_id(plan), _DAG_WITHIN, stage.raise_if_dead)
    flow.begin(stage, plan)
    hits = _Hits(stage, victim, points)
    followed = Followed(stage.client, flow.dag_id(plan), _RUN)
    with victim.around(stage) as impossible:
        stage.rendezvous.arm(points, defer=victim.defer)
        followed.trigger()
        problems = _followed(followed, hits)
        counted = _counted(stage)
    if not hits.at:
        problems.append("nothing was hit")
    judged = _Judged(stage, flow, hits, counted)
    left = stage.end_orphans()
    return CellResult(
        flow=flow.name,
        victim=victim.name,
        rows=tuple(_rows(points, hits, followed)),
        produced=counted.produced,
        lost=judged.lost,
        repeated=counted.repeated,
        out_of_order=counted.out_of_order,
        retries=followed.retries(),
        clears=followed.clears,
        seconds=time.monotonic() - began,
        problems=(*problems, *judged.problems),
        notes=(*impossible, *judged.notes, *_orphans(left)),
    )


class _Hits:
    """Meets the tasks that come to a point, and has the deed done."""

    def __init__(self, stage: FaultStage, victim: Victim, points: Sequence[str]) -> None:
        self._stage = stage
        self._victim = victim
        self._points = points
        self.at: dict[str, tuple[Arrival, float]] = {}

    def look(self) -> None:
        self._stage.raise_if_dead()
        new = self._new()
        if not new:
            return
        if self._victim.together:
            time.sleep(self._victim.together)
            new = self._new()
        now = time.time()
        self.at |= {arrival.point: (arrival, now) for arrival in new}
        self._victim.deed(self._stage, new)

    def repeats(self) -> Counter[str]:
        """By group, how many messages its own protocol may have repeated."""
        return sum((Counter(self._victim.repeats(arrival)) for arrival, _ in self.at.values()), Counter())

    def _new(self) -> Sequence[Arrival]:
        return [
            arrival
            for arrival in self._stage.rendezvous.arrivals()
            if arrival.point not in self.at and any(fnmatchcase(arrival.point, one) for one in self._points)
        ]


class _Judged:
    """What the witness logs hold against the flow, and what they say that is no fault."""

    def __init__(self, stage: FaultStage, flow: Flow, hits: _Hits, counted: WitnessCount) -> None:
        self.lost = counted.lost
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._shipments(stage, counted)
        self._repeats(hits, counted)
        self.problems += [f"{one.group}: {one.lost} lost" for one in counted.groups if self.lost and one.lost]
        if counted.out_of_order and not flow.order_may_bend:
            self.problems += [f"{o.group}: {o.out_of_order} out of order" for o in counted.groups if o.out_of_order]
        end = stage.target if flow.ends_on_target else stage.source
        self.problems += [
            f"{one.group} has read nothing on the {end.name}"
            for one in counted.groups
            if not one.rhythm.by_servers.get(end.bootstrap_servers)
        ]
        if self.problems and counted.first_fault:
            self.problems.append(f"first {counted.first_fault}")

    def _shipments(self, stage: FaultStage, counted: WitnessCount) -> None:
        if any(one.lost for one in counted.groups if one.group == "fulfilment"):
            clusters = [cluster.bootstrap_servers for cluster in (stage.source, stage.target)]
            done = unwritten(stage.shop.witness_directory, clusters)
            self.lost -= done
            if done:
                self.notes.append(f"{done} orders are shipped; the killed fulfilment had no time to write it down")

    def _repeats(self, hits: _Hits, counted: WitnessCount) -> None:
        allowed = hits.repeats()
        for one in counted.groups:
            if 0 < one.repeated <= allowed[one.group]:
                self.notes.append(f"{one.repeated} repeated by {one.group}'s own group protocol")
            elif one.repeated:
                self.problems.append(f"{one.group}: {one.repeated} repeated")


def _followed(followed: Followed, hits: _Hits) -> list[str]:
    try:
        state = followed.to_its_end(timeout=_RUN_WITHIN, clears=_CLEARS, meanwhile=hits.look)
    except WaitedInVain as error:
        return [str(error)]
    return [] if state == "success" else [f"the run ended as {state}: {followed.why()}"]


def _counted(stage: FaultStage) -> WitnessCount:
    stage.shop.stop_producers()
    return wait_until_complete(stage.shop.witness_directory, readers(), timeout=_COMPLETE_WITHIN, quiet=_QUIET)


def _rows(points: Sequence[str], hits: _Hits, followed: Followed) -> list[Row]:
    rows = []
    for point, (arrival, at) in hits.at.items():
        ended = followed.ended(arrival.task)
        rows.append(Row(point, OK if ended else "not done", ended.timestamp() - at if ended else None))
    missed = [one for one in points if not any(fnmatchcase(point, one) for point in hits.at)]
    return [*rows, *(Row(one, "no task came to this point", None) for one in missed)]


def _orphans(ended: list[str]) -> list[str]:
    return [f"{len(ended)} processes were left behind and ended: {ended[0]}"] if ended else []
