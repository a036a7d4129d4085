"""A wait never fails by itself: many at once, on a real Airflow whose parts stand still again and again.

As on a machine that is busy with something else, and without keeping it busy: the other tests run there too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import psutil
import pytest
from tests.processes import command_line

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
_LOOK_EVERY = 0.5
_SCHEDULER_STANDS = 2.5  # seconds: so late it reads the executor's reports; a trigger waits for longer than that
_SERVER_STANDS = 7.0  # longer than the 5 s after which Airflow's tasks give up by default
_BETWEEN = 3.0
_WORKER = "airflow worker -- LocalExecutor"


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


@contextlib.contextmanager
def standing_still() -> Iterator[None]:
    """The scheduler and the API server in turn, until the end."""
    wait_until(lambda: bool(_named(_WORKER)), timeout=60, what="the scheduler's workers")
    scheduler = _named(_WORKER)[0].parent()
    [server] = _named("airflow api_server")
    assert scheduler is not None
    over = threading.Event()

    def stand(process: psutil.Process, seconds: float) -> None:
        process.suspend()
        try:
            over.wait(seconds)
        finally:
            process.resume()

    def go_on() -> None:
        for process, seconds in cycle(((scheduler, _SCHEDULER_STANDS), (server, _SERVER_STANDS))):
            stand(process, seconds)
            if over.wait(_BETWEEN):
                return

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _named(title: str) -> list[psutil.Process]:
    """The processes below this one that call themselves so."""
    below = psutil.Process(os.getpid()).children(recursive=True)
    return [process for process in below if command_line(process).startswith(title)]


@pytest.mark.timeout(3600)
def test_no_wait_fails_by_itself(client: AirflowClient) -> None:
    client.wait_for_dag("waits.load", 60, lambda: None)
    client.trigger("waits.load", "run", {})

    def ended() -> bool:
        time.sleep(_LOOK_EVERY)
        return client.run_state("waits.load", "run") in ("success", "failed")

    with standing_still():
        wait_until(ended, timeout=600, what="the run's end")
    assert [told(client, row) for row in client.tasks("waits.load", "run") if row.state != "success"] == []


def told(client: AirflowClient, row: TaskRow) -> str:
    """What the log of a task says last."""
    lines = client.log("waits.load", "run", row)[-5:]
    return f"{row.task_id} {row.state}: " + "; ".join(line.text for line in lines)
