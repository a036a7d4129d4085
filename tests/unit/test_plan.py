"""What a plan may say; everything else is refused with the file, the key, what was found and what is allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_migration.errors import PlanError
from kafka_migration.plan.load import (
    BrokenPlan,
    LoadedPlan,
    difference,
    find_plan,
    load_plan,
    load_plans,
    parse_plan,
)
from kafka_migration.plan.model import FromConnection, Plan, seconds
from kafka_migration.services.registry import build_controllers, build_seconds, is_manual, is_manual_second
from kafka_migration.sides import Addresses
from kafka_migration.topics.describe import choose

_INCLUDE = Path(__file__).parents[2] / "include"
SHOP = (_INCLUDE / "plans" / "orders.yaml").read_text()
LATER = (_INCLUDE / "demo" / "plans" / "orders_producers_later.yaml").read_text()


def problems(change: Callable[[dict[str, Any]], object], text: str = SHOP) -> list[str]:
    """What is wrong with the shop's plan after a change."""
    data = yaml.safe_load(text)
    change(data)
    with pytest.raises(PlanError) as told:
        parse_plan(yaml.safe_dump(data, sort_keys=False), Path("/plans/orders.yaml"))
    assert str(told.value).startswith("orders.yaml is not a valid plan:\n  - ")
    return list(told.value.problems)


def service(data: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in data["services"] if s["name"] == name)
    return found


def test_shops_plan_loads() -> None:
    loaded = parse_plan(SHOP, Path("orders.yaml"))
    assert loaded.plan.plan == "orders"
    assert loaded.plan.cutover.quiet == 1.0
    assert loaded.plan.cutover.timeout == 300.0
    assert len(loaded.plan.services) == 7
    assert len(loaded.digest) == 64


def test_shops_plan_of_the_other_scheme_differs_in_nothing_but_that_and_its_second_instances() -> None:
    first, later = yaml.safe_load(SHOP), yaml.safe_load(LATER)
    seconds_named = {s["name"]: s.pop("second")["kind"] for s in later["services"] if "second" in s}
    assert later["services"] == first["services"]
    assert later["topics"] == first["topics"]
    assert seconds_named == {s["name"]: "supervisor" for s in first["services"] if "consumes" in s} | {
        "analytics": "copy"
    }
    loaded = parse_plan(LATER, Path("orders.yaml")).plan
    assert (loaded.plan, loaded.scheme, loaded.order) == ("orders", "producers_later", "relaxed")


CASES = yaml.safe_load((Path(__file__).parents[1] / "data" / "bad_plan_keys.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["at"])
def test_bad_key_is_told_with_what_was_found_and_what_is_allowed(case: dict[str, Any]) -> None:
    assert case["told"] in problems(lambda data: _put(data, case["at"].split("/"), case.get("put")))


def test_parts_that_contradict_one_another_are_told() -> None:
    def twice(data: dict[str, Any]) -> None:
        billing = service(data, "billing")
        billing["consumes"] *= 2
        data["services"].append(billing)

    told = problems(twice)
    assert "services: two services are called billing" in told
    assert "services: billing: group billing is listed twice" in told


def test_several_problems_are_told_at_once() -> None:
    def change(data: dict[str, Any]) -> None:
        data.update(scheme="big_bang", order="any", history={}, colour="red")
        service(data, "audit")["controller"].pop("kind")
        service(data, "billing").pop("name")

    told = problems(change)
    assert len(told) == 6
    assert "services: item 4: name: this key is missing" in told
    assert "services: audit: controller: kind: this key is missing" in told


def test_value_of_an_unknown_key_is_never_shown() -> None:
    """It may be a secret that was written into the wrong place."""
    [told] = problems(lambda d: d["source"].update(password="hunter2"))
    assert "source: password: unknown key" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a plan is a mapping of keys to values; the file is empty"),
        ("# nothing but a comment\n", "a plan is a mapping of keys to values; the file is empty"),
        ("- plan: orders\n", "a plan is a mapping of keys to values; found list \"[{'plan': 'orders'}]\""),
        ("orders\n", "a plan is a mapping of keys to values; found str 'orders'"),
        ("plan: orders\nscheme: [a\n", "line 3, column 1: not YAML: while parsing a flow sequence; did not find"),
        ("plan: a: b\n", "line 1, column 8: not YAML: mapping values are not allowed in this context"),
        ("plan: a\n\tscheme: b\n", "line 2, column 1: not YAML:"),
        ("plan: a\nplan: b\n", "line 2, column 1: not YAML: key 'plan' stands twice"),
        ("topics:\n  include: [a]\n  include: [b]\n", "line 3, column 3: not YAML: key 'include' stands twice"),
        ("? [a]\n: b\n", "line 1, column 3: not YAML: a key must be a text"),
        ("plan: !!python/object/apply:os.getcwd []\n", "line 1, column 7: not YAML: could not determine a constructor"),
        ("plan: a\n---\nplan: b\n", "not YAML: expected a single document in the stream; but found another document"),
        ("plan: *nowhere\n", "line 1, column 7: not YAML: found undefined alias"),
    ],
)
def test_text_that_is_no_plan_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(PlanError) as raised:
        parse_plan(text, Path("orders.yaml"))
    [problem] = raised.value.problems
    assert told in problem


def test_merge_keys_of_yaml_work_and_what_stands_there_itself_wins() -> None:
    text = SHOP.replace("quiet: 1s, timeout: 5m}", "<<: &waits {quiet: 9s, timeout: 5m}, quiet: 2s}")
    assert parse_plan(text, Path("x.yaml")).plan.cutover.quiet == 2.0


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("500ms", 0.5), ("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400), (7, 7), (" 1.5 s ", 1.5), ("8", 8)],
)
def test_durations_are_seconds(value: Any, wanted: float) -> None:
    assert seconds(value) == wanted


def test_values_from_a_connection_are_told_from_texts() -> None:
    data = yaml.safe_load(SHOP)
    variables = {"MODE": "new", "PASSWORD": {"from_connection": {"id": "kafka_target", "field": "password"}}}
    service(data, "billing")["controller"]["target"] = {"variables": variables}
    loaded = parse_plan(yaml.safe_dump(data), Path("x.yaml")).plan.service("billing").controller.target.variables
    assert loaded["MODE"] == "new"
    secret = loaded["PASSWORD"]
    assert isinstance(secret, FromConnection)
    assert secret.from_connection.field == "password"


def test_topics_are_chosen_by_names_and_regular_expressions() -> None:
    data = yaml.safe_load(SHOP)
    data["topics"] = {"include": ["orders", "(pay|ship)ments", "customers", "return.*", "no-such.*"], "exclude": ["x"]}
    plan = Plan.model_validate(data)
    there = ["orders", "orders-2", "payments", "shipments", "returns", "returns.dlq", "customers", "other"]
    chosen, unmatched = choose(plan.topics, plan, there)
    assert chosen == ["customers", "orders", "payments", "returns", "returns.dlq", "shipments"]
    assert unmatched == ["no-such.*"]
    assert choose(plan.topics, plan, ["payments"])[1] == ["orders", "customers", "return.*", "no-such.*"]


def test_dot_in_a_name_is_a_dot() -> None:
    data = yaml.safe_load(SHOP)
    data["topics"]["include"].append("a.b")
    plan = Plan.model_validate(data)
    assert plan.includes("a.b")
    assert not plan.includes("axb")


def test_group_that_services_share_has_the_topics_of_all() -> None:
    data = yaml.safe_load(SHOP)
    service(data, "audit")["consumes"][0]["group"] = "billing"
    assert Plan.model_validate(data).groups["billing"].topics == ("orders", "payments")


def test_controllers_are_built_for_every_service_without_contacting_any() -> None:
    plan = parse_plan(SHOP, Path("x.yaml")).plan

    def unreachable(connection: str) -> dict[str, Any]:
        raise AssertionError(f"{connection} was asked for")

    built = build_controllers(plan, Addresses("a:1", "b:1"), unreachable)
    assert built.keys() == {s.name for s in plan.services}
    assert not any(is_manual(s) for s in plan.services)


# -- second instances


def test_service_that_reads_needs_a_second_where_it_is_to_run_twice() -> None:
    assert problems(lambda data: service(data, "billing").pop("second"), LATER) == [
        "services: billing: second: is needed, since it reads: a program, a copy, or a person that starts one"
    ]


def test_service_that_only_produces_never_runs_twice() -> None:
    assert problems(lambda data: service(data, "order-api").update(second={"kind": "copy"}), LATER) == [
        "services: order-api: second: only a service that reads runs twice"
    ]


def test_second_is_refused_where_no_service_runs_twice() -> None:
    assert problems(lambda data: service(data, "billing").update(second={"kind": "copy"})) == [
        "services: billing: second: only scheme producers_later runs a service twice"
    ]


@pytest.mark.parametrize("change", [lambda d: d.update(order="strict"), lambda d: d.pop("order")])
def test_order_that_two_clusters_at_once_cannot_keep_is_refused_with_the_reason_and_the_alternative(
    change: Callable[[dict[str, Any]], object],
) -> None:
    [told] = problems(change, LATER)
    assert told.startswith("order: strict cannot be kept by scheme producers_later: consumers read both clusters")
    assert told.endswith("Say order: relaxed, or use scheme producers_first")


@pytest.mark.parametrize(
    ("text", "approval", "told"),
    [
        (SHOP, "close_originals", "scheme producers_first has no such step (it belongs to producers_later)"),
        (
            LATER,
            "consumers",
            "scheme producers_later has no such step (it belongs to producers_first and mirror_first)",
        ),
    ],
)
def test_approval_that_would_never_be_asked_is_refused(text: str, approval: str, told: str) -> None:
    assert problems(lambda data: data["approvals"].append(approval), text) == [f"approvals: {approval}: {told}"]


SECONDS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "clone"}, "kind: unknown kind 'clone' (allowed: copy, manual, supervisor)"),
    ({"kind": "copy", "program": "x"}, "program: unknown key"),
    ({"kind": "manual", "program": "x"}, "program: unknown key"),
    ({"kind": "supervisor", "progam": "x"}, "progam: unknown key, did you mean program?"),
    (
        {"kind": "supervisor", "program": "billing", "env_file": "other.env"},
        "program: is the original's own (billing); a second instance needs another",
    ),
    (
        {"kind": "supervisor", "program": "other"},
        "env_file: is the original's own (billing.env); a second instance needs another",
    ),
]


@pytest.mark.parametrize(("second", "told"), SECONDS, ids=[told for _, told in SECONDS])
def test_second_that_could_not_be_one_is_refused(second: dict[str, Any], told: str) -> None:
    [problem] = problems(lambda data: service(data, "billing").update(second=second), LATER)
    assert problem.startswith(f"services: billing: second: {told}")


def test_service_that_a_person_changes_can_be_run_twice_by_a_person_but_not_copied() -> None:
    def by_hand(kind: str) -> Callable[[dict[str, Any]], object]:
        return lambda data: service(data, "billing").update(controller={"kind": "manual"}, second={"kind": kind})

    data = yaml.safe_load(LATER)
    by_hand("manual")(data)
    plan = parse_plan(yaml.safe_dump(data), Path("x.yaml")).plan
    assert is_manual_second(plan.service("billing"))
    assert not is_manual_second(plan.service("audit"))
    assert problems(by_hand("copy"), LATER) == [
        "services: billing: second: kind: copy needs a controller of kind supervisor, this one is manual"
    ]


def test_second_instances_are_other_programs_and_are_built_without_contacting_any() -> None:
    plan = parse_plan(LATER, Path("x.yaml")).plan
    asked: list[str] = []

    def connection(name: str) -> dict[str, Any]:
        asked.append(name)
        return {"socket": "/no/such/socket", "env_directory": "/no/such/folder"}

    originals = build_controllers(plan, Addresses("a:1", "b:1"), connection)
    built = build_seconds(plan, Addresses("a:1", "b:1"), connection)
    assert built.keys() == {s.name for s in plan.services if s.consumes}
    assert not asked
    identities = [c.identity() for c in (*originals.values(), *built.values())]
    assert len(set(identities)) == len(identities)
    assert built["audit"].identity() == "supervisor:/no/such/socket:audit-second"
    assert built["analytics"].identity() == "supervisor:/no/such/socket:analytics-second"


# -- folders of plans


def test_broken_plan_leaves_the_others_working(tmp_path: Path) -> None:
    (tmp_path / "a-good.yaml").write_text(SHOP)
    (tmp_path / "b-broken.yaml").write_text("plan: [")
    (tmp_path / "c-good.yml").write_text(SHOP.replace("plan: orders", "plan: other"))
    (tmp_path / "notes.txt").write_text("not a plan")
    (tmp_path / "d-folder.yaml").mkdir()
    found = load_plans(tmp_path)
    assert [e.plan.plan if isinstance(e, LoadedPlan) else e.name for e in found] == [
        "orders",
        "b-broken",
        "other",
        "d-folder",
    ]
    assert "b-broken.yaml" in str(next(e.error for e in found if isinstance(e, BrokenPlan)))


def test_two_plans_of_one_name_are_not_both_taken(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP)
    (tmp_path / "b.yaml").write_text(SHOP)
    first, second = load_plans(tmp_path)
    assert isinstance(first, LoadedPlan)
    assert isinstance(second, BrokenPlan)
    assert "plan: 'orders' is already the name of the plan in a.yaml" in str(second.error)


def test_plans_may_lie_in_several_folders_and_no_two_have_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("KAFKA_MIGRATION_PLANS", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
    (tmp_path / "one" / "orders.yaml").write_text(SHOP)
    (tmp_path / "two" / "orders.yaml").write_text(SHOP)
    (tmp_path / "two" / "parcels.yaml").write_text(SHOP.replace("plan: orders", "plan: parcels"))
    first, again, other = load_plans()
    assert isinstance(first, LoadedPlan)
    assert isinstance(other, LoadedPlan)
    assert (first.file.parent.name, other.plan.plan) == ("one", "parcels")
    assert isinstance(again, BrokenPlan)
    assert f"is already the name of the plan in {first.file}" in str(again.error)
    assert find_plan("parcels").file == other.file
    with pytest.raises(PlanError, match=r"no plan file in .*/one, .*/two has `plan: gone` any more"):
        find_plan("gone")


def test_broken_plan_never_takes_the_name_of_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text("plan: [")
    (tmp_path / "orders.yml").write_text("plan: {")
    (tmp_path / "z.yaml").write_text(SHOP)
    names = [e.plan.plan if isinstance(e, LoadedPlan) else e.name for e in load_plans(tmp_path)]
    assert names == ["orders-2", "orders-3", "orders"]
    assert find_plan("orders", tmp_path).file.name == "z.yaml"


def test_plan_is_found_by_its_name_or_its_absence_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(SHOP)
    (tmp_path / "y.yaml").write_text("plan: [")
    assert find_plan("orders", tmp_path).file.name == "x.yaml"
    with pytest.raises(PlanError, match=r"y\.yaml is not a valid plan"):
        find_plan("y", tmp_path)
    with pytest.raises(PlanError, match=r"no plan file in .* has `plan: gone` any more"):
        find_plan("gone", tmp_path)


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none\.yaml is not a valid plan:\n  - the file cannot be read"):
        load_plan(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"description: caf\xe9\n")
    with pytest.raises(PlanError, match="the file cannot be read"):
        load_plan(tmp_path / "latin.yaml")


def test_folder_that_is_not_there_holds_no_plans(tmp_path: Path) -> None:
    assert load_plans(tmp_path / "none") == []


def test_a_hundred_plans_load_in_well_under_a_second(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.yaml").write_text(SHOP.replace("plan: orders", f"plan: orders-{number}"))
    started = time.process_time()  # of this process alone: others may be busy
    assert len(load_plans(tmp_path)) == 100
    assert time.process_time() - started < 1.0


def test_difference_shows_what_was_edited_and_the_digest_tells() -> None:
    edited = SHOP.replace("quiet: 1s", "quiet: 2s")
    assert parse_plan(SHOP, Path("a")).digest != parse_plan(edited, Path("a")).digest
    shown = difference(SHOP, edited)
    assert "-cutover: {quiet: 1s, timeout: 5m}" in shown
    assert "+cutover: {quiet: 2s, timeout: 5m}" in shown


def _put(data: Any, path: list[str], value: Any) -> None:
    """Put a value at a path, or take away what is there; an entry of a list goes by its name or number."""
    *way, last = path
    for part in way:
        if isinstance(data, list):
            data = data[int(part)] if part.isdigit() else next(entry for entry in data if entry["name"] == part)
        else:
            data = data[part]
    if value is None:
        del data[last]
    else:
        data[last] = value


def test_writer_that_a_person_moves_shares_no_topic_under_strict_order() -> None:
    def mix(data: dict[str, Any]) -> None:
        service(data, "payments")["produces"] = ["orders", "payments"]
        service(data, "payments")["controller"] = {"kind": "manual"}

    told = problems(mix)
    assert len(told) == 1
    assert "order-api, payments all write orders" in told[0]
    assert "payments is moved by hand" in told[0]


def test_value_of_any_kind_where_a_word_is_due_is_told_and_takes_no_other_plan_with_it(tmp_path: Path) -> None:
    for number, (key, value) in enumerate((k, v) for k in ("scheme", "order") for v in (["strict"], {"a": 1}, 3, None)):
        data = yaml.safe_load(SHOP) | {"plan": f"bad-{number}", key: value}
        (tmp_path / f"bad-{number}.yaml").write_text(yaml.safe_dump(data))
    (tmp_path / "orders.yaml").write_text(SHOP)
    loaded = load_plans(tmp_path)
    assert [entry.plan.plan for entry in loaded if isinstance(entry, LoadedPlan)] == ["orders"]
    broken = [entry for entry in loaded if isinstance(entry, BrokenPlan)]
    assert len(broken) == 8
    assert not any("fault of the loader" in str(entry.error) for entry in broken)
