"""What each demo makes, in which order, with which plan: read from the data that the demo works with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.legs import MIGRATE, ROLL_BACK, legs_of, order_may_bend, plan_of
from demo.settings import Settings
from demo.shop.catalogue import SECONDS, SERVICES
from demo.stage import Stage

SCHEMES = ("producers_first", "producers_later")


def test_demo_without_rollback_migrates_once() -> None:
    (leg,) = legs_of(Settings())
    assert (leg.dag, leg.side, leg.rejected) == (MIGRATE, "target", False)


@pytest.mark.parametrize("rollback", ["after_producers", "after_consumers"])
def test_demo_with_rollback_comes_back_and_ends_on_the_target(rollback: str) -> None:
    legs = legs_of(Settings(rollback=rollback))
    assert [leg.dag for leg in legs] == [MIGRATE, ROLL_BACK, MIGRATE]
    assert [leg.side for leg in legs[1:]] == ["source", "target"]
    assert len({leg.name for leg in legs}) == len(legs)


def test_migration_is_stopped_after_the_producers_by_every_approval_that_follows() -> None:
    first, *others = legs_of(Settings(rollback="after_producers"))
    assert first.rejected
    assert first.answers("approve_producers") == "Approve"
    assert {first.answers(task) for task in ("billing.approve", "approve_close_originals")} == {"Reject"}
    assert not any(leg.rejected for leg in others)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_plan_of_a_scheme_is_the_shop_and_has_its_scheme(scheme: str) -> None:
    settings = Settings(scheme)
    plan = _plan(settings)
    assert (plan["plan"], plan["scheme"]) == ("orders", scheme)
    assert plan["order"] == ("relaxed" if order_may_bend(settings) else "strict")
    written = {one["name"]: set(one.get("produces", ())) for one in plan["services"]}
    read = {one["name"]: {c["group"]: set(c["topics"]) for c in one.get("consumes", ())} for one in plan["services"]}
    assert written == {service.name: set(service.writes) for service in SERVICES}
    assert read == {service.name: {g: set(t) for g, t in service.reads.items()} for service in SERVICES}


def test_plans_differ_in_nothing_but_the_scheme() -> None:
    first, later = (_plan(Settings(scheme)) for scheme in SCHEMES)
    differing = {"description", "scheme", "order", "approvals"}
    for service in later["services"]:
        service.pop("second", None)
    assert {k: v for k, v in first.items() if k not in differing} == {
        k: v for k, v in later.items() if k not in differing
    }


def test_every_service_that_reads_has_a_second_instance_that_the_shop_has_or_that_is_copied() -> None:
    seconds = {one["name"]: one.get("second") for one in _plan(Settings("producers_later"))["services"]}
    programs = {f"{name}": spec["program"] for name, spec in seconds.items() if spec and spec["kind"] == "supervisor"}
    assert {name for name, spec in seconds.items() if spec} == {service.name for service in SERVICES if service.reads}
    assert set(programs.values()) == {service.name for service in SECONDS}
    assert all(program == f"{name}-second" for name, program in programs.items())


def test_stage_gives_airflow_a_copy_of_the_plan_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    plan = plan_of(Settings("producers_later"))
    stage = Stage(tmp_path, dags=tmp_path, plugins=tmp_path, say=print, plan=plan)
    folder = Path(stage.airflow._environment["KAFKA_MIGRATION_PLANS"])
    assert [file.name for file in folder.iterdir()] == ["orders.yaml"]
    assert (folder / "orders.yaml").read_bytes() == plan.read_bytes()


def test_stage_without_a_plan_leaves_airflow_the_plans_that_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    stage = Stage(tmp_path, dags=tmp_path, plugins=tmp_path, say=print)
    assert "KAFKA_MIGRATION_PLANS" not in stage.airflow._environment


def _plan(settings: Settings) -> Any:
    return yaml.safe_load(plan_of(settings).read_text(encoding="utf-8"))
