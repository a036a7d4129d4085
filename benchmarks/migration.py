"""The shop migrated by a plain script and by a DAG run, side by side, against a plain restart.

The order is: restarts, script, DAG run; the two migrations each on fresh clusters and a fresh shop, Airflow running
beside both. Approvals are left out of the plan: a person's time is no one's benchmark.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import script
from benchmarks.failed import BenchmarkFailed
from benchmarks.witnessed import Pause, groups, longest, producers, switches
from demo import paths
from demo.follow import Run as DagRun
from demo.legs import MIGRATE
from demo.shop.catalogue import readers
from demo.stage import Stage
from demo.view import view_for
from demo.witness import wait_until_complete
from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.plan.load import LoadedPlan, load_plan
from kafka_migration.records import MemoryRecords
from kafka_migration.run import Run
from kafka_migration.services.registry import build_controllers
from kafka_migration.sides import Side

_HISTORY = 10.0
_RESTARTED = ("order-api", "billing")
_CHECKOUT = Path(__file__).resolve().parents[1]


def run(console: Console) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan_without_approvals(Path(folder))
        os.environ["KAFKA_MIGRATION_PLANS"] = folder
        restarts, by_script, script_seconds = _with_script(console, plan)
        by_dag, dag_seconds, dag_trigger = _with_dag(console)
    _print(console, restarts, by_script, script_seconds, by_dag, dag_seconds, dag_trigger)


def _plan_without_approvals(folder: Path) -> LoadedPlan:
    text = (_CHECKOUT / "include" / "plans" / "orders.yaml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith("approvals:")]
    file = folder / "orders.yaml"
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return load_plan(file)


def _stage(console: Console, name: str) -> Stage:
    state = paths.state_folder() / f"bench-{name}"
    state.mkdir(parents=True, exist_ok=True)
    return Stage(
        state,
        dags=_CHECKOUT / "dags",
        plugins=_CHECKOUT / "plugins",
        say=lambda text: console.print(text, highlight=False),
        command="bench",
    )


def _with_script(console: Console, plan: LoadedPlan) -> tuple[dict[str, Pause], dict[str, Pause], float]:
    stage = _stage(console, "script")
    try:
        stage.start()
        time.sleep(max(0.0, _HISTORY - stage.shop_has_run))
        since = time.time()
        for name in _RESTARTED:
            stage.shop.restart(name)
        time.sleep(3)
        witness = stage.shop.witness_directory
        restarts = {who: longest(witness, who, since) for who in ("produced:order-api", "processed:billing")}
        migration = _run(stage, plan)
        began = time.time()
        script.migrate(migration)
        console.print(f"the script has migrated the shop in {time.time() - began:.1f} s", highlight=False)
        return restarts, _counted(stage), _last_first(_counted(stage)) - began
    finally:
        stage.stop()


def _with_dag(console: Console) -> tuple[dict[str, Pause], float, float]:
    stage = _stage(console, "dag")
    try:
        stage.start()
        stage.client.wait_for_dag(MIGRATE, 60.0, stage.raise_if_dead)
        time.sleep(max(0.0, _HISTORY - stage.shop_has_run))
        began = time.time()
        stage.client.trigger(MIGRATE, "bench", {})
        with view_for(console) as view:
            state = DagRun(stage.client, MIGRATE, "bench").follow(view, timeout=600, check=stage.raise_if_dead)
        ended = time.time()
        if state != "success":
            raise BenchmarkFailed(f"the DAG run ended as {state}")
        pauses = _counted(stage)
        return pauses, _last_first(pauses) - began, ended - began
    finally:
        stage.stop()


def _run(stage: Stage, plan: LoadedPlan) -> Run:
    clusters = Clusters(
        Cluster(Side.SOURCE, "kafka_source", {"bootstrap.servers": stage.source.bootstrap_servers}),
        Cluster(Side.TARGET, "kafka_target", {"bootstrap.servers": stage.target.bootstrap_servers}),
    )
    control = stage.shop.connection
    access = {
        "login": control.user,
        "password": control.password,
        "socket": str(control.socket),
        "env_directory": str(control.env_directory),
    }
    controllers = build_controllers(plan.plan, clusters.addresses, lambda connection: access)
    return Run(plan.plan, "migrate", "script", clusters, controllers, MemoryRecords())


def _counted(stage: Stage) -> dict[str, Pause]:
    """The pauses, once the shop has proved that nothing was lost: a fast way to lose messages is no result."""
    stage.shop.stop_producers()
    counted = wait_until_complete(stage.shop.witness_directory, readers(), timeout=90, quiet=8)
    if counted.lost or counted.repeated or counted.out_of_order:
        raise BenchmarkFailed(f"lost={counted.lost} repeated={counted.repeated} out_of_order={counted.out_of_order}")
    return switches(stage.shop.witness_directory, stage.target.bootstrap_servers)


def _last_first(pauses: dict[str, Pause]) -> float:
    """When the last group processed its first message from the target."""
    return max(pause.first for pause in groups(pauses).values())


def _print(
    console: Console,
    restarts: dict[str, Pause],
    by_script: dict[str, Pause],
    script_seconds: float,
    by_dag: dict[str, Pause],
    dag_seconds: float,
    dag_trigger: float,
) -> None:
    table = Table("measured, in seconds", "plain restart", "script", "DAG run", "DAG run / script")
    for who in (*sorted(producers(by_script)), *sorted(groups(by_script))):
        plain = f"{restarts[who].seconds:.2f}" if who in restarts else ""
        a, b = by_script[who].seconds, by_dag[who].seconds
        table.add_row(f"silence of {who}", plain, f"{a:.2f}", f"{b:.2f}", f"{b / a:.2f}")
    table.add_row(
        "begin to the last group's first message on the target",
        "",
        f"{script_seconds:.1f}",
        f"{dag_seconds:.1f}",
        f"{dag_seconds / script_seconds:.2f}",
    )
    table.add_row("trigger to the gate's verdict", "", "", f"{dag_trigger:.1f}", "")
    console.print(table)
