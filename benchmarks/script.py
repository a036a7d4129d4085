"""Scheme 1 as a plain script: the same steps on the same services, called one after the other, without Airflow.

What a DAG run takes beyond this is the price of gates, retries, approvals, audit and evidence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.failed import BenchmarkFailed
from kafka_migration.plan.graph import FIRST_STAGE, Unit
from kafka_migration.run import Run
from kafka_migration.steps import preflight, seeds, switch, topics
from kafka_migration.steps.consuming import consuming
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.waiting import Outcome, WaitStep

_POLL = 0.1


def migrate(run: Run) -> None:
    """Move every service of the plan; returns when the last group consumes from the target."""
    preflight.preflight(run)
    topics.create(run)
    seeds.seed(run)
    _at_once(lambda unit: switch.switch_producers(run, unit.name), run.graph.producers)
    wait_for(run, cutover, stage=FIRST_STAGE)
    done: set[str] = set()
    while len(done) < len(run.graph.readers):
        ready = [u for u in run.graph.readers if u.name not in done and _behind(u, run) <= done]
        _at_once(lambda unit: _move(run, unit), ready)
        done |= {unit.name for unit in ready}


def _behind(unit: Unit, run: Run) -> set[str]:
    return {name for name in unit.after if name in {reader.name for reader in run.graph.readers}}


def _move(run: Run, unit: Unit) -> None:
    for service in unit.services:
        if run.plan.service(service).consumes:
            wait_for(run, drained, service=service)
    switch.switch_consumers(run, unit.name)
    for service in unit.services:
        if run.plan.service(service).consumes:
            wait_for(run, consuming, service=service)
    if unit.settles:
        wait_for(run, cutover, stage=unit.name)


def wait_for(run: Run, step: WaitStep, **args: str) -> None:
    """Look until what the step waits for is true, and settle it. Ends the benchmark where it cannot come."""
    brief = step.prepare(run, args)
    memory: Mapping[str, Any] = {}
    while True:
        look = step.look(run.clusters, brief, memory, time.time())
        if look.outcome is Outcome.DONE:
            step.settle(run, brief, look)
            return
        if look.outcome is Outcome.FAILED:
            raise BenchmarkFailed(look.why)
        if look.outcome is Outcome.AGAIN:
            brief = step.prepare(run, args)
        memory = look.memory
        time.sleep(_POLL)


def _at_once(deed: Callable[[Unit], object], units: Iterable[Unit]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(deed, units))
