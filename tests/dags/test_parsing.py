"""What must stay true when Airflow reads plugins and DAGs: it is quick, and a bad plan harms no other."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.dags.conftest import AirflowHome, Ended

from demo.broker_loss import CUTOVER, STEPS
from demo.legs import plan_of
from demo.settings import KILL_IN, Settings
from kafka_migration.sides import Side

if TYPE_CHECKING:
    from airflow.sdk import DAG

_ROOT = Path(__file__).parents[2]


def test_a_plan_that_does_not_load_is_a_dag_that_says_why(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    file = airflow_home.folder / "plans" / "typo.yaml"
    file.write_text("plan: typo\nshceme: producers_first\n")
    try:
        ended = run_dag("typo.migrate")
    finally:
        file.unlink()
    assert ended.tasks == {"invalid_plan": "failed"}
    assert "typo.yaml is not a valid plan" in ended.log
    assert "shceme: unknown key" in ended.log
    assert "Traceback" not in ended.log
    assert run_dag("acts.migrate").state == "success"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("airflow_kafka_migration.parts", {"confluent_kafka", "kafka", "pandas", "numpy", "great_expectations"}),
        ("kafka_migration_plugin", {"airflow.api_fastapi.core_api.security", "confluent_kafka"}),
    ],
)
def test_what_every_process_imports_is_light(airflow_home: AirflowHome, module: str, unwanted: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        env={
            "AIRFLOW_HOME": str(airflow_home.folder),
            "PYTHONPATH": f"{_ROOT / 'include'}:{_ROOT / 'plugins'}",
            "PATH": "/usr/bin:/bin",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert unwanted.isdisjoint(told.stdout.split())


# -- the shape of the DAGs that the files in `dags/` make

_SHOP = """\
plan: {name}
scheme: SCHEME
order: ORDER
source: {{connection: kafka_source}}
target: {{connection: kafka_target}}
topics: {{include: [orders, parcels]}}
services:
  - name: api
    produces: [orders]
    controller: {{kind: supervisor, connection: shop, program: api, env_file: api.env}}
  - name: depot
    consumes: [{{group: depot, topics: [orders]}}]
    produces: [parcels]
    controller: {{kind: supervisor, connection: shop, program: depot, env_file: depot.env}}
    SECOND
  - name: books
    consumes: [{{group: books, topics: [orders, parcels]}}]
    controller: {{kind: supervisor, connection: shop, program: books, env_file: books.env}}
    SECOND
"""


def shop(scheme: str = "producers_first", order: str = "strict") -> str:
    second = "second: {{kind: copy}}" if scheme == "producers_later" else ""
    return _SHOP.replace("SCHEME", scheme).replace("ORDER", order).replace("SECOND", second)


@pytest.fixture
def dags_of(airflow_home: AirflowHome) -> Iterator[Callable[..., dict[str, DAG]]]:
    """The DAGs of one plan, by their purpose, as the files in `dags/` make them."""
    written: list[Path] = []

    def made(text: str, folder: Path = _ROOT / "dags") -> dict[str, DAG]:
        from airflow.dag_processing.dagbag import DagBag

        written.append(airflow_home.write_plan("shop", text=text))
        bag = DagBag(dag_folder=str(folder))
        assert not bag.import_errors
        return {dag_id.removeprefix("shop."): dag for dag_id, dag in bag.dags.items() if dag_id.startswith("shop.")}

    yield made
    for file in written:
        file.unlink(missing_ok=True)


def order_of(dag: DAG) -> list[str]:
    return [task.task_id for task in dag.topological_sort()]


def behind(dag: DAG, task: str) -> set[str]:
    """All that comes after a task."""
    return dag.get_task(task).get_flat_relative_ids(upstream=False)


def headings(dag: DAG) -> dict[str, set[str]]:
    """The tasks by the side that they move services to."""
    found: dict[str, set[str]] = {}
    for task in dag.tasks:
        found.setdefault(str(getattr(task, "heading", None)), set()).add(task.task_id)
    return found


@pytest.mark.parametrize(
    ("scheme", "order"), [("producers_first", "strict"), ("producers_first", "relaxed"), ("producers_later", "relaxed")]
)
def test_history_is_copied_beside_the_move_and_stopped_on_the_way_back(
    dags_of: Callable[..., dict[str, DAG]], scheme: str, order: str
) -> None:
    dags = dags_of(shop(scheme, order) + "history: prefixed\nmirror: {{connection: connect_target}}\n")
    there, back = dags["migrate"], dags["rollback"]
    listed = order_of(there)
    assert listed.index("start_history") == listed.index("create_topics") + 1
    assert there.get_task("history.copied").upstream_task_ids >= there.get_task("coverage").upstream_task_ids
    assert behind(there, "history.copied") == {"history.compare", "evidence", "gate", "lift_holds"}
    assert listed[-2:] == ["gate", "lift_holds"]
    assert {"history.copied", "history.compare"} <= set(there.get_task("evidence").judged)
    assert "begin" in behind(back, "stop_history")
    assert order_of(back)[-2:] == ["gate", "lift_holds"]


def test_scheme_2_starts_seconds_before_anything_is_written_for_them_and_closes_originals_last(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    dag = dags_of(shop("producers_later", "relaxed") + "approvals: [producers, close_originals]\n")["migrate"]
    assert order_of(dag) == [
        "preflight",
        "create_topics",
        "seed_groups",
        *("seconds.depot.start", "seconds.depot.ready", "seconds.books.start", "seconds.books.ready"),
        "approve_producers",
        "compare_topics",
        "switch_producers.api",
        *("cutover", "keeping_up.depot", "keeping_up.books"),
        *("depot.drained", "depot.approve", "depot.close", "depot.cutover"),
        *("books.drained", "books.approve", "books.close"),
        "coverage",
        "evidence",
        "gate",
    ]
    assert {"seconds.depot.ready", "seconds.books.ready"} == dag.get_task("approve_producers").upstream_task_ids
    assert {"cutover", "keeping_up.depot", "keeping_up.books"} == dag.get_task("depot.drained").upstream_task_ids
    assert "books.drained" in behind(dag, "depot.cutover"), "it reads what the processor writes"


def test_rollback_in_order_moves_every_reader_to_the_target_before_a_producer_returns(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    dag = dags_of(shop())["rollback"]
    forth = [
        *("forth.depot.drained", "forth.depot.switch", "forth.depot.consuming", "forth.depot.cutover"),
        *("forth.books.drained", "forth.books.switch", "forth.books.consuming"),
    ]
    assert order_of(dag) == [
        *("preflight", "approve_rollback", "begin", "source_point"),
        *forth,
        *("switch_producers.api", "cutover"),
        *("depot.drained", "depot.switch", "depot.consuming", "depot.cutover"),
        *("books.drained", "books.switch", "books.consuming"),
        *("coverage", "evidence", "gate"),
    ]
    for task in forth:
        assert "switch_producers.api" in behind(dag, task)
    assert headings(dag)["target"] == {"source_point", *forth}
    assert headings(dag)["source"] == set(order_of(dag)) - {"source_point", *forth}


def test_rollback_with_relaxed_order_returns_the_producers_at_once(dags_of: Callable[..., dict[str, DAG]]) -> None:
    dag = dags_of(shop(order="relaxed"))["rollback"]
    assert order_of(dag) == [
        *("preflight", "approve_rollback", "begin", "source_point", "switch_producers.api", "cutover"),
        *("depot.forth_drained", "depot.forth_switch", "depot.forth_consuming", "depot.forth_cutover"),
        *("depot.drained", "depot.switch", "depot.consuming", "depot.cutover"),
        *("books.forth_drained", "books.forth_switch", "books.forth_consuming"),
        *("books.drained", "books.switch", "books.consuming"),
        *("coverage", "evidence", "gate"),
    ]
    assert headings(dag)["target"] == {"source_point", *(task for task in order_of(dag) if "forth_" in task)}


def test_rollback_of_scheme_2_starts_the_originals_before_the_producers_return(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    dag = dags_of(shop("producers_later", "relaxed") + "approvals: [close_originals]\n")["rollback"]
    assert order_of(dag) == [
        *("preflight", "approve_rollback", "begin"),
        *("seconds.depot.start", "seconds.depot.ready", "seconds.books.start", "seconds.books.ready"),
        *("switch_producers.api", "cutover", "keeping_up.depot", "keeping_up.books"),
        *("depot.drained", "depot.close", "depot.cutover"),
        *("books.drained", "books.close"),
        *("coverage", "evidence", "gate"),
    ]
    assert set(headings(dag)) == {"source"}


def test_rollback_with_a_mirror_copies_back_and_sends_nobody_to_the_target(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    made = dags_of(shop() + "mirror: {{back: connect}}\n")
    dag = made["rollback"]
    assert order_of(dag) == [
        *("preflight", "approve_rollback", "begin", "start_mirror", "caught_up", "rehearse", "stop_writers"),
        *("cutover", "cutover_depot", "stop_mirror", "switch_producers.api"),
        *("depot.handover", "depot.consuming", "books.handover", "books.consuming"),
        *("compare_content", "evidence", "gate"),
    ]
    assert dag.get_task("stop_mirror").upstream_task_ids == {"cutover", "cutover_depot"}
    assert behind(dag, "stop_mirror") >= {"switch_producers.api", "depot.handover", "books.handover"}
    assert set(headings(dag)) == {"source"}
    assert set(dag.params) == {"dry_run", "reason"}, "nobody stays with something unread"
    assert "stop_mirror" not in order_of(made["migrate"]), "only the way back is another"


def test_person_is_asked_on_the_way_there_and_on_the_way_back(dags_of: Callable[..., dict[str, DAG]]) -> None:
    by_hand = "{{kind: supervisor, connection: shop, program: books, env_file: books.env}}"
    made = dags_of(shop().replace(by_hand, "{{kind: manual}}"))
    assert [task for task in order_of(made["migrate"]) if "by_hand" in task] == ["books.by_hand_books"]
    assert [task for task in order_of(made["rollback"]) if "by_hand" in task] == [
        "forth.books.by_hand_books",
        "books.by_hand_books",
    ]
    twice = dags_of(
        shop("producers_later", "relaxed").replace(
            f"{by_hand}\n    second: {{{{kind: copy}}}}", "{{kind: manual}}\n    second: {{kind: manual}}"
        )
    )
    for dag in (twice["migrate"], twice["rollback"]):
        assert [task for task in order_of(dag) if "by_hand" in task] == [
            "seconds.books.by_hand_books",
            "books.close_by_hand_books",
        ]


def test_person_has_a_task_between_the_stop_and_the_start_where_stored_messages_come_along(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    def by_hand(program: str) -> str:
        return f"{{{{kind: supervisor, connection: shop, program: {program}, env_file: {program}.env}}}}"

    text = (
        shop("mirror_first").replace(by_hand("api"), "{{kind: manual}}").replace(by_hand("books"), "{{kind: manual}}")
    )
    text = text.replace("{{group: depot, topics: [orders]}}", "{{group: depot, topics: [orders], offsets: external}}")
    made = dags_of(text + "mirror: {{connection: connect}}\napprovals: [consumers]\n")
    migrate = order_of(made["migrate"])
    assert migrate[4:7] == ["caught_up", "rehearse", "verify_synchronisation"]
    before = migrate.index("stop_writers")
    assert migrate[before - 1 : before + 3] == ["stop_by_hand.api", "stop_writers", "cutover", "stop_mirror"]
    for dag, asked in ((made["migrate"], ["approve"]), (made["rollback"], [])):
        assert [task for task in order_of(dag) if task.startswith("depot.")] == [
            *("depot.export_offsets", *(f"depot.{task}" for task in asked), "depot.handover"),
            *("depot.set_offsets_depot", "depot.start", "depot.consuming"),
        ]
        assert [task for task in order_of(dag) if task.startswith("books.")] == [
            *(f"books.{task}" for task in asked),
            *("books.stop_by_hand_books", "books.handover", "books.by_hand_books", "books.start", "books.consuming"),
        ]
        assert {"depot.export_offsets", "switch_producers.by_hand_api"} <= behind(dag, "stop_mirror")
        for task in ("stop_by_hand.api", "depot.set_offsets_depot", "books.stop_by_hand_books", "books.by_hand_books"):
            assert getattr(dag.get_task(task), "fail_on_reject", False), f"{task} asks a person"


def test_evidence_waits_for_every_task_and_the_gate_for_the_evidence(dags_of: Callable[..., dict[str, DAG]]) -> None:
    home = shop() + "mirror: {{back: connect}}\n"
    for text in (shop(), shop(order="relaxed"), shop("producers_later", "relaxed"), home):
        for dag in dags_of(text).values():
            others = set(dag.task_ids) - {"evidence", "gate"}
            assert dag.get_task("evidence").get_flat_relative_ids(upstream=True) == others
            assert dag.get_task("gate").upstream_task_ids == {"evidence"}


@pytest.mark.parametrize("scheme", KILL_IN)
def test_broker_of_the_demo_is_killed_in_tasks_that_there_are(
    dags_of: Callable[..., dict[str, DAG]], scheme: str
) -> None:
    """The demo names them by patterns: one that matches nothing would kill nobody."""
    plan = plan_of(Settings(scheme)).read_text(encoding="utf-8")
    plan = plan.replace("plan: orders", "plan: shop").replace("{", "{{").replace("}", "}}")
    tasks = dags_of(plan)["migrate"].task_ids
    assert CUTOVER in tasks
    for step in KILL_IN[scheme]:
        assert any(STEPS[step].tasks.fullmatch(task) for task in tasks), step


def test_dag_of_the_benchmark_of_waits_ends_where_its_readers_have_drained(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    made = dags_of(shop(), _ROOT / "benchmarks" / "dags")
    assert {purpose: order_of(dag) for purpose, dag in made.items()} == {
        "migrate": [
            *("preflight", "create_topics", "seed_groups", "cutover", "depot.drained", "books.drained", "evidence")
        ]
    }


def test_parameters_are_those_of_the_purpose(dags_of: Callable[..., dict[str, DAG]]) -> None:
    made = dags_of(shop())
    assert set(made["migrate"].params) == {"dry_run", "reason"}
    assert set(made["rollback"].params) == {"dry_run", "reason", "disorder"}
    assert set(made["verify"].params) == {"reason", "level", "full"}, "it never changes anything"


def test_verification_is_a_dag_of_its_own_and_ends_without_an_event(dags_of: Callable[..., dict[str, DAG]]) -> None:
    for text in (shop(), shop("producers_later", "relaxed")):
        made = dags_of(text)
        verification = made["verify"]
        assert [t for t in order_of(verification) if t != "drift"] == ["ranges", "compare", "proof", "evidence", "gate"]
        compare, proof = verification.get_task("compare"), verification.get_task("proof")
        assert compare.is_mapped
        assert compare.inlets == proof.inlets
        assert (compare.retries, compare.retry_delay) == (proof.retries, proof.retry_delay)
        assert verification.get_task("drift").downstream_task_ids == {"evidence"}, "it does not keep from proving"
        assert verification.max_active_runs == 1
        outlets = {purpose: [a.uri for a in dag.get_task("gate").outlets] for purpose, dag in made.items()}
        ends = ["kafka-migration://shop/"]
        assert outlets == {"migrate": ends, "rollback": ends, "verify": []}, "or it would trigger itself for ever"


def test_verification_of_a_mirror_that_copies_both_ways_looks_at_both(dags_of: Callable[..., dict[str, DAG]]) -> None:
    mirror = "mirror: {{connection: connect_target, back: connect_source, ways: both_ways}}\n"
    text = re.sub(r"(group: .*?\])", r"\1, subscription: .*", shop("mirror")) + mirror
    made = dags_of(text)["verify"]
    for prefix in ("", "back."):
        assert behind(made, f"{prefix}ranges") >= {f"{prefix}compare", f"{prefix}proof", "evidence"}
        assert f"{prefix}proof" in getattr(made.get_task("evidence"), "judged", ()), "or no verdict would need it"
    assert not {"back.compare", "back.proof"} & behind(made, "ranges")
    heading = {prefix: made.get_task(f"{prefix}compare").partial_kwargs["heading"] for prefix in ("", "back.")}
    assert heading == {"": Side.TARGET, "back.": Side.SOURCE}


def test_plans_own_suites_are_judged_beside_the_proof(dags_of: Callable[..., dict[str, DAG]]) -> None:
    made = dags_of(shop() + "verify: {{suites: [{{topic: orders, suite: orders.json}}]}}\n")["verify"]
    assert "suites" not in behind(made, "proof")
    assert "evidence" in behind(made, "suites")
    assert "suites" in getattr(made.get_task("evidence"), "judged", ()), "or no verdict would need it"
    assert "suites" not in dags_of(shop() + "verify: {{}}\n")["verify"].task_ids


_KEPT = shop("mirror") + "mirror: {{connection: connect_target, schedule: '*/7 * * * *'}}\n"


def test_mirror_that_is_kept_is_watched_by_one_run_after_the_other_without_a_gap(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    made = dags_of(_KEPT)
    assert "migrate" not in made
    assert "rollback" not in made
    dag = made["mirror"]
    assert order_of(dag) == ["preflight", "create_topics", "start_mirror", "watch", "evidence", "gate"]
    assert dag.max_active_runs == 2, "one that watches is relieved by the next, so that none is missed"
    assert not dag.catchup
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.summary == "*/7 * * * *"
    assert set(dag.params) == {"dry_run", "reason"}
    assert set(headings(dag)) == {"target"}
    assert dag.get_task("evidence").judged == ["preflight", "create_topics", "start_mirror", "watch"]  # type: ignore[attr-defined]
    assert dag.get_task("gate").outlets == [], "nothing has moved that would have to be verified"
    watch = dag.get_task("watch")
    assert (watch.patience, watch.poll) == (0.0, 3.0), "it takes no worker's place"  # type: ignore[attr-defined]


def test_mirror_begins_when_its_plan_is_there_and_a_drill_only_at_its_time(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    now = datetime.now(UTC)
    # Both would have run a minute ago, and will again in an hour but one minute.
    hourly = f"{(now - timedelta(minutes=1)).minute} * * * *"
    mirror = f"connection: connect_target, schedule: '{hourly}', drill: '{hourly}'"
    made = dags_of(shop("mirror") + f"mirror: {{{{{mirror}}}}}\n")
    first = {}
    for purpose in ("mirror", "drill"):
        timetable = DagSerialization.from_dict(DagSerialization.to_dict(made[purpose])).timetable
        info = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
        )
        assert info is not None
        first[purpose] = info.run_after
    assert first["mirror"] <= now
    assert first["drill"] > now


def test_mirror_of_a_source_that_was_given_up_is_not_kept(dags_of: Callable[..., dict[str, DAG]]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = dags_of(_KEPT + "decommissioned: true\n")["mirror"]
    assert "*/7" not in DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.summary


def test_only_of_copies_a_sample_can_be_chosen(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    copies = shop("mirror_first") + "mirror: {{connection: connect_target}}\n"
    assert set(dags_of(copies)["verify"].params) == {"reason", "level", "full", "seed"}
    assert set(dags_of(copies)["migrate"].params) == {"dry_run", "reason"}


@pytest.mark.parametrize(
    ("verify", "shown"),
    [
        ("", "None"),
        ("verify: {{}}\n", "Asset"),
        ('verify: {{schedule: "0 3 * * *"}}\n', "Asset or 0 3 * * *"),
    ],
)
def test_plan_is_verified_at_its_times_and_when_it_was_moved(
    dags_of: Callable[..., dict[str, DAG]], verify: str, shown: str
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    dag = dags_of(shop() + verify)["verify"]
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.summary == shown


def test_parameter_of_another_purpose_is_refused(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    ended = run_dag("acts.migrate", disorder=True)
    assert ended.tasks == {"preflight": "failed", "second": "upstream_failed"}
    assert "parameters that there are not: disorder" in ended.log
    assert "Known are dry_run, reason" in ended.log


def test_plan_that_does_not_load_has_one_dag_that_shows_why_and_no_rollback(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    assert {purpose: order_of(dag) for purpose, dag in dags_of("plan: shop\nshceme: x\n").items()} == {
        "migrate": ["invalid_plan"]
    }


_USED = (
    shop("mirror") + "mirror: {{connection: connect_target, back: connect_source}}\napprovals: [failover, handover]\n"
)


def test_failover_stops_the_mirror_before_it_sets_groups_and_sets_them_before_a_service_starts(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    dag = dags_of(_USED)["failover"]
    assert order_of(dag) == [
        *("preflight", "approve_failover", "stop_flow", "set_groups"),
        "switch_producers.api",
        *("depot.start", "depot.consuming", "books.start", "books.consuming"),
        *("evidence", "gate"),
    ]
    assert {"switch_producers.api", "depot.start", "books.start"} <= behind(dag, "set_groups")
    assert headings(dag).keys() == {"target"}
    assert not dag.get_task("gate").outlets, "nothing can be verified while the source is gone"


def test_failback_finds_the_tail_before_anything_comes_home_and_hands_over_behind_it(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    dags = dags_of(_USED)
    dag = dags["failback"]
    assert order_of(dag) == [
        *("preflight", "begin", "tail", "start_mirror", "caught_up", "past_failover", "rehearse", "approve_handover"),
        *("stop_writers", "cutover", "stop_mirror", "switch_producers.api"),
        *("depot.handover", "depot.consuming", "books.handover", "books.consuming"),
        *("compare_content", "compare_followed", "evidence", "gate"),
    ]
    assert headings(dag)["target"] == {"tail", "compare_followed"}, "the plan's own mirror copies it"
    assert dags.keys() == {"mirror", "verify", "failover", "failback", "drill"}, "nothing migrates"


def test_failback_of_both_ways_lets_both_mirrors_go_on_and_waits_for_both_before_anybody_comes_home(
    dags_of: Callable[..., dict[str, DAG]],
) -> None:
    mirror = "mirror: {{connection: connect_target, back: connect_source, ways: both_ways}}\napprovals: [handover]\n"
    dag = dags_of(re.sub(r"(group: .*?\])", r"\1, subscription: .*", shop("mirror")) + mirror)["failback"]
    assert order_of(dag) == [
        *("preflight", "begin", "start_mirror", "caught_up", "there_caught_up", "rehearse", "approve_handover"),
        *("stop_writers", "copied", "there_copied", "switch_producers.api"),
        *("depot.handover", "depot.consuming", "books.handover", "books.consuming"),
        *("evidence", "gate"),
    ]
    for waits in ("copied", "there_copied"):
        assert behind(dag, waits) >= {"switch_producers.api", "depot.handover", "books.handover"}
    assert headings(dag)["target"] == {"there_caught_up", "there_copied"}
    assert not {"stop_mirror", "tail"} & set(order_of(dag)), "nothing is mixed, so nothing is stopped"
    assert dag.get_task("gate").outlets, "both ways are verified afterwards"


def test_drill_runs_at_its_times_and_touches_no_service(dags_of: Callable[..., dict[str, DAG]]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    def times(dag: DAG) -> str:
        return str(DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.summary)

    dag = dags_of(_USED.replace("back:", "drill: '0 4 * * *', back:"))["drill"]
    assert order_of(dag) == ["preflight", "drill", "evidence", "gate"]
    assert times(dag) == "0 4 * * *"
    assert "0 4" not in times(dags_of(_USED)["drill"])
