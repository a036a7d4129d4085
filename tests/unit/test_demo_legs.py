"""What each demo makes, in which order, with which plan: read from the data that the demo works with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.disaster import written
from demo.legs import (
    FAILBACK,
    FAILOVER,
    MIGRATE,
    MIRROR,
    ROLL_BACK,
    VERIFICATION,
    legs_of,
    order_may_bend,
    plan_of,
)
from demo.settings import Settings
from demo.shop.catalogue import PLAIN, SECONDS, SERVICES, WITH_HISTORY, WITH_STOCK, Catalogue, readers
from demo.shop.supervisor import write_private
from demo.stage import Stage

SCHEMES = ("producers_first", "producers_later")
SHOPS = {
    "producers_first": PLAIN,
    "producers_later": PLAIN,
    "mirror_first": WITH_HISTORY,
    "disaster_recovery": WITH_HISTORY,
}
STOCK = Path(__file__).parents[2] / "include" / "demo" / "plans" / "up" / "stock.yaml"


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


@pytest.mark.parametrize(("scheme", "shop"), SHOPS.items())
def test_plan_of_a_scheme_is_its_shop_and_has_its_scheme(scheme: str, shop: Catalogue) -> None:
    settings = Settings(scheme)
    plan = _plan(settings)
    assert (plan["plan"], plan["scheme"]) == ("orders", "mirror" if scheme == "disaster_recovery" else scheme)
    assert plan["order"] == ("relaxed" if order_may_bend(settings) else "strict")
    assert set(plan["topics"]["include"]) == {topic.name for topic in shop.topics}
    assert _writes(plan) == {service.name: set(service.writes) for service in shop.services}
    assert _reads(plan) == {service.name: {g: set(t) for g, t in service.reads.items()} for service in shop.services}


def test_what_runs_beside_the_shop_is_a_plan_of_its_own_that_is_watched_and_practised_by_the_clock() -> None:
    plan = yaml.safe_load(STOCK.read_text(encoding="utf-8"))
    mine = [service for service in WITH_STOCK.services if service.name in _writes(plan)]
    assert (plan["plan"], plan["scheme"]) == ("stock", "mirror")
    assert {"schedule", "drill"} <= plan["mirror"].keys()
    assert {service.name for service in WITH_STOCK.services} - {service.name for service in mine} == {
        service.name for service in PLAIN.services
    }
    assert {topic.name for topic in WITH_STOCK.topics} - {topic.name for topic in PLAIN.topics} == set(
        plan["topics"]["include"]
    )
    assert _writes(plan) == {service.name: set(service.writes) for service in mine}
    assert _reads(plan) == {service.name: {g: set(t) for g, t in service.reads.items()} for service in mine}


def test_lost_cluster_is_left_come_back_to_and_looked_at_in_this_order() -> None:
    legs = (FAILOVER, FAILBACK, VERIFICATION)
    assert [leg.side for leg in legs] == ["target", "source", "source"]
    plan = _plan(Settings("disaster_recovery"))
    dags = [MIRROR, *(leg.dag for leg in legs)]
    assert dags == [f"{plan['plan']}.{purpose}" for purpose in ("mirror", "failover", "failback", "verify")]
    assert not any(leg.rejected for leg in legs)


def test_plan_of_the_lost_cluster_is_that_of_the_mirror_kept_watched_and_with_its_tail_copied() -> None:
    moved, kept = _plan(Settings("mirror_first")), _plan(Settings("disaster_recovery"))
    differing = {"description", "scheme", "approvals", "mirror"}
    assert {k: v for k, v in moved.items() if k not in differing} == {
        k: v for k, v in kept.items() if k not in differing
    }
    added = {key: value for key, value in kept["mirror"].items() if key not in moved["mirror"]}
    assert added == {"schedule": "* * * * *", "tail": "copy"}


def test_topics_whose_loss_is_counted_are_those_that_somebody_writes() -> None:
    assert written(WITH_HISTORY) == {"orders", "customers", "payments", "shipments"}


def test_plans_differ_in_nothing_but_the_scheme() -> None:
    first, later = (_plan(Settings(scheme)) for scheme in SCHEMES)
    differing = {"description", "scheme", "order", "approvals", "verify"}  # the last is for `make up` alone
    for service in later["services"]:
        service.pop("second", None)
    assert {k: v for k, v in first.items() if k not in differing} == {
        k: v for k, v in later.items() if k not in differing
    }


def test_plan_that_copies_adds_to_the_others_what_was_stored_its_readers_and_the_mirror() -> None:
    first, mirrored = _plan(Settings("producers_first")), _plan(Settings("mirror_first"))
    first["topics"]["include"].append("events")
    added = [mirrored["services"].pop() for _ in range(2)]
    differing = {"description", "scheme", "approvals", "mirror", "verify"}
    assert {k: v for k, v in first.items() if k not in differing} == {
        k: v for k, v in mirrored.items() if k not in differing
    }
    assert {one["name"]: one["controller"]["kind"] for one in added} == {"archive": "idle", "ledger": "supervisor"}


def test_only_the_shop_with_history_has_services_that_others_do_not_know_of_and_one_of_them_nobody_runs() -> None:
    assert readers() == PLAIN.readers
    assert set(WITH_HISTORY.readers) - set(readers()) == {"ledger", "archive"}
    assert {one.name for one in WITH_HISTORY.services if not one.opens} == {"archive"}
    assert all(one.opens and not one.far_behind for one in PLAIN.services)


def test_every_service_that_reads_has_a_second_instance_that_the_shop_has_or_that_is_copied() -> None:
    seconds = {one["name"]: one.get("second") for one in _plan(Settings("producers_later"))["services"]}
    programs = {f"{name}": spec["program"] for name, spec in seconds.items() if spec and spec["kind"] == "supervisor"}
    assert {name for name, spec in seconds.items() if spec} == {service.name for service in SERVICES if service.reads}
    assert set(programs.values()) == {service.name for service in SECONDS}
    assert all(program == f"{name}-second" for name, program in programs.items())


def test_stage_gives_airflow_a_copy_of_the_plan_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    plan = plan_of(Settings("producers_first"))
    stage = Stage(tmp_path, dags=tmp_path, plugins=tmp_path, say=print, plan=plan)
    folder = Path(stage.airflow._environment["KAFKA_MIGRATION_PLANS"])
    assert [file.name for file in folder.iterdir()] == ["orders.yaml"]
    copied, original = (yaml.safe_load(file.read_text()) for file in (folder / "orders.yaml", plan))
    assert original.pop("verify"), "nobody would see what comes when the demo has ended"
    assert copied == original


def test_stage_without_a_plan_leaves_airflow_the_plans_that_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    stage = Stage(tmp_path, dags=tmp_path, plugins=tmp_path, say=print)
    assert "KAFKA_MIGRATION_PLANS" not in stage.airflow._environment


def test_only_a_stage_with_history_has_stored_messages_and_the_connect_workers_that_its_plan_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    plain, history = (_stage(tmp_path / name, history=name == "history") for name in ("plain", "history"))
    assert (plain.workers, plain.shop.catalogue) == ({}, PLAIN)
    assert history.shop.catalogue == WITH_HISTORY
    added = {one.id: one for one in history._connections()}
    for one in plain._connections():
        del added[one.id]
    mirror = _plan(Settings("mirror_first"))["mirror"]
    assert {name: f"{one.schema}://{one.host}:{one.port}" for name, one in added.items()} == {
        mirror["connection"]: history.workers["target"].url,
        mirror["back"]: history.workers["source"].url,
    }


def test_stage_of_make_up_has_a_second_shop_with_its_plan_beside_the_others_and_a_small_worker_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_MIGRATION_STAGE", "set back after this test")
    monkeypatch.delenv("KAFKA_MIGRATION_PLANS", raising=False)
    stage = Stage(tmp_path, dags=tmp_path, plugins=tmp_path, say=print, practises=True)
    assert stage.shop.catalogue == WITH_STOCK
    assert [name for name, worker in stage.workers.items() if worker._heap == "256m"] == ["target"]
    folders = stage.airflow._environment["KAFKA_MIGRATION_PLANS"].split(os.pathsep)
    found = {file.name for folder in folders for file in Path(folder).glob("*.yaml")}
    assert found == {"orders.yaml", "stock.yaml"}
    connections = {plan["connection"] for plan in _connected(STOCK)}
    places = ("socket", "user", "password", "env_directory", "configuration", "program_directory")
    write_private(stage.shop.directory / "connection.json", json.dumps(dict.fromkeys(places, "somewhere")))
    assert connections <= {one.id for one in stage._connections()}


def _connected(file: Path) -> list[dict[str, Any]]:
    """Every part of a plan that names a connection."""
    plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    services = [service["controller"] for service in plan["services"]]
    return [plan["source"], plan["target"], plan["mirror"], *services]


def _writes(plan: Any) -> dict[str, set[str]]:
    return {one["name"]: set(one.get("produces", ())) for one in plan["services"]}


def _reads(plan: Any) -> dict[str, dict[str, set[str]]]:
    return {one["name"]: {c["group"]: set(c["topics"]) for c in one.get("consumes", ())} for one in plan["services"]}


def _stage(state: Path, *, history: bool) -> Stage:
    """One whose shop has a folder, as if it had been started."""
    state.mkdir()
    stage = Stage(state, dags=state, plugins=state, say=print, history=history)
    places = ("socket", "user", "password", "env_directory", "configuration", "program_directory")
    write_private(stage.shop.directory / "connection.json", json.dumps(dict.fromkeys(places, "somewhere")))
    return stage


def _plan(settings: Settings) -> Any:
    return yaml.safe_load(plan_of(settings).read_text(encoding="utf-8"))
