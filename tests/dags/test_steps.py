"""What must stay true of every step that a task carries out: its log, its evidence, its failures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.dags import steps
from tests.dags.conftest import PLAN, AirflowHome, Ended

from airflow_kafka_migration.audit import failure_of
from airflow_kafka_migration.failures import StepRefused
from kafka_migration.errors import (
    ClusterUnreachable,
    ControllerUnavailable,
    EvidenceError,
    OffsetsRefused,
    Refused,
    ServiceNotBack,
)
from kafka_migration.run import Run


def test_log_of_a_step_is_its_audit_record(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    ended = run_dag("acts.migrate", reason="CHG-1")
    assert ended.state == "success"
    assert f"second of plan acts (migrate), run {ended.run_id}, attempt 1" in ended.log
    assert "reason: CHG-1" in ended.log
    assert "changed service api: a:1 -> b:1" in ended.log
    assert "orders    12,345" in ended.log
    assert "second ended after" in ended.log


def test_every_step_leaves_its_evidence(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    run_dag("acts.migrate")
    kept = airflow_home.step_evidence("acts", "second")
    assert kept["state"] == "success"
    assert kept["report"]["summary"] == "acts acted"
    assert kept["started_at"] <= kept["ended_at"]


def test_a_refusal_ends_the_task_at_once_with_its_message_and_no_traceback(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    steps.deeds += [lambda run: None, _raise(Refused("service api is nowhere\nLook for it."))]
    ended = run_dag("acts.migrate")
    assert ended.tasks == {"preflight": "success", "second": "failed"}
    assert "service api is nowhere\nLook for it." in ended.log
    assert "Traceback" not in ended.log
    kept = airflow_home.step_evidence("acts", "second")
    assert (kept["state"], kept["error"]) == ("failed", "service api is nowhere\nLook for it.")


def test_what_may_pass_is_tried_again_and_a_refusal_is_not() -> None:
    for error in (ClusterUnreachable, ControllerUnavailable, EvidenceError):
        assert not isinstance(failure_of(error("")), StepRefused)
    for error in (OffsetsRefused, ServiceNotBack, Refused):
        assert isinstance(failure_of(error("")), StepRefused)


def test_an_unforeseen_error_keeps_its_traceback_and_is_evidence_too(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    steps.deeds += [_raise(ZeroDivisionError("by nought"))]
    ended = run_dag("acts.migrate")
    assert ended.state == "failed"
    assert "Traceback" in ended.log
    assert airflow_home.step_evidence("acts", "preflight")["error"] == "ZeroDivisionError: by nought"


def test_a_key_that_signs_nothing_stops_the_first_step_and_is_not_shown(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SEALING", json.dumps({"conn_type": "generic", "password": "hunter2-hunter2"}))
    airflow_home.write_plan("acts", text=PLAN + "evidence: {{sign: sealing}}\n")
    ended = run_dag("acts.migrate")
    assert ended.tasks["preflight"] == "failed"
    assert "evidence: sign: the password of Airflow connection 'sealing' is no private key" in ended.log
    assert "hunter2" not in ended.log


def test_a_plan_edited_in_the_middle_of_its_run_stops_the_next_step_and_is_shown(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    file = airflow_home.write_plan("acts")
    acted: list[str] = []
    steps.deeds += [lambda run: _append(file, "description: another\n"), lambda run: acted.append("second")]
    ended = run_dag("acts.migrate")
    assert ended.tasks["second"] == "failed"
    assert "acts.yaml has been changed since this run started" in ended.log
    assert "+description: another" in ended.log
    assert not acted


def test_what_a_step_leaves_for_people_lies_beside_the_evidence(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    files: list[str] = []
    steps.deeds += [lambda run: files.append(run.leave("offsets-team/ledger.csv", "topic\n"))]
    assert run_dag("acts.migrate").state == "success"
    [file] = [Path(file) for file in files]
    assert file.read_text() == "topic\n"
    assert file.parent.parent == airflow_home.evidence / "acts" / "migrate"
    assert list((file.parent / "steps").glob("second.*.json")), "beside the steps of this very run"


def test_a_dry_run_cannot_write_records(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    seen: list[object] = []
    steps.deeds += [lambda run: run.records.set("dry", 1), lambda run: seen.append(run.records.get("dry"))]
    ended = run_dag("acts.migrate", dry_run=True)
    assert ended.state == "success"
    assert "DRY RUN" in ended.log
    assert "would change service api" in ended.log
    assert seen == [None]


def test_records_outlive_a_run_and_take_any_name(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    key = "pass/1/drained/team.orders_v1-api"
    seen: list[object] = []
    steps.deeds += [
        lambda run: run.records.set(key, {"orders.v1/0": 17}),
        lambda run: run.records.set("gone", None),
        lambda run: seen.extend([run.records.get(key), run.records.get("gone")]),
    ]
    run_dag("acts.migrate")
    run_dag("acts.migrate")
    assert seen == [{"orders.v1/0": 17}, None]


def test_a_missing_connection_is_named(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("acts")
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_TARGET")
    ended = run_dag("acts.migrate")
    assert ended.tasks["preflight"] == "failed"
    assert "There is no Airflow connection 'kafka_target'" in ended.log
    assert "Traceback" not in ended.log


def test_a_connection_without_servers_is_named(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("acts")
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_TARGET", json.dumps({"conn_type": "kafka", "extra": {"client.id": "x"}}))
    ended = run_dag("acts.migrate")
    assert "Airflow connection 'kafka_target' cannot be used" in ended.log
    assert "bootstrap.servers" in ended.log


def test_no_secret_of_a_connection_gets_into_log_or_evidence(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("acts")
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    secrets = {
        "sasl.password": "swordfish-1",
        "ssl.key.password": "swordfish-2",
        "sasl.oauthbearer.client.secret": "swordfish-3",
    }
    extra = json.loads(_env("AIRFLOW_CONN_KAFKA_SOURCE"))["extra"]
    monkeypatch.setenv(
        "AIRFLOW_CONN_KAFKA_SOURCE",
        json.dumps({"conn_type": "kafka", "extra": {**extra, **secrets, "ssl.key.pem": pem}}),
    )
    log = logging.getLogger("kafka_migration")
    steps.deeds += [
        lambda run: log.info("%s %s", secrets, pem),
        _raise(Refused(f"the broker said {secrets['sasl.password']}")),
    ]
    ended = run_dag("acts.migrate")
    assert "the broker said ***" in ended.log
    assert "swordfish" not in ended.log
    assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" not in ended.log
    assert not any("swordfish" in file.read_text() for file in airflow_home.evidence.rglob("*.json"))


def _raise(error: Exception) -> Callable[[Run], object]:
    def deed(run: Run) -> object:
        raise error

    return deed


def _append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def _env(name: str) -> str:
    import os

    return os.environ[name]
