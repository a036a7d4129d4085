"""Who is said not to work where a run has left the shop: everybody but those whom nobody has run yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from demo.playing import elsewhere
from demo.shop.catalogue import WITH_HISTORY
from demo.witness import GroupCount, ProducerCount, Rhythm, WitnessCount

STAGE: Any = SimpleNamespace(
    source=SimpleNamespace(bootstrap_servers="source:1"),
    target=SimpleNamespace(bootstrap_servers="target:1"),
    shop=SimpleNamespace(catalogue=WITH_HISTORY),
)


def rhythm(last: str | None) -> Rhythm:
    return Rhythm({last: 1} if last else {}, 0.0, None, last)


def group(name: str, last: str | None) -> GroupCount:
    return GroupCount(name, 1 if last else 0, 0, 0, 0, 0, 0, rhythm(last))


def counted(*groups: GroupCount) -> WitnessCount:
    """The stored messages were written to the source by somebody who is no service and moves nowhere."""
    producers = ProducerCount("payments", 1, rhythm("target:1")), ProducerCount("history", 1, rhythm("source:1"))
    return WitnessCount(producers, groups, ())


def test_service_that_nobody_has_run_yet_is_nowhere_and_notelsewhere() -> None:
    there = counted(group("ledger", "target:1"), group("archive", None))
    assert elsewhere(STAGE, there, "target") == ()


def test_whoever_runs_and_works_on_the_other_cluster_or_not_at_all_iselsewhere() -> None:
    there = counted(group("ledger", "source:1"), group("archive", "source:1"), group("billing", None))
    assert elsewhere(STAGE, there, "target") == ("archive", "billing", "ledger")
    assert elsewhere(STAGE, there, "source") == ("billing", "payments")


def test_nobody_is_elsewhere_where_the_shop_was_left_half_way() -> None:
    assert elsewhere(STAGE, counted(group("billing", None)), None) == ()
