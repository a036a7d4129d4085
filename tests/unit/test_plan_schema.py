"""The JSON schema that editors use agrees with what the product takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from kafka_migration.errors import PlanError
from kafka_migration.plan.load import parse_plan
from kafka_migration.plan.schema import plan_schema

ROOT = Path(__file__).parents[2]
LATER = ROOT / "include" / "demo" / "plans" / "orders_producers_later.yaml"
PLANS = [*(ROOT / "include" / "plans").glob("*.yaml"), *(ROOT / "tests" / "data" / "plans").glob("*.yaml"), LATER]
SHOP = (ROOT / "include" / "plans" / "orders.yaml").read_text()


def test_schema_in_the_repository_is_up_to_date() -> None:
    """If not: PYTHONPATH=include python -m kafka_migration.plan.schema > include/plans/plan.schema.json"""
    assert json.loads((ROOT / "include" / "plans" / "plan.schema.json").read_text()) == plan_schema()


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(plan_schema())


@pytest.mark.parametrize("file", PLANS, ids=lambda f: f.name)
def test_good_plans_satisfy_it(file: Path) -> None:
    Draft202012Validator(plan_schema()).validate(yaml.safe_load(file.read_text()))


def first(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = data["services"][0]
    return found


BAD: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d.pop("plan"),
    lambda d: d.update(plan="Orders"),
    lambda d: d.update(servces=[]),
    lambda d: d.update(scheme="big_bang"),
    lambda d: d.update(order="any"),
    lambda d: d.update(approvals=["failback"]),
    lambda d: d.update(services=[]),
    lambda d: d["topics"].update(include=[]),
    lambda d: d["cutover"].update(quiet="soon"),
    lambda d: d["cutover"].update(quiet=-1),
    lambda d: d.update(accept=[{"finding": "a"}]),
    lambda d: first(d).update(produces="orders"),
    lambda d: first(d)["controller"].update(kind="systemd"),
    lambda d: first(d)["controller"].pop("program"),
    lambda d: first(d)["controller"].update(progam="x"),
    lambda d: first(d).update(controller={"kind": "manual", "program": "x"}),
    lambda d: first(d)["controller"].update(target={"variables": {"A": 5}}),
    lambda d: first(d)["controller"].update(target={"variables": {"A B": "x"}}),
    lambda d: first(d)["controller"].update(target={"variables": {"A": {"from_connection": {"id": "x"}}}}),
]


@pytest.mark.parametrize("change", BAD, ids=range(len(BAD)))
def test_what_the_product_refuses_an_editor_marks(change: Callable[[dict[str, Any]], object]) -> None:
    data = yaml.safe_load(SHOP)
    change(data)
    with pytest.raises(PlanError):
        parse_plan(yaml.safe_dump(data), Path("x.yaml"))
    assert not Draft202012Validator(plan_schema()).is_valid(data)


def second(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in data["services"] if s["name"] == "billing")["second"]
    return found


BAD_SECONDS: list[Callable[[dict[str, Any]], object]] = [
    lambda s: s.pop("kind"),
    lambda s: s.update(kind="clone"),
    lambda s: s.update(progam="x"),
    lambda s: s.pop("program"),  # else it would be the original's
    lambda s: s.pop("env_file"),
    lambda s: s.update(kind="copy"),  # a copy says nothing but its kind
    lambda s: s.update(kind="manual"),
]


@pytest.mark.parametrize("change", BAD_SECONDS, ids=range(len(BAD_SECONDS)))
def test_second_that_the_product_refuses_an_editor_marks(change: Callable[[dict[str, Any]], object]) -> None:
    data = yaml.safe_load(LATER.read_text())
    change(second(data))
    with pytest.raises(PlanError):
        parse_plan(yaml.safe_dump(data), Path("x.yaml"))
    assert not Draft202012Validator(plan_schema()).is_valid(data)


@pytest.mark.parametrize("value", [{"kind": "copy"}, {"kind": "manual"}, {"kind": "manual", "how": "ask the team"}])
def test_second_that_the_product_takes_an_editor_does_not_mark(value: dict[str, str]) -> None:
    data = yaml.safe_load(LATER.read_text())
    next(s for s in data["services"] if s["name"] == "billing")["second"] = value
    parse_plan(yaml.safe_dump(data), Path("x.yaml"))
    Draft202012Validator(plan_schema()).validate(data)


@pytest.mark.parametrize("quiet", ["500ms", "30s", "2h", 3, 2.5])
def test_what_the_product_takes_an_editor_does_not_mark(quiet: Any) -> None:
    data = yaml.safe_load(SHOP)
    data["cutover"]["quiet"] = quiet
    first(data)["controller"]["target"] = {
        "variables": {"MODE": "x", "PASSWORD": {"from_connection": {"id": "a", "field": "password"}}}
    }
    parse_plan(yaml.safe_dump(data), Path("x.yaml"))
    Draft202012Validator(plan_schema()).validate(data)
