"""A rollback by a mirror, carried out by Airflow: its own DAG, its records, real clusters and a real Connect worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.conftest import RunningCluster
from tests.dags.conftest import AirflowHome
from tests.integration.scene import Town, supervised

from demo.connect import ConnectWorker
from kafka_migration.evidence.check import check
from kafka_migration.groups.commits import set_commits
from kafka_migration.offsets import OffsetRange
from kafka_migration.visible import each_visible

_PLAN = """\
plan: {name}
scheme: producers_first
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
mirror: {{back: connect_source}}
cutover: {{quiet: 200ms}}
drain: {{timeout: 1s}}
consuming: {{timeout: 60s}}
evidence: {{sign: sealing}}
"""


@contextmanager
def _reading(consumer: Consumer) -> Iterator[None]:
    """The consumer reads and commits meanwhile."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            consumer.poll(0.1)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            yield
        finally:
            over.set()
            reading.result()


def test_consumer_that_cannot_go_to_the_target_finds_on_the_source_what_was_produced_there(
    airflow_home: AirflowHome,
    connections: None,
    source: RunningCluster,
    target: RunningCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    def run(purpose: str) -> dict[str, str]:
        bag = DagBag(dag_folder=str(Path(__file__).parents[2] / "dags"))
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "tests", None)  # these files are in no bundle of this Airflow
        ended = bag.dags[f"home.{purpose}"].test()
        return {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}

    with (
        supervised(tmp_path) as daemon,
        ConnectWorker("dags", source.bootstrap_servers, tmp_path / "worker") as worker,
        Town.of(source.bootstrap_servers, target.bootstrap_servers, daemon) as town,
    ):
        [tp] = town.source.topic("home")
        address = urlsplit(worker.url)
        monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "generic", "extra": daemon.parts}))
        monkeypatch.setenv(
            "AIRFLOW_CONN_CONNECT_SOURCE",
            json.dumps({"conn_type": "http", "host": address.hostname, "port": address.port, "schema": "http"}),
        )
        key = Ed25519PrivateKey.generate()
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        monkeypatch.setenv("AIRFLOW_CONN_SEALING", json.dumps({"conn_type": "generic", "password": text}))
        plan = airflow_home.write_plan("home", tp.topic, _PLAN)
        town.source.write(tp, 3, value=b"source")
        town.service("one", [tp])
        town.service("two", reads={"home-two": [tp]})
        set_commits(town.source.cluster, {"home-two": {tp: 0}})
        commits = {"enable_auto_commit": "true", "auto_commit_interval_ms": "100"}
        with town.source.member("home-two", tp.topic, **commits) as consumer:
            migrated = run("migrate")
            assert (migrated["cutover"], migrated["two.drained"]) == ("success", "failed"), migrated
            town.target.write(tp, 5, value=b"target")
            with _reading(consumer):
                back = run("rollback")
            assert set(back.values()) == {"success"}, back
            town.source.write(tp, 1, value=b"source again")
            found: list[bytes] = []
            end = town.source.end(tp)
            each_visible(town.source.cluster, [OffsetRange(tp, 0, end)], lambda _, m: found.append(m.value()))
            assert found == [b"source"] * 3 + [b"target"] * 5 + [b"source again"]
            assert len(consumer.assignment()) == 1, "its consumer was left alone"
        plan.unlink()
        checked = check(
            max(airflow_home.evidence.glob("home/rollback/*"), key=lambda f: f.stat().st_mtime), key.public_key()
        )
        assert checked.problems == []
        assert checked.evidence is not None
        assert checked.evidence.verdict == "PASS"
        assert checked.evidence.summary["messages compared"] == "5 of 1 partitions, copied and equal"
        assert {s for what, s, _ in daemon.journal() if what == "stop"} == {"one"}
