"""What the acts of a demo have in common: one run followed to its end, the shop at work in between, the last count.

Uses only what a person has too: Airflow's API, the evidence on disk, and the shop's own witness logs.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console

from demo.damage import damaging
from demo.follow import Run, Watch, nobody_watches
from demo.kafka import KafkaCluster
from demo.legs import Leg, Side
from demo.stage import Stage
from demo.telling import Evidence, tell_evidence, tell_failures
from demo.verdict import RunEnd
from demo.view import say, view_for
from demo.witness import WitnessCount, count, wait_until_complete

SHOP_RUNS_FIRST = 8.0
"""Seconds of business before anything happens to the shop: a history to keep, a backlog to drain."""

DAG_WITHIN = 60.0
"""Seconds until Airflow has a DAG that is to be used."""

_SHOP_RUNS_BETWEEN = 8.0
_ALL_THERE_WITHIN = 30.0
_RUN_WITHIN = 900.0
_COMPLETE_WITHIN = 90.0
_QUIET = 8.0
_FAIL_WITH_THE_VERDICT = {"evidence", "gate"}


def play(
    stage: Stage, leg: Leg, console: Console, *, damaged: bool = False, watch: Watch = nobody_watches
) -> tuple[RunEnd, Evidence]:
    """One run of the leg's DAG, its approvals answered; how it ended, and what it left."""
    stage.client.wait_for_dag(leg.dag, DAG_WITHIN, stage.raise_if_dead)
    run_id = datetime.now(UTC).strftime("demo-%Y%m%dT%H%M%SZ")
    stage.client.trigger(leg.dag, run_id, {})
    say(console, f"{leg.dag} triggered as {run_id}; watch it at {stage.airflow.login.url}")
    run = Run(stage.client, leg.dag, run_id)
    with view_for(console) as view:
        answers = damaging(stage, leg.answers, view.say) if damaged else leg.answers
        state = run.follow(view, timeout=_RUN_WITHIN, check=stage.raise_if_dead, answers=answers, watch=watch)
    say(console, f"run {state}")
    evidence = Evidence.of_run(stage.evidence, run_id)
    wanted = run.rejected | _FAIL_WITH_THE_VERDICT if run.rejected or damaged else set()
    broken = [failure for failure in run.failures() if failure.task.task_id not in wanted]
    tell_failures(console, stage.airflow, run, broken)
    tell_evidence(console, run, evidence)
    broken_tasks = tuple(failure.task.task_id for failure in broken)
    end = RunEnd(leg.name, state, evidence.verdict, rejected=leg.rejected, broken=broken_tasks, side=leg.side)
    return end, evidence


def after_some_business(stage: Stage, end: RunEnd, console: Console) -> RunEnd:
    """The shop works on for some seconds, and its own logs tell who does not work where that run has left it."""
    if end.side is None:
        return end
    say(console, f"the shop works on the {end.side} for some seconds")
    time.sleep(_SHOP_RUNS_BETWEEN)
    deadline = time.monotonic() + _ALL_THERE_WITHIN
    while True:
        stage.raise_if_dead()
        missing = elsewhere(stage, count(stage.shop.witness_directory, stage.shop.catalogue.readers), end.side)
        if not missing or time.monotonic() > deadline:
            return replace(end, elsewhere=missing)
        time.sleep(1.0)


def elsewhere(stage: Stage, counted: WitnessCount, side: Side | None) -> tuple[str, ...]:
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


def read_what_was_stored(stage: Stage, cluster: KafkaCluster, console: Console) -> None:
    """Nobody runs `archive` until now, and `ledger` is far behind: both read the rest on that cluster."""
    say(console, f"archive, which nobody ran until now, starts on the {cluster.name}; ledger may hurry from now on")
    stage.shop.start_late("archive", cluster.bootstrap_servers)
    stage.shop.hurry("ledger")


def count_all(stage: Stage, console: Console) -> WitnessCount:
    """The producers are stopped, the groups finish what they have, and every message is counted."""
    say(console, "the producers are stopped, the groups finish what they have")
    stage.shop.stop_producers()
    return wait_until_complete(
        stage.shop.witness_directory, stage.shop.catalogue.readers, timeout=_COMPLETE_WITHIN, quiet=_QUIET
    )
