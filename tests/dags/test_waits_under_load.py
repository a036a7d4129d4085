"""A wait never fails by itself: many at once, on a real Airflow with a loaded machine below it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import paths
from demo.airflow import Airflow
from demo.rest import AirflowClient, Connection, TaskRow
from demo.waiting import wait_until

_HERE = Path(__file__).parent
_PLAN = """\
plan: waits
scheme: producers_first
source: {connection: kafka_source}
target: {connection: kafka_target}
topics: {include: [orders]}
services: [{name: api, produces: [orders], controller: {kind: manual}}]
"""
_BUSY = "while True: pass"
_LOOK_EVERY = 0.5


@pytest.fixture
def client(tmp_path: Path) -> Iterator[AirflowClient]:
    """A running Airflow (LocalExecutor, PostgreSQL) with the DAGs of `live/`."""
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "waits.yaml").write_text(_PLAN)
    home = tmp_path / "airflow"
    (home / "config").mkdir(parents=True)
    shutil.copy(_HERE / "live" / "waits_under_load.py", home / "config")
    airflow = Airflow(
        home,
        paths.socket_folder(tmp_path),
        dags=_HERE / "live",
        plugins=_HERE.parents[1] / "plugins",
        environment={
            "KAFKA_MIGRATION_PLANS": str(plans),
            "KAFKA_MIGRATION_EVIDENCE": str(tmp_path / "evidence"),
            # So loaded that the API server needs more than Airflow's 5 s: asking again would only load it more.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "30",
        },
    )
    try:
        airflow.start()
        with AirflowClient(airflow.login) as client:
            wait_until(lambda: not client.unhealthy(), timeout=150, what="Airflow to be healthy")
            for side in ("source", "target"):
                client.add_connection(Connection(f"kafka_{side}", "kafka", {"bootstrap.servers": "127.0.0.1:1"}))
            yield client
    finally:
        airflow.stop()


@pytest.fixture
def load() -> Iterator[None]:
    """As many busy processes as there are cores, besides all that Airflow and other tests do."""
    busy = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(os.cpu_count() or 1)]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.timeout(900)
def test_no_wait_fails_by_itself(client: AirflowClient, load: None) -> None:
    client.wait_for_dag("waits.load", 60, lambda: None)
    client.trigger("waits.load", "run", {})

    def ended() -> bool:
        time.sleep(_LOOK_EVERY)
        return client.run_state("waits.load", "run") in ("success", "failed")

    wait_until(ended, timeout=600, what="the run's end")
    assert [told(client, row) for row in client.tasks("waits.load", "run") if row.state != "success"] == []


def told(client: AirflowClient, row: TaskRow) -> str:
    """What the log of a task says last."""
    lines = client.log("waits.load", "run", row)[-5:]
    return f"{row.task_id} {row.state}: " + "; ".join(line.text for line in lines)
