"""One cell of the table: one run of one flow in which one victim is hit at every step where it acts or is waited for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from demo.shop.catalogue import readers
from demo.waiting import WaitedInVain
from demo.witness import WitnessCount, wait_until_complete
from tests.faults.flows import Flow
from tests.faults.follow import Followed
from tests.faults.plugins.rendezvous import Arrival
from tests.faults.stage import FaultStage
from tests.faults.victims import Victim

OK = "ok"

_RUN = "run"
_RUN_WITHIN = 400.0
_CLEARS = 4
_COMPLETE_WITHIN = 120.0
_QUIET = 15.0


@dataclass(frozen=True)
class Row:
    """What became of one hit. `lost` and `repeated` are those of the whole cell; `seconds` until the step was done."""

    flow: str
    victim: str
    step: str
    outcome: str
    lost: int
    repeated: int
    seconds: float | None

    @property
    def ok(self) -> bool:
        return self.outcome == OK


@dataclass(frozen=True)
class CellResult:
    rows: list[Row]
    seconds: float
    retries: int
    clears: int
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(row.ok for row in self.rows)


def run_cell(stage: FaultStage, flow: Flow, victim: Victim) -> CellResult:
    """Bring the shop into the flow's first state, trigger, hit, follow to the end, count."""
    began = time.monotonic()
    plan = f"{flow.name}-{victim.name}"
    stage.renew(plan, flow.text(plan))
    stage.client.wait_for_dag(flow.dag_id(plan), 60, stage.raise_if_dead)
    flow.begin(stage, plan)
    stage.rendezvous.arm(victim.points, defer=victim.defer)
    stage.client.trigger(flow.dag_id(plan), _RUN, {})
    followed = Followed(stage.client, flow.dag_id(plan), _RUN)
    hits = _Hits(stage, victim)
    problems: list[str] = []
    try:
        state = followed.to_its_end(timeout=_RUN_WITHIN, clears=_CLEARS, meanwhile=hits.look)
    except WaitedInVain as error:
        problems.append(str(error))
    else:
        if state != "success":
            problems.append(f"the run ended as {state}: {followed.why()}")
    stage.shop.stop_producers()
    counted = wait_until_complete(stage.shop.witness_directory, readers(), timeout=_COMPLETE_WITHIN, quiet=_QUIET)
    problems += _faults(stage, flow, counted)
    rows = _rows(flow, victim, hits, followed, counted, problems)
    retries = sum(max(0, row.try_number - 1) for row in followed.tasks().values())
    return CellResult(rows, time.monotonic() - began, retries, followed.clears)


class _Hits:
    """Meets the tasks that come to a point, and has the deed done."""

    def __init__(self, stage: FaultStage, victim: Victim) -> None:
        self._stage = stage
        self._victim = victim
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

    def _new(self) -> Sequence[Arrival]:
        return [arrival for arrival in self._stage.rendezvous.arrivals() if arrival.point not in self.at]


def _faults(stage: FaultStage, flow: Flow, counted: WitnessCount) -> list[str]:
    """What the witness logs hold against the flow."""
    found = [f"{one.group}: {one.lost} lost" for one in counted.groups if one.lost]
    found += [f"{one.group}: {one.repeated} repeated" for one in counted.groups if one.repeated]
    if not flow.order_may_bend:
        found += [f"{one.group}: {one.out_of_order} out of order" for one in counted.groups if one.out_of_order]
    if flow.ends_on_target:
        servers = stage.target.bootstrap_servers
        found += [
            f"{one.group} has read nothing from the target"
            for one in counted.groups
            if not one.rhythm.by_servers.get(servers)
        ]
    return found


def _rows(
    flow: Flow,
    victim: Victim,
    hits: _Hits,
    followed: Followed,
    counted: WitnessCount,
    problems: Sequence[str],
) -> list[Row]:
    def row(step: str, outcome: str, seconds: float | None) -> Row:
        return Row(flow.name, victim.name, step, outcome, counted.lost, counted.repeated, seconds)

    rows = []
    verdict = "; ".join(problems) or OK
    for point, (arrival, at) in hits.at.items():
        ended = followed.ended(arrival.task)
        rows.append(row(point, verdict, ended.timestamp() - at if ended else None))
    for pattern in victim.points:
        if not any(fnmatchcase(point, pattern) for point in hits.at):
            rows.append(row(pattern, "no task came to this point", None))
    return rows
