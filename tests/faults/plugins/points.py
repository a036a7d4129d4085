"""The points at which a task can be met: where a step begins, and behind what it changes.

Wraps the real functions in the process that imports them. Production code knows nothing of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from rendezvous import VARIABLE, Rendezvous

ENTRY = "entry"
"""The step begins: nothing has been looked at."""

WATCHED = "watched"
"""A trigger looks for the first time; the process is the triggerer's."""

BEHIND = {
    "kafka_migration.steps.topics:create_topics": "created",
    "kafka_migration.steps.seeds:plant": "planted",
    "kafka_migration.steps.switch:ensure_seeds": "looked",
    "kafka_migration.steps.seconds:ensure_seeds": "looked",
    "kafka_migration.services.supervisor:SupervisorController.stop": "stopped",
    "kafka_migration.services.supervisor:SupervisorController.configure": "configured",
    "kafka_migration.services.supervisor:SupervisorController.start": "restarted",
    "kafka_migration.passes:Pass.set_switched": "recorded",
    "kafka_migration.passes:Pass.freeze": "frozen",
    "kafka_migration.passes:Pass.set_drained": "proved",
    "kafka_migration.evidence.bundle:Bundle.write_step": "told",
    "kafka_migration.evidence.publish:publish": "published",
    "kafka_migration.steps.closing:finish": "finished",
}
"""By function, the name of the moment right after it; what a task does is not recorded in Airflow then."""

_RETRY_AFTER = timedelta(seconds=1)
_task = ""


def install() -> None:
    """Wrap what every task enters; the rest when a task has begun, since parsing must stay light."""
    from airflow_kafka_migration import failures

    real = failures.retries
    failures.retries = lambda: {**real(), "retry_delay": _RETRY_AFTER}

    from airflow_kafka_migration import approvals, closing, operators, sensors, triggers

    for operator in (operators.StepOperator, closing.EvidenceOperator, closing.GateOperator):
        _enter(operator, "execute")
    for method in ("execute", "execute_complete"):
        _enter(approvals.PlanApproval, method)
    for method in ("execute", "resume"):
        _enter(sensors.WaitOperator, method)
    _watch(triggers.WaitTrigger)


def _enter(operator: Any, method: str) -> None:
    real = getattr(operator, method)
    moment = ENTRY if method == "execute" else method

    @functools.wraps(real)
    def entered(self: Any, context: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        global _task
        _task = self.task_id
        _wrap_the_rest()
        if moment == ENTRY and hasattr(self, "patience") and _rendezvous().defer:
            _leave_to_the_trigger(self)
        _rendezvous().meet(f"{_task}@{moment}")
        return real(self, context, *args, **kwargs)

    setattr(operator, method, entered)


def _watch(trigger: Any) -> None:
    real = trigger._look

    @functools.wraps(real)
    def looked(self: Any, *args: Any) -> Any:
        _rendezvous().meet(f"{self.task_instance.task_id}@{WATCHED}")
        return real(self, *args)

    trigger._look = looked


def _leave_to_the_trigger(operator: Any) -> None:
    """What the worker would see at its first look is not enough for it."""
    from kafka_migration.waiting import Outcome

    operator.patience = 0.0
    step = resolve_name(operator.step)
    real = step.look

    def look(*args: Any) -> Any:
        seen = real(*args)
        return replace(seen, outcome=Outcome.WAITING) if seen.outcome is Outcome.DONE else seen

    step.look = look


@functools.cache
def _wrap_the_rest() -> None:
    for place, moment in BEHIND.items():
        module, _, path = place.partition(":")
        holder, _, name = path.rpartition(".")
        owner = resolve_name(f"{module}:{holder}" if holder else module)
        setattr(owner, name, _met_behind(getattr(owner, name), moment))


def _met_behind(real: Callable[..., Any], moment: str) -> Callable[..., Any]:
    @functools.wraps(real)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = real(*args, **kwargs)
        _rendezvous().meet(f"{_task}@{moment}")
        return result

    return wrapped


@functools.cache
def _rendezvous() -> Rendezvous:
    return Rendezvous(Path(os.environ[VARIABLE]))
