"""The steps of the schemes, by the names under which a DAG calls them. A new step is one module and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

from kafka_migration.run import ActStep
from kafka_migration.waiting import WaitStep

# Named, not imported: a DAG file names steps at parse time, and parsing must not load a Kafka client.
_ACTS: Mapping[str, str] = {
    "preflight": "preflight:preflight",
    "create_topics": "topics:create",
    "parity": "topics:parity",
    "seed": "seeds:seed",
    "hold": "switch:hold",
    "switch_producers": "switch:switch_producers",
    "switch_consumers": "switch:switch_consumers",
    "coverage": "coverage:coverage",
    "closing_look": "closing:closing_look",
}
_WAITS: Mapping[str, str] = {
    "cutover": "cutover:CutoverStep",
    "drained": "drain:DrainStep",
    "consuming": "consuming:ConsumingStep",
}


def act_step(name: str) -> ActStep:
    """The step of that name that acts. KeyError for an unknown one."""
    return cast(ActStep, _load(_ACTS[name]))


def wait_step(name: str) -> WaitStep:
    """The step of that name that waits. KeyError for an unknown one."""
    return cast(Callable[[], WaitStep], _load(_WAITS[name]))()


def _load(where: str) -> object:
    module, _, attribute = where.partition(":")
    return getattr(import_module(f"kafka_migration.steps.{module}"), attribute)
