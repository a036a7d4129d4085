"""The real DAG on a real Airflow, real clusters and the live shop: a migration that meets every kind of no on its way.

One long test, since what it guards is the state that one run leaves for the next.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.rest import AirflowClient, TaskRow
from demo.shop.catalogue import readers
from demo.stage import Stage
from demo.waiting import wait_until
from demo.witness import wait_until_complete
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.offsets import Which, read_offsets
from kafka_migration.plan.load import load_plan
from kafka_migration.services.registry import build_controllers
from kafka_migration.sides import Side
from kafka_migration.topics.describe import partitions_of, topic_names

DAG = "orders.migrate"
_ROOT = Path(__file__).parents[2]
_ENDED = {"success", "failed"}
_ANSWER_AFTER = 3.0  # as a person: Airflow can lose an answer that comes before it knows that the task waits
_LOOK_EVERY = 0.5  # the API server that answers is the one that the tasks wait for


@dataclass(frozen=True)
class Scene:
    """A stage with everything running, the plan that its Airflow reads, and eyes that do not go through Airflow.

    `book` is where a notifier writes down what it is told.
    """

    stage: Stage
    plan: Path
    book: Path
    clusters: Clusters

    @property
    def client(self) -> AirflowClient:
        return self.stage.client

    def sides(self) -> dict[str, Side | None]:
        """Where each service's running process really is."""
        control = self.stage.shop.connection
        access = {
            "login": control.user,
            "password": control.password,
            "socket": str(control.socket),
            "env_directory": str(control.env_directory),
        }
        plan = load_plan(self.plan).plan
        controllers = build_controllers(plan, self.clusters.addresses, lambda connection: access)
        return {name: controller.observe().side for name, controller in controllers.items()}

    def on_target(self) -> set[str]:
        return {name for name, side in self.sides().items() if side is Side.TARGET}

    def written_to_target(self) -> int:
        names = topic_names(self.clusters.target)
        return sum(read_offsets(self.clusters.target, partitions_of(self.clusters.target, names), Which.END).values())

    def follow(self, run_id: str, answers: Mapping[str, str], until: Callable[[], bool] | None = None) -> str:
        """Answer approvals as told (by task; otherwise Approve) until the run ends, or `until` says so."""
        parked: dict[str, float] = {}

        def over() -> bool:
            time.sleep(_LOOK_EVERY)
            waiting = {task for task, state in self.states(run_id).items() if state == "awaiting_input"}
            for task in list(parked):
                if task not in waiting:
                    del parked[task]
            for task in waiting:
                parked.setdefault(task, time.monotonic())
            due = {task for task, since in parked.items() if time.monotonic() - since > _ANSWER_AFTER}
            for approval in self.client.pending_approvals(DAG, run_id) if due else ():
                answer = answers.get(approval.task_id, "Approve")
                if approval.task_id in due and answer != "-":
                    self.client.answer(DAG, run_id, approval, answer)
            return (until is not None and until()) or self.client.run_state(DAG, run_id) in _ENDED

        wait_until(over, timeout=400, what=f"run {run_id}")
        return self.client.run_state(DAG, run_id)

    def run(self, run_id: str, answers: Mapping[str, str] | None = None, **conf: object) -> str:
        self.client.trigger(DAG, run_id, conf)
        return self.follow(run_id, answers or {})

    def tasks(self, run_id: str) -> dict[str, TaskRow]:
        return {row.task_id: row for row in self.client.tasks(DAG, run_id)}

    def states(self, run_id: str) -> dict[str, str | None]:
        return {task: row.state for task, row in self.tasks(run_id).items()}

    def log(self, run_id: str, task: str) -> str:
        return "\n".join(line.text for line in self.client.log(DAG, run_id, self.tasks(run_id)[task]))

    def why(self, run_id: str) -> str:
        """The end of the log of every task that failed."""
        failed = [task for task, state in self.states(run_id).items() if state == "failed"]
        return "\n".join(f"-- {task}\n{self.log(run_id, task)[-1500:]}" for task in failed)

    def told(self, event: str) -> Counter[tuple[str, str]]:
        """How often a notifier heard of that event, by run and task."""
        notices = [json.loads(line) for line in self.book.read_text(encoding="utf-8").splitlines()]
        return Counter((one["run_id"], one["task_id"]) for one in notices if one["event"] == event)

    def clear(self, run_id: str, **which: object) -> None:
        body = {"dry_run": False, "dag_run_id": run_id, "reset_dag_runs": True, "include_downstream": True, **which}
        self.client._call("POST", f"/dags/{DAG}/clearTaskInstances", json=body)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("migration")
    plan = folder / "plans" / "orders.yaml"
    plan.parent.mkdir()
    text = (_ROOT / "include" / "plans" / "orders.yaml").read_text(encoding="utf-8")
    plan.write_text(text.replace("approvals: [", "approvals: [topics, "), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKA_MIGRATION_PLANS", str(plan.parent))
        state = folder / "state"
        state.mkdir()
        patch.setenv("AIRFLOW__KAFKA_MIGRATION__NOTIFIERS", "notebook:notebook")
        patch.setenv("NOTEBOOK", str(folder / "notebook"))
        stage = Stage(state, dags=_ROOT / "dags", plugins=_ROOT / "plugins", say=print)
        config = stage.airflow.folder / "config"  # where Airflow finds modules of its owner's
        config.mkdir(parents=True)
        shutil.copy(_ROOT / "tests" / "dags" / "notebook.py", config)
        try:
            stage.start()
            stage.client.wait_for_dag(DAG, 60, stage.raise_if_dead)
            clusters = Clusters(
                Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": stage.source.bootstrap_servers}),
                Cluster(Side.TARGET, "kafka_target", {"bootstrap.servers": stage.target.bootstrap_servers}),
            )
            yield Scene(stage, plan, folder / "notebook", clusters)
        finally:
            stage.stop()


def verified_after(scene: Scene) -> dict[str, Any]:
    """The evidence of the last verification, once all that were called for have ended."""
    runs: list[dict[str, Any]] = []

    def ended() -> bool:
        time.sleep(_LOOK_EVERY)
        runs[:] = scene.client._call("GET", "/dags/orders.verify/dagRuns")["dag_runs"]
        return bool(runs) and all(run["state"] in _ENDED for run in runs)

    wait_until(ended, timeout=180, what="the verification")
    folders = scene.stage.evidence / "orders" / "verify"
    files = sorted(folders.glob("*/evidence.json"), key=lambda file: file.stat().st_mtime)
    found: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
    return found


@pytest.mark.timeout(3600)
def test_a_migration_that_is_stopped_at_every_gate_loses_nothing(scene: Scene) -> None:
    everything = set(scene.sides())

    # A dry run shows all and changes nothing. A mistyped parameter is no real run.
    for run_id, conf in (("dry", {"dry_run": True}), ("mistyped", {"dryrun": True})):
        scene.client.trigger(DAG, run_id, conf)
    assert scene.follow("dry", {}) == "success", scene.why("dry")
    assert scene.follow("mistyped", {}) == "failed"
    assert "dryrun" in scene.log("mistyped", "preflight")
    assert scene.on_target() == set()
    assert topic_names(scene.clusters.target) == set()

    # Each approval rejected: the run fails, and nothing behind it has moved.
    assert scene.run("topics_rejected", {"approve_topics": "Reject"}) == "failed"
    assert topic_names(scene.clusters.target) == set()
    assert scene.run("producers_rejected", {"approve_producers": "Reject"}) == "failed"
    assert scene.on_target() == set()
    assert scene.written_to_target() == 0
    assert "Rejected by admin" in scene.log("producers_rejected", "approve_producers")

    # While a run waits for a person, a second one is refused and names the first.
    scene.client.trigger(DAG, "first", {})
    scene.follow(
        "first", {"billing.approve": "-"}, lambda: scene.states("first")["billing.approve"] == "awaiting_input"
    )
    assert scene.run("second") == "failed"
    assert "first" in scene.log("second", "preflight")
    assert scene.states("second")["approve_topics"] == "upstream_failed"

    # One consumer's approval rejected: it stays where it is, the others go on, the gate says no.
    assert scene.follow("first", {"billing.approve": "Reject"}) == "failed"
    assert scene.on_target() == everything - {"billing"}
    assert scene.states("first")["gate"] == "failed"
    assert scene.states("first")["shipping.consuming"] == "success"

    # A plan that is edited stops the run before it acts, and shows what was changed.
    text = scene.plan.read_text(encoding="utf-8")
    scene.plan.write_text(text.replace("quiet: 1s", "quiet: 2s"), encoding="utf-8")
    scene.clear("first", only_failed=True)
    assert scene.follow("first", {}) == "failed"
    assert "+cutover: {quiet: 2s" in scene.log("first", "billing.approve")
    assert "billing" not in scene.on_target()
    scene.plan.write_text(text, encoding="utf-8")

    # Cleared once more it goes on where it stopped, and passes.
    scene.clear("first", only_failed=True)
    assert scene.follow("first", {}) == "success", scene.why("first")
    assert scene.on_target() == everything

    # The finished migration run again changes nothing and says so; so does any of its tasks, cleared.
    assert scene.run("again") == "success", scene.why("again")
    assert "nothing to do" in scene.log("again", "fulfilment.switch")
    assert "has finished" in scene.log("again", "preflight")
    scene.clear("again", task_ids=["switch_producers.order-api"], include_downstream=False)
    assert scene.follow("again", {}) == "success", scene.why("again")

    # Each gate that passed has it verified again, without being asked.
    verified = verified_after(scene)
    assert verified["verdict"] == "PASS", verified["because"]
    assert {step["task"]: step["state"] for step in verified["steps"]} == dict.fromkeys(
        ("drift", "ranges", "compare", "proof", "evidence"), "success"
    )
    assert verified["coverage"]
    assert all(row["destination_consumed"] is not None for row in verified["coverage"])

    # Each run that failed was told once, whatever failed in it; each question when it was asked; and nothing else.
    failed = {"mistyped": 1, "topics_rejected": 1, "producers_rejected": 1, "second": 1, "first": 2}
    assert scene.told("failed") == {(run_id, "gate"): times for run_id, times in failed.items()}
    asked = scene.told("waits")
    assert [task for run_id, task in asked if run_id == "topics_rejected"] == ["approve_topics"]
    assert [task for run_id, task in asked if run_id == "producers_rejected"] == ["approve_topics", "approve_producers"]
    assert asked["first", "billing.approve"] >= 2, "asked again after the plan was put back"
    assert {run_id for run_id, _ in asked} == {"topics_rejected", "producers_rejected", "first"}

    scene.stage.shop.stop_producers()
    counted = wait_until_complete(scene.stage.shop.witness_directory, readers(), timeout=300, quiet=30)
    assert counted.produced > 0
    assert (counted.lost, counted.repeated, counted.out_of_order) == (0, 0, 0)
