"""One migration at a time touches a topic or a service.

Each run that changes anything says in the state of one asset what it touches (its *claim*). A claim counts only while
Airflow says that its run is active, so that a killed or failed run holds nothing. It never waits for another run to
end: the later one is refused, with the run id of the one that holds.

Two runs that begin at once: each first writes that it asks and only then reads the others, so that at least one of them
sees the other. Whoever asks waits until those that began before it have decided; a run that began later gives way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_kafka_migration.state import LOCKS, AssetRecords
from kafka_migration.errors import Locked

if TYPE_CHECKING:
    from airflow.sdk import Context

_ACTIVE = ["queued", "running"]
_PATIENCE = 60.0
_PAUSE = 0.5


@dataclass(frozen=True)
class Touched:
    """What a run touches: topics as `<cluster id>/<name>`, and services by what identifies them in every plan."""

    topics: frozenset[str]
    services: frozenset[str]

    def shared_with(self, other: Touched) -> Touched:
        return Touched(self.topics & other.topics, self.services & other.services)

    def __bool__(self) -> bool:
        return bool(self.topics or self.services)

    def __str__(self) -> str:
        topics = sorted({topic.partition("/")[2] for topic in self.topics})
        parts = [("topics", topics), ("services", sorted(self.services))]
        return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


@dataclass(frozen=True)
class Claim:
    """What one run has said. `began` is when the run (or its clearing) began; `held` is False while it still asks."""

    dag_id: str
    run_id: str
    began: str
    held: bool
    touched: Touched

    @property
    def key(self) -> str:
        return claim_key(self.dag_id, self.run_id)

    @property
    def order(self) -> tuple[str, str, str]:
        return self.began, self.dag_id, self.run_id

    def to_json(self) -> dict[str, Any]:
        return {
            "began": self.began,
            "held": self.held,
            "topics": sorted(self.touched.topics),
            "services": sorted(self.touched.services),
        }

    @classmethod
    def from_json(cls, dag_id: str, run_id: str, data: Mapping[str, Any]) -> Claim:
        touched = Touched(frozenset(data["topics"]), frozenset(data["services"]))
        return cls(dag_id, run_id, data["began"], data["held"], touched)


class Claims(Protocol):
    """Where claims are kept, and which runs there are."""

    def read(self, dag_id: str, run_id: str) -> Claim | None: ...

    def write(self, claim: Claim) -> None: ...

    def withdraw(self, claim: Claim) -> None: ...

    def active_runs(self, dag_id: str) -> list[str]: ...


def hold(
    claims: Claims,
    me: Claim,
    dag_ids: Sequence[str],
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Return when this run holds what it touches, however often it is called; raise `Locked` when another one does.

    `me.began` must be the same for every task of a run and later once the run has been cleared and begins again.
    """
    deadline = now() + _PATIENCE
    claims.write(_as(me, held=False))
    while True:
        others = _others(claims, me, dag_ids)
        holding = next((o for o in others if o.held), None)
        before = [o for o in others if o.order < me.order]
        if holding or (before and now() > deadline):
            _give_way(claims, me, holding or before[0])
        if not before:
            break
        sleep(_PAUSE)
    claims.write(_as(me, held=True))
    while True:
        before = [o for o in _others(claims, me, dag_ids) if o.order < me.order]
        holding = next((o for o in before if o.held), None)
        if holding or (before and now() > deadline):
            _give_way(claims, me, holding or before[0])
        if not before:
            return
        sleep(_PAUSE)


def holds(claims: Claims, dag_id: str, run_id: str, began: str) -> bool:
    """Whether this run already holds its lock, and has been active ever since."""
    mine = claims.read(dag_id, run_id)
    return mine is not None and mine.held and mine.began == began


def claim_key(dag_id: str, run_id: str) -> str:
    return f"claim/{dag_id}/{run_id}"


class AirflowClaims:
    """Claims in the state of the asset `LOCKS`, an inlet of the task; runs as Airflow's API tells them."""

    def __init__(self, context: Context, first_task: str) -> None:
        self._records = AssetRecords(context, LOCKS)
        self._ti = context["ti"]
        self._first_task = first_task

    def read(self, dag_id: str, run_id: str) -> Claim | None:
        data = self._records.get(claim_key(dag_id, run_id))
        return Claim.from_json(dag_id, run_id, data) if data else None

    def write(self, claim: Claim) -> None:
        self._records.set(claim.key, claim.to_json())

    def withdraw(self, claim: Claim) -> None:
        self._records.delete(claim.key)

    def active_runs(self, dag_id: str) -> list[str]:
        if not self._ti.get_dr_count(dag_id, states=_ACTIVE):
            return []
        # Airflow tells tasks which runs there are only by way of their task instances.
        runs = self._ti.get_task_states(dag_id, task_ids=[self._first_task])
        return [run_id for run_id in sorted(runs) if self._is_active(dag_id, run_id)]

    def _is_active(self, dag_id: str, run_id: str) -> bool:
        try:
            # An enum that equals its text, but neither prints nor hashes like it: a list compares by equality.
            return self._ti.get_dagrun_state(dag_id, run_id) in _ACTIVE
        except AirflowRuntimeError:
            return False  # deleted since


def _others(claims: Claims, me: Claim, dag_ids: Iterable[str]) -> list[Claim]:
    """The claims of other active runs on something that `me` touches, the earliest first."""
    found = []
    for dag_id in dag_ids:
        for run_id in claims.active_runs(dag_id):
            if (dag_id, run_id) == (me.dag_id, me.run_id):
                continue
            claim = claims.read(dag_id, run_id)
            if claim is not None and me.touched.shared_with(claim.touched):
                found.append(claim)
    return sorted(found, key=lambda claim: claim.order)


def _give_way(claims: Claims, me: Claim, other: Claim) -> None:
    claims.withdraw(me)
    raise Locked(
        f"Run {other.run_id} of {other.dag_id}, active since {other.began}, touches the same"
        f" {me.touched.shared_with(other.touched)}. Nothing was changed. Wait until that run has ended, or end it in"
        " Airflow; then trigger this one again."
    )


def _as(claim: Claim, *, held: bool) -> Claim:
    return Claim(claim.dag_id, claim.run_id, claim.began, held, claim.touched)
