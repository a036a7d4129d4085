"""What must stay true of being told: once for a failed run, once for a question, and no notifier does any harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.dags.conftest import AirflowHome, Ended, Users, answered
from tests.dags.notebook import VARIABLE

if TYPE_CHECKING:
    from airflow.sdk import DAG

_DAGS = Path(__file__).parents[2] / "dags"
_SETTING = "AIRFLOW__KAFKA_MIGRATION__NOTIFIERS"
_PLAN = """\
plan: {name}
scheme: mirror_first
source: {{connection: kafka_source}}
target: {{connection: kafka_target}}
mirror: {{connection: connect_target}}
topics: {{include: [{topic}]}}
services:
  - name: {name}-api
    produces: [{topic}]
    controller: {{kind: manual}}
approvals: [topics]
approvers: [admin]
"""
_NAME = "told"


@pytest.fixture
def told(airflow_home: AirflowHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Told]:
    airflow_home.write_plan(_NAME, text=_PLAN)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "notebook"))
    yield _Told(tmp_path / "notebook", monkeypatch)
    (airflow_home.folder / "plans" / f"{_NAME}.yaml").unlink()


class _Told:
    """The DAGs of a plan that has everything, with the notifiers that a test sets; and what these were told."""

    def __init__(self, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._book = book
        self._patch = monkeypatch

    def set(self, *names: str) -> None:
        self._patch.setenv(_SETTING, ", ".join(f"tests.dags.notebook:{n}" if n.isidentifier() else n for n in names))

    def dags(self) -> dict[str, DAG]:
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(dag_folder=str(_DAGS))
        assert not bag.import_errors
        return {dag_id.removeprefix(f"{_NAME}."): dag for dag_id, dag in bag.dags.items() if dag_id.startswith(_NAME)}

    def run(self, purpose: str, **conf: Any) -> dict[str, str]:
        from airflow.dag_processing.bundles.manager import DagBundlesManager
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        bag = DagBag(dag_folder=str(_DAGS))
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "tests", None)  # these files are in no bundle of this Airflow
        ended = bag.dags[f"{_NAME}.{purpose}"].test(run_conf=conf)
        return {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}

    @property
    def notices(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._book.read_text().splitlines()] if self._book.exists() else []


def carriers(dag: DAG) -> dict[str, list[str]]:
    """Which tasks tell of what."""
    found = {}
    for task in dag.tasks:
        notifiers = [*task.on_failure_callback, *getattr(task, "notifiers", ())]
        if notifiers:
            found[task.task_id] = [type(one).__name__ for one in notifiers]
    return found


def test_where_no_notifier_is_set_no_task_has_one(told: _Told) -> None:
    assert {purpose: carriers(dag) for purpose, dag in told.dags().items()} == {
        "migrate": {},
        "rollback": {},
        "verify": {},
    }


def test_every_question_is_told_and_of_a_failure_only_what_a_run_ends_with(told: _Told) -> None:
    told.set("notebook")
    dags = told.dags()
    failed, waits = ["RunFailed"], ["ApprovalWaits"]
    assert carriers(dags["verify"]) == {"gate": failed}
    assert carriers(dags["migrate"]) == {
        "approve_topics": waits,
        "stop_by_hand.told-api": waits,
        "switch_producers.by_hand_told-api": waits,
        "gate": failed,
        "lift_holds": failed,
    }
    assert {task for task, kinds in carriers(dags["rollback"]).items() if kinds == failed} == {"gate", "lift_holds"}
    assert all(not dag.has_on_failure_callback for dag in dags.values()), "or a failed run would be told twice"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_package:notifier", "No module named 'no_such_package'"),
        ("nothing", "module 'tests.dags.notebook' has no attribute 'nothing'"),
        ("text", "a str is no notifier"),
        ("Unready", "Unready cannot be used by tasks: it has no method notify()"),
        ("unmade", "RuntimeError in "),
        ("tests.dags.notebook", "it is not written as package.module:attribute"),
    ],
)
def test_name_that_cannot_be_used_is_shown_on_every_dag_and_silences_no_other(
    told: _Told, airflow_home: AirflowHome, name: str, reason: str
) -> None:
    file = airflow_home.folder / "plans" / f"{_NAME}-typo.yaml"
    file.write_text("plan: told-typo\nshceme: x\n")
    try:
        told.set(name, "several")
        dags = told.dags()
    finally:
        file.unlink()
    assert len(dags) == 4
    for dag in dags.values():
        assert "notifiers broken" in dag.tags
        assert reason in (dag.doc_md or "")
        assert "hunter2" not in (dag.doc_md or "")
        assert carriers(dag), "the others are told"


def test_names_that_can_be_used_leave_no_mark(told: _Told) -> None:
    told.set("notebook", "several", "made", "Notebook")
    for dag in told.dags().values():
        assert "notifiers broken" not in dag.tags
        assert "Nobody is told" not in (dag.doc_md or "")


def test_failed_run_is_told_once_with_its_verdict_its_causes_and_where_the_evidence_is(
    told: _Told, connections: None, airflow_home: AirflowHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/base")
    told.set("notebook", "several", "made")
    assert told.run("verify")["gate"] == "failed"
    [notice, *others] = told.notices
    [evidence] = airflow_home.evidence.glob(f"{_NAME}/verify/*/evidence.json")
    known = json.loads(evidence.read_text())
    assert (notice["event"], notice["plan"], notice["purpose"]) == ("failed", _NAME, "verify")
    assert (notice["run_id"], notice["verdict"]) == (known["run_id"], known["verdict"])
    assert notice["causes"] == known["because"]
    assert notice["subject"] == f"told.verify has failed: verdict {known['verdict']}"
    assert notice["said"] == f"{notice['run_id']}: {notice['subject']}", "Airflow's own context is there too"
    page = "https://airflow.example.org/base/kafka-migration/evidence/told/verify/"
    assert notice["link"].startswith(page)
    assert notice["text"].splitlines() == [
        f"{notice['subject']}, run {notice['run_id']}",
        *(f"- {cause}" for cause in known["because"]),
        f"Evidence: {notice['link']}",
    ]
    assert [other["said"] for other in others] == ["first", "second", "made"], "each is told, once"


def test_waiting_approval_is_told_with_its_question_and_where_to_answer(
    told: _Told,
    connections: None,
    users: Users,
    run_dag: Callable[..., Ended],
    airflow_home: AirflowHome,
    meanwhile: Callable[..., None],
) -> None:
    told.set("notebook")
    airflow_home.write_plan("asks")
    meanwhile(lambda: answered(users.client("admin"), "asks.migrate", "Approve"))
    assert run_dag("asks.migrate").state == "success"
    [notice] = told.notices
    assert (notice["event"], notice["task_id"], notice["verdict"]) == ("waits", "approve", "")
    assert notice["subject"] == "asks.migrate waits for a person: switch the producers?"
    assert notice["link"].startswith(f"http://localhost:8080/dags/asks.migrate/runs/{notice['run_id']}/tasks/approve")
    assert "May answer: admin" in notice["text"]


def test_dry_run_asks_nobody_and_tells_nobody_of_it(
    told: _Told, run_dag: Callable[..., Ended], airflow_home: AirflowHome
) -> None:
    told.set("notebook")
    airflow_home.write_plan("asks")
    assert run_dag("asks.migrate", dry_run=True).state == "success"
    assert told.notices == []


def test_plan_that_does_not_load_is_told_each_time_that_it_is_run(
    told: _Told, run_dag: Callable[..., Ended], airflow_home: AirflowHome
) -> None:
    told.set("notebook")
    file = airflow_home.folder / "plans" / "typo.yaml"
    file.write_text("plan: typo\nshceme: producers_first\n")
    try:
        runs = [run_dag("typo.migrate") for _ in range(2)]
    finally:
        file.unlink()
    assert [ended.tasks for ended in runs] == [{"invalid_plan": "failed"}] * 2
    [notice, again] = told.notices
    assert again["said"].startswith(runs[1].run_id), "what was rendered for the first run is not told again"
    assert notice["subject"] == "typo.migrate has failed at invalid_plan"
    assert "shceme: unknown key" in notice["text"]
    assert "/dags/typo.migrate/runs/" in notice["link"], "there is no evidence: its log"


def test_notifier_that_fails_or_hangs_harms_neither_the_run_nor_the_next_notifier(
    told: _Told,
    users: Users,
    run_dag: Callable[..., Ended],
    airflow_home: AirflowHome,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[..., None],
) -> None:
    monkeypatch.setattr("airflow_kafka_migration.notifiers._WITHIN", 3.0)
    told.set("Broken", "Hanging", "notebook")
    airflow_home.write_plan("asks")
    meanwhile(lambda: answered(users.client("admin"), "asks.migrate", "Approve"))
    ended = run_dag("asks.migrate")
    assert ended.tasks == {"preflight": "success", "approve": "success", "second": "success"}
    assert "Broken has not told it: ConnectionError" in ended.log
    assert "Hanging has not told it: AirflowTaskTimeout" in ended.log
    assert "Notebook was told: asks.migrate waits for a person" in ended.log
    assert len(told.notices) == 1
