"""What a demo shows, as data: the runs that it makes one after the other, how each is answered, and how each must end.

Runs nothing; that is `demo.migration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demo import paths
from demo.follow import Policy, approve_all, approve_only
from demo.settings import DISASTER, Settings

MIGRATE = "orders.migrate"
ROLL_BACK = "orders.rollback"
MIRROR = "orders.mirror"

Side = Literal["source", "target"]


@dataclass(frozen=True)
class Leg:
    """One run of one DAG. `side` is where the whole shop works after it; None where it is left half-way.

    `rejected`: some approval is, so that the run has to fail.
    """

    name: str
    dag: str
    told: str
    side: Side | None
    answers: Policy = approve_all
    rejected: bool = False


_MIGRATION = Leg("migration", MIGRATE, "to the target, every approval given", "target")
_STOPPED = Leg(
    "stopped_migration",
    MIGRATE,
    "the producers to the target, every later approval rejected",
    None,
    approve_only("approve_topics", "approve_producers", "approve_handover"),
    rejected=True,
)
_ROLLBACK = Leg("rollback", ROLL_BACK, "back to the source, from where the run before has left the shop", "source")
_AGAIN = Leg("second_migration", MIGRATE, "to the target once more, every approval given", "target")

FAILOVER = Leg("failover", "orders.failover", "to the target, since the source is lost", "target")
FAILBACK = Leg("failback", "orders.failback", "to the source, which has come back", "source")
VERIFICATION = Leg("verification", "orders.verify", "what lies on both clusters is compared", "source")
"""What a lost cluster asks for, in this order; between them the cluster dies and returns."""

_LEGS: Mapping[str | None, tuple[Leg, ...]] = {
    None: (_MIGRATION,),
    "after_producers": (_STOPPED, _ROLLBACK, _AGAIN),
    "after_consumers": (_MIGRATION, _ROLLBACK, _AGAIN),
}
_PLANS = {
    "producers_first": Path("plans", "orders.yaml"),
    "producers_later": Path("demo", "plans", "orders_producers_later.yaml"),
    "mirror_first": Path("demo", "plans", "orders_mirror_first.yaml"),
    DISASTER: Path("demo", "plans", "orders_disaster_recovery.yaml"),
}


def legs_of(settings: Settings) -> tuple[Leg, ...]:
    return _LEGS[settings.rollback]


def plan_of(settings: Settings) -> Path:
    """The plan that all legs work with."""
    return paths.include_folder() / _PLANS[settings.scheme]


def order_may_bend(settings: Settings) -> bool:
    """Whether the scheme trades the order of a key for a shorter pause."""
    return settings.scheme == "producers_later"
