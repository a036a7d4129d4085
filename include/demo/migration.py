"""The act of a demo: the shop is moved through Airflow, leg by leg, then every message is counted.

Uses only what a person has too: Airflow's API, the evidence on disk, and the shop's own witness logs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from demo.damage import damaging
from demo.follow import Run
from demo.legs import Leg, Side, legs_of, order_may_bend
from demo.settings import Settings
from demo.stage import Stage
from demo.telling import Evidence, tell_copied, tell_count, tell_evidence, tell_failures
from demo.verdict import RunEnd, Tally, Verdict, judge
from demo.view import say, view_for
from demo.witness import FaultKind, WitnessCount, count, wait_until_complete

_SHOP_RUNS_FIRST = 8.0
_SHOP_RUNS_BETWEEN = 8.0
_ALL_THERE_WITHIN = 30.0
_DAG_WITHIN = 60.0
_RUN_WITHIN = 900.0
_COMPLETE_WITHIN = 90.0
_QUIET = 8.0
_FAIL_WITH_THE_VERDICT = {"evidence", "gate"}


def migrate(stage: Stage, settings: Settings, console: Console) -> Verdict:
    """Make the demo's runs, each only if the one before did what it should; let the groups finish; count."""
    legs = legs_of(settings)
    ends: list[RunEnd] = []
    evidence = Evidence(None, {})
    time.sleep(max(0.0, _SHOP_RUNS_FIRST - stage.shop_has_run))  # history to keep, a backlog to drain
    for number, leg in enumerate(legs, 1):
        if len(legs) > 1:
            say(console, f"leg {number} of {len(legs)}: {leg.dag}, {leg.told}")
        end, evidence = _run(stage, leg, console, settings.damage)
        ends.append(end)
        if ends[-1].problem is None and number < len(legs):
            ends[-1] = _after_some_business(stage, ends[-1], console)
        if ends[-1].problem is not None:
            break
    arrived = ends[-1].problem is None
    if settings.history and (arrived or settings.damage):  # a damaged copy stops no service
        _read_what_came_along(stage, console)
    say(console, "the producers are stopped, the groups finish what they have")
    counted = _count_all(stage)
    tell_count(console, counted)
    tell_copied(console, evidence, counted)
    ends[-1] = replace(ends[-1], elsewhere=_elsewhere(stage, counted, ends[-1].side))
    left_unread = not arrived and (settings.history or len(legs) > len(ends))
    return judge(ends, _tally(counted, settings), cut_short=left_unread, differs=evidence.first_difference)


def _read_what_came_along(stage: Stage, console: Console) -> None:
    """Nobody runs `archive` until now, and `ledger` is far behind: both read the rest on the target."""
    say(console, "archive, which nobody ran until now, starts on the target; ledger may hurry from now on")
    stage.shop.start_late("archive", stage.target.bootstrap_servers)
    stage.shop.hurry("ledger")


def _run(stage: Stage, leg: Leg, console: Console, damaged: bool) -> tuple[RunEnd, Evidence]:
    client = stage.client
    client.wait_for_dag(leg.dag, _DAG_WITHIN, stage.raise_if_dead)
    run_id = datetime.now(UTC).strftime("demo-%Y%m%dT%H%M%SZ")
    client.trigger(leg.dag, run_id, {})
    say(console, f"{leg.dag} triggered as {run_id}; watch it at {stage.airflow.login.url}")
    run = Run(client, leg.dag, run_id)
    with view_for(console) as view:
        answers = damaging(stage, leg.answers, view.say) if damaged else leg.answers
        state = run.follow(view, timeout=_RUN_WITHIN, check=stage.raise_if_dead, answers=answers)
    say(console, f"run {state}")
    evidence = Evidence.of_run(stage.evidence, run_id)
    wanted = run.rejected | _FAIL_WITH_THE_VERDICT if run.rejected or damaged else set()
    broken = [failure for failure in run.failures() if failure.task.task_id not in wanted]
    tell_failures(console, stage.airflow, run, broken)
    tell_evidence(console, run, evidence)
    broken_tasks = tuple(failure.task.task_id for failure in broken)
    end = RunEnd(leg.name, state, evidence.verdict, rejected=leg.rejected, broken=broken_tasks, side=leg.side)
    return end, evidence


def _after_some_business(stage: Stage, end: RunEnd, console: Console) -> RunEnd:
    """The shop works on for some seconds, and its own logs tell who does not work where that run has left it."""
    if end.side is None:
        return end
    say(console, f"the shop works on the {end.side} for some seconds")
    time.sleep(_SHOP_RUNS_BETWEEN)
    deadline = time.monotonic() + _ALL_THERE_WITHIN
    while True:
        stage.raise_if_dead()
        elsewhere = _elsewhere(stage, count(stage.shop.witness_directory, stage.shop.catalogue.readers), end.side)
        if not elsewhere or time.monotonic() > deadline:
            return replace(end, elsewhere=elsewhere)
        time.sleep(1.0)


def _elsewhere(stage: Stage, counted: WitnessCount, side: Side | None) -> tuple[str, ...]:
    """Who has last produced or processed something on the other cluster, or never anything though somebody runs it."""
    if side is None:
        return ()
    servers = (stage.source if side == "source" else stage.target).bootstrap_servers
    services = stage.shop.catalogue.services
    names = {service.name for service in services}
    not_run_yet = {group for service in services if not service.opens for group in service.reads}
    rhythms = [(one.service, one.rhythm) for one in counted.producers if one.service in names]
    rhythms += [(one.group, one.rhythm) for one in counted.groups if one.processed or one.group not in not_run_yet]
    return tuple(sorted({name for name, rhythm in rhythms if rhythm.last_servers != servers}))


def _count_all(stage: Stage) -> WitnessCount:
    stage.shop.stop_producers()
    return wait_until_complete(
        stage.shop.witness_directory, stage.shop.catalogue.readers, timeout=_COMPLETE_WITHIN, quiet=_QUIET
    )


def _tally(counted: WitnessCount, settings: Settings) -> Tally:
    bends = order_may_bend(settings)
    faults = {FaultKind.LOST, FaultKind.REPEATED} | (set() if bends else {FaultKind.OUT_OF_ORDER})
    first = counted.first_of(faults)
    return Tally(
        counted.produced,
        counted.lost,
        counted.repeated,
        counted.out_of_order,
        str(first) if first else None,
        order_may_bend=bends,
    )
