"""A real Airflow for the DAG tests: a home and a database of its own, plans, connections, and DAGs from `bundle/`.

Airflow reads its configuration once, when it is first imported: the file is written before any test module is.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from tests.conftest import RunningCluster

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_HOME = Path(tempfile.mkdtemp(prefix="kafka-migration-airflow-"))
_BUNDLE = {
    "name": "tests",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(_HERE / "bundle")},
}
_CONFIGURATION = f"""\
[core]
load_examples = False
plugins_folder = {_ROOT / "plugins"}
[dag_processor]
dag_bundle_config_list = {json.dumps([_BUNDLE])}
[database]
sql_alchemy_conn = sqlite:///{_HOME}/airflow.db
"""

(_HOME / "airflow.cfg").write_text(_CONFIGURATION)
os.environ["AIRFLOW_HOME"] = str(_HOME)
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

PLAN = """\
plan: {name}
scheme: producers_first
source: {{connection: kafka_source}}
target: {{connection: kafka_target}}
topics: {{include: [{topic}]}}
services:
  - name: {name}-api
    produces: [{topic}]
    controller: {{kind: manual}}
"""


@dataclass(frozen=True)
class AirflowHome:
    """Where this Airflow keeps what a test may look at."""

    folder: Path

    @property
    def evidence(self) -> Path:
        return self.folder / "evidence"

    def write_plan(self, name: str, topic: str = "orders", text: str = PLAN) -> Path:
        file = self.folder / "plans" / f"{name}.yaml"
        file.write_text(text.format(name=name, topic=topic))
        return file

    def step_evidence(self, plan: str, task: str) -> dict[str, Any]:
        """The newest evidence of a task."""
        files = self.evidence.glob(f"{plan}/*/*/steps/{task}.*.json")
        found: dict[str, Any] = json.loads(max(files, key=lambda file: file.stat().st_mtime_ns).read_text())
        return found


@dataclass(frozen=True)
class Ended:
    """A DAG run that has ended: its state, its tasks' states and its tasks' logs."""

    run_id: str
    state: str
    tasks: Mapping[str, str]
    log: str


@pytest.fixture(scope="session")
def _airflow() -> Iterator[None]:
    from airflow.sdk.log import configure_logging
    from airflow.utils.db import initdb

    (_HOME / "plans").mkdir()
    with (_HOME / "airflow.log").open("w", buffering=1) as log:
        configure_logging(output=log, colored_console_log=False)
        initdb()
        yield


@pytest.fixture
def airflow_home(_airflow: None, monkeypatch: pytest.MonkeyPatch) -> AirflowHome:
    """The home of a running Airflow's worth of files."""
    home = AirflowHome(_HOME)
    monkeypatch.setenv("KAFKA_MIGRATION_EVIDENCE", str(home.evidence))
    monkeypatch.setenv("KAFKA_MIGRATION_PLANS", str(home.folder / "plans"))
    return home


class Users:
    """Clients of Airflow's API server: as a user of that role, or as nobody."""

    def __init__(self) -> None:
        from airflow.api_fastapi.app import create_app

        self._app = create_app(apps="core")

    def client(self, name: str | None) -> TestClient:
        """`admin` and `viewer` are what they are called, `guest` is logged in and has no role."""
        from airflow.api_fastapi.app import get_auth_manager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from fastapi.testclient import TestClient

        client = TestClient(self._app)
        if name is not None:
            user = SimpleAuthManagerUser(username=name, role=None if name == "guest" else name)
            client.headers["Authorization"] = f"Bearer {get_auth_manager().generate_jwt(user)}"
        return client


@pytest.fixture(scope="session")
def users(_airflow: None) -> Users:
    return Users()


@pytest.fixture
def connections(
    airflow_home: AirflowHome, source: RunningCluster, target: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections that the tests' plans name, to the session's clusters."""
    for name, cluster in (("SOURCE", source), ("TARGET", target)):
        monkeypatch.setenv(
            f"AIRFLOW_CONN_KAFKA_{name}",
            json.dumps({"conn_type": "kafka", "extra": {"bootstrap.servers": cluster.bootstrap_servers}}),
        )


@pytest.fixture
def run_dag(airflow_home: AirflowHome, connections: None, caplog: pytest.LogCaptureFixture) -> Callable[..., Ended]:
    """Run a DAG of the bundle to its end, in this process."""
    from airflow.dag_processing.dagbag import DagBag
    from tests.dags import steps

    def run(dag_id: str, **conf: Any) -> Ended:
        bag = DagBag(dag_folder=str(_HERE / "bundle"))
        assert not bag.import_errors
        log = airflow_home.folder / "airflow.log"
        before = log.stat().st_size
        dag_run = bag.dags[dag_id].test(run_conf=conf)
        tasks = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
        return Ended(dag_run.run_id, str(dag_run.state), tasks, log.read_bytes()[before:].decode())

    steps.deeds.clear()
    steps.countdown.reset()
    return run


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Try something again and again beside the test until it says that it has worked, or the test has ended."""
    threads: list[threading.Thread] = []
    ended = threading.Event()

    def start(attempt: Callable[[], bool]) -> None:
        def go_on() -> None:
            while not ended.is_set() and not attempt():
                ended.wait(0.1)

        threads.append(threading.Thread(target=go_on))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join(30)


def answered(client: TestClient, dag_id: str, option: str, status: int = 200) -> bool:
    """Whether the open question of a DAG, if there is one, was answered with that option, and Airflow with `status`."""
    asked = client.get(f"/api/v2/dags/{dag_id}/dagRuns/~/hitlDetails", params={"state": "awaiting_input"})
    for detail in asked.json().get("hitl_details", ()):
        ti = detail["task_instance"]
        where = f"{ti['dag_id']}/dagRuns/{ti['dag_run_id']}/taskInstances/{ti['task_id']}/-1/hitlDetails"
        said = client.patch(f"/api/v2/dags/{where}", json={"chosen_options": [option], "params_input": {}})
        if said.status_code == status:
            return True
    return False


def set_run_state(dag_id: str, run_id: str, state: str) -> None:
    """Make Airflow believe that a run is in that state."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id).values(state=state))
