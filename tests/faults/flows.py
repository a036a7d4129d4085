"""The flows that faults are brought into: a plan, a state to begin from, a DAG to trigger, a rule for the end.

Each also names its moments: where something has been done and is not recorded, and during which steps a service of the
shop can be hit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.follow import Followed
from tests.faults.stage import ROOT, FaultStage

_FIRST = ROOT / "include" / "plans" / "orders.yaml"
_LATER = ROOT / "include" / "demo" / "plans" / "orders_producers_later.yaml"

_DAG_WITHIN = 90.0
_RUN_WITHIN = 300.0


@dataclass(frozen=True)
class Flow:
    """`text` is the plan under a name of its own; `begin` brings the open shop into the state it begins from.

    `ends_on_target`: where every group must read at the end. `order_may_bend`: messages out of order are no fault.
    Points `<task>@<moment>`: `steps`, for a victim that takes long to come back; `between` deed and record; `alone`,
    where a task goes on without its keeper; `twice`, where a second attempt joins the first; `producing`, `processing`
    and `reading`, where those services are killed.
    """

    name: str
    purpose: str
    text: Callable[[str], str]
    begin: Callable[[FaultStage, str], None]
    steps: tuple[str, ...]
    between: tuple[str, ...]
    alone: tuple[str, ...]
    twice: tuple[str, ...]
    producing: tuple[str, ...]
    processing: tuple[str, ...]
    reading: tuple[str, ...]
    ends_on_target: bool = True
    order_may_bend: bool = False

    def dag_id(self, plan: str) -> str:
        return f"{plan}.{self.purpose}"


def _plan(file: Path, approvals: str) -> Callable[[str], str]:
    """A plan of the demo under another name, with few approvals: a person's answer is a step like any other."""

    def text(plan: str) -> str:
        lines = []
        for line in file.read_text(encoding="utf-8").splitlines():
            if line == "plan: orders":
                line = f"plan: {plan}"
            elif line.startswith("approvals: "):
                line = f"approvals: [{approvals}]"
            elif line.startswith("verify: "):
                continue  # a cell ends with its run
            lines.append(line)
        return "\n".join(lines) + "\n"

    return text


def _as_it_is(stage: FaultStage, plan: str) -> None:
    """The shop reads and writes the source, as it was opened."""


def _producers_moved(stage: FaultStage, plan: str) -> None:
    """A migration whose consumers nobody has approved: producers are on the target, consumers on the source."""
    dag_id = f"{plan}.migrate"
    stage.client.wait_for_dag(dag_id, _DAG_WITHIN, stage.raise_if_dead)
    run = Followed(stage.client, dag_id, "before", rejects=".approve")
    run.trigger()
    state = run.to_its_end(timeout=_RUN_WITHIN, clears=0, meanwhile=stage.raise_if_dead)
    assert state == "failed", f"the run that was to be rejected has ended as {state}"


def _entries(*tasks: str) -> tuple[str, ...]:
    return tuple(f"{task}@entry" for task in tasks)


def _each(services: tuple[str, ...], *tasks: str) -> tuple[str, ...]:
    return tuple(task.format(service=service) for service in services for task in tasks)


_READERS = ("audit", "billing", "analytics", "shipping")

FLOWS = (
    Flow(
        "producers_first",
        "migrate",
        _plan(_FIRST, "producers"),
        _as_it_is,
        steps=_entries(
            "preflight",
            "create_topics",
            "seed_groups",
            "approve_producers",
            "compare_topics",
            "switch_producers.*",
            "cutover",
            *_each(("fulfilment", "billing"), "{service}.drained", "{service}.switch", "{service}.consuming"),
            "fulfilment.cutover",
            "coverage",
            "evidence",
        ),
        between=(
            "create_topics@created",
            "seed_groups@planted",
            "switch_producers.order-api@stopped",
            "switch_producers.order-api@restarted",
            "switch_producers.payments@configured",
            "switch_producers.payments@recorded",
            "cutover@frozen",
            "fulfilment.drained@proved",
            "fulfilment.switch@looked",
            "fulfilment.switch@stopped",
            "fulfilment.switch@configured",  # the third kill: its retries are used up, it has to be cleared
            "fulfilment.switch@restarted",
            "fulfilment.cutover@frozen",
            "billing.switch@configured",
            "audit.switch@restarted",
            "analytics.switch@recorded",
            "coverage@told",
            "evidence@published",
            "gate@finished",
        ),
        alone=(
            "seed_groups@planted",
            "switch_producers.*@stopped",
            "fulfilment.switch@restarted",
            "evidence@published",
        ),
        twice=(
            "seed_groups@planted",
            "switch_producers.order-api@stopped",
            "fulfilment.switch@configured",
            "gate@finished",
        ),
        producing=(
            *_entries(
                "preflight",
                "create_topics",
                "seed_groups",
                "approve_producers",
                "compare_topics",
                "switch_producers.{service}",
                "cutover",
                "coverage",
            ),
            "switch_producers.{service}@restarted",
        ),
        processing=(
            *_entries(
                "seed_groups",
                "cutover",
                "fulfilment.drained",
                "fulfilment.switch",
                "fulfilment.consuming",
                "fulfilment.cutover",
                "coverage",
            ),
            "fulfilment.switch@restarted",
        ),
        reading=tuple(
            f"{service}.{point}"
            for service in _READERS
            for point in ("drained@entry", "switch@entry", "switch@restarted", "consuming@entry")
        ),
    ),
    Flow(
        "producers_later",
        "migrate",
        _plan(_LATER, "producers"),
        _as_it_is,
        steps=_entries(
            "preflight",
            "create_topics",
            "seed_groups",
            *_each(("fulfilment", "billing"), "seconds.{service}.start", "seconds.{service}.ready"),
            "approve_producers",
            "compare_topics",
            "switch_producers.*",
            "cutover",
            *_each(("fulfilment", "billing"), "keeping_up.{service}", "{service}.drained", "{service}.close"),
            "fulfilment.cutover",
            "coverage",
            "evidence",
        ),
        between=(
            "create_topics@created",
            "seed_groups@planted",
            "seconds.billing.start@configured",
            "seconds.audit.start@restarted",
            "seconds.analytics.start@configured",  # its program is a copy, made in part
            "switch_producers.order-api@stopped",
            "switch_producers.payments@configured",
            "switch_producers.payments@recorded",
            "cutover@frozen",
            "fulfilment.drained@proved",
            "fulfilment.close@stopped",
            "fulfilment.cutover@frozen",
            "billing.close@proved",
            "audit.close@stopped",
            "analytics.close@recorded",
            "coverage@told",
            "evidence@published",
            "gate@finished",
        ),
        alone=(
            "seed_groups@planted",
            "seconds.billing.start@configured",
            "switch_producers.*@stopped",
            "fulfilment.close@stopped",
            "evidence@published",
        ),
        twice=(
            "seconds.analytics.start@configured",
            "switch_producers.order-api@stopped",
            "fulfilment.close@stopped",
            "gate@finished",
        ),
        producing=(
            *_entries(
                "seed_groups",
                "seconds.billing.ready",
                "approve_producers",
                "compare_topics",
                "switch_producers.{service}",
                "cutover",
                "keeping_up.billing",
                "coverage",
            ),
            "switch_producers.{service}@restarted",
        ),
        processing=_entries(
            "seed_groups",
            "seconds.fulfilment.ready",
            "cutover",
            "keeping_up.fulfilment",
            "fulfilment.drained",
            "fulfilment.close",
            "fulfilment.cutover",
            "coverage",
        ),
        reading=tuple(
            point.format(service=service)
            for service in _READERS
            for point in (
                "seconds.{service}.ready@entry",
                "keeping_up.{service}@entry",
                "{service}.drained@entry",
                "{service}.close@entry",
            )
        ),
        order_may_bend=True,
    ),
    Flow(
        "rollback",
        "rollback",
        _plan(_FIRST, "producers, consumers, rollback"),
        _producers_moved,
        steps=_entries(
            "preflight",
            "approve_rollback",
            "begin",
            "source_point",
            *_each(
                ("fulfilment",),
                "forth.{service}.drained",
                "forth.{service}.switch",
                "forth.{service}.consuming",
                "forth.{service}.cutover",
            ),
            "switch_producers.*",
            "cutover",
            *_each(
                ("fulfilment",), "{service}.drained", "{service}.switch", "{service}.consuming", "{service}.cutover"
            ),
            "coverage",
            "evidence",
        ),
        between=(
            "begin@told",
            "forth.fulfilment.drained@proved",
            "forth.fulfilment.switch@stopped",
            "forth.fulfilment.switch@restarted",
            "forth.fulfilment.cutover@frozen",
            "forth.billing.switch@configured",
            "switch_producers.order-api@stopped",
            "switch_producers.order-api@restarted",
            "switch_producers.payments@configured",
            "switch_producers.payments@recorded",
            "cutover@frozen",
            "fulfilment.drained@proved",
            "fulfilment.switch@stopped",
            "fulfilment.switch@restarted",
            "fulfilment.cutover@frozen",
            "billing.switch@looked",
            "audit.switch@configured",
            "analytics.switch@recorded",
            "coverage@told",
            "evidence@published",
            "gate@finished",
        ),
        alone=(
            "forth.fulfilment.switch@restarted",
            "switch_producers.*@stopped",
            "fulfilment.switch@restarted",
            "evidence@published",
        ),
        twice=(
            "forth.billing.switch@stopped",
            "switch_producers.order-api@stopped",
            "fulfilment.switch@configured",
            "gate@finished",
        ),
        producing=(
            *_entries(
                "preflight",
                "approve_rollback",
                "source_point",
                "forth.billing.switch",
                "switch_producers.{service}",
                "cutover",
                "coverage",
            ),
            "switch_producers.{service}@restarted",
        ),
        processing=(
            *_entries(
                "preflight",
                "source_point",
                "forth.fulfilment.drained",
                "forth.fulfilment.consuming",
                "cutover",
                "fulfilment.drained",
                "fulfilment.consuming",
                "coverage",
            ),
            "fulfilment.switch@restarted",
        ),
        reading=tuple(
            point.format(service=service)
            for service in _READERS
            for point in (
                "forth.{service}.drained@entry",
                "forth.{service}.consuming@entry",
                "{service}.drained@entry",
                "{service}.switch@restarted",
                "{service}.consuming@entry",
            )
        ),
        ends_on_target=False,
    ),
)
