"""`<plan>.mirror` carried out by Airflow: its DAG, deferral and records, real clusters, a real Connect worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.conftest import RunningCluster
from tests.dags.conftest import AirflowHome
from tests.integration.workbench import Workbench

from demo.connect import ConnectWorker
from kafka_migration.groups.commits import set_commits
from kafka_migration.mirror import positions
from kafka_migration.sides import Side
from kafka_migration.steps import keeping, watching

_PLAN = """\
plan: {name}
scheme: mirror
source: {{connection: kafka_source}}
target: {{connection: kafka_target}}
topics: {{include: [{topic}]}}
services:
  - name: one
    produces: [{topic}]
    controller: {{kind: supervisor, connection: shop, program: one, env_file: one.env}}
  - name: two
    consumes: [{{group: {name}-two, topics: [{topic}]}}]
    controller: {{kind: supervisor, connection: shop, program: two, env_file: two.env}}
mirror: {{connection: connect_target, canary: true}}
"""


def test_mirror_is_kept_run_after_run_shown_in_evidence_and_metrics_and_left_alone_in_a_failover(
    airflow_home: AirflowHome,
    connections: None,
    source: RunningCluster,
    target: RunningCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk.observability import stats

    from airflow_kafka_migration.triggers import WaitTrigger

    def run() -> tuple[dict[str, str], dict[str, Any]]:
        """The states of the tasks, and the evidence."""
        bag = DagBag(dag_folder=str(Path(__file__).parents[2] / "dags"))
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "tests", None)  # these files are in no bundle of this Airflow
        ended = bag.dags["kept.mirror"].test()
        file = max(airflow_home.evidence.glob("kept/mirror/*/evidence.json"), key=lambda f: f.stat().st_mtime_ns)
        evidence: dict[str, Any] = json.loads(file.read_text())
        return {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}, evidence

    measured: dict[str, float] = {}
    monkeypatch.setattr(stats, "gauge", lambda name, value, **_: measured.__setitem__(name, value))
    monkeypatch.setattr(WaitTrigger, "dwell", 1.0)
    monkeypatch.setattr(watching, "_ends", lambda run: run.now() + 8.0)
    origin, destination = Workbench(source.bootstrap_servers), Workbench(target.bootstrap_servers, Side.TARGET)
    with ConnectWorker("kept-dags", target.bootstrap_servers, tmp_path / "worker") as worker:
        address = urlsplit(worker.url)
        monkeypatch.setenv(
            "AIRFLOW_CONN_CONNECT_TARGET",
            json.dumps({"conn_type": "http", "host": address.hostname, "port": address.port, "schema": "http"}),
        )
        # There is no supervisord: no service is looked at.
        monkeypatch.setenv(
            "AIRFLOW_CONN_SHOP",
            json.dumps({"conn_type": "generic", "extra": {"socket": "/nowhere", "env_directory": str(tmp_path)}}),
        )
        [tp] = origin.topic("kept")
        plan = airflow_home.write_plan("kept", tp.topic, _PLAN)
        origin.write(tp, 30)
        set_commits(origin.cluster, {"kept-two": {tp: 11}})
        told = ("behind", "latency")
        for number in range(8):
            states, evidence = run()
            assert set(states.values()) == {"success"}, (states, evidence["because"])
            assert evidence["verdict"] == "PASS"
            if number and evidence["summary"].keys() >= set(told) and destination.end(tp) >= 30:
                break
        assert evidence["watched"]["noted_at"]
        assert set(evidence["summary"]) >= {"behind", "latency", "tasks restarted", "mirrored"}
        assert not [f for f in evidence["findings"] if f["id"].startswith("service")]
        assert measured["kafka_migration.kept.mirror.to_target.behind"] == 0
        assert measured["kafka_migration.kept.mirror.down"] == 0
        assert "kafka_migration.kept.mirror.to_target.latency" in measured
        assert positions.read(destination.cluster, "kafka-migration.positions.kept").commits == {"kept-two": {tp: 11}}
        monkeypatch.setattr(keeping, "stands_back", lambda run: "stands back: the plan has failed over")
        states, evidence = run()
        assert (set(states.values()), evidence["verdict"]) == ({"success"}, "PASS")
        assert {step["summary"] for step in evidence["steps"]} == {"stands back: the plan has failed over"}
        plan.unlink()
