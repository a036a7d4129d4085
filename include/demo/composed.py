"""`python -m demo.composed PART`: the demo's parts inside docker-compose, where each is a container of its own.

`shop` runs the shop, `healthy` tells whether all of it runs, `connections` makes Airflow's connections, and `migrate`
makes one run of the plan and counts every message. The shop's folder outlives its container: what a migration has
changed there is still so after a restart. Everything is told by environment variables; no cluster is started here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from demo.airflow import Login
from demo.follow import Run
from demo.interrupts import Interrupted, raise_on_signals
from demo.legs import MIGRATE
from demo.rest import AirflowClient
from demo.shop import Shop
from demo.telling import Evidence, tell_count, tell_evidence
from demo.verdict import RunEnd, Tally, judge, unknown
from demo.view import last_line, say, view_for
from demo.witness import FaultKind, WitnessCount, wait_until_complete

_FOLDER = Path("/opt/shop")  # the same path for the shop and for the workers, which edit its env files
_SHOP_RUNS_FIRST = 8.0
_DAG_WITHIN = 180.0
_RUN_WITHIN = 1_800.0
_COMPLETE_WITHIN = 120.0
_QUIET = 15.0
_WIDTH = 140


def shop() -> int:
    """Until it is told to stop."""
    opened = _shop()
    if not (opened.directory / "connection.json").exists():
        opened.prepare(os.environ["SHOP_SERVERS"])
    (_FOLDER / "sockets" / "shop.sock").unlink(missing_ok=True)  # of a container that was killed
    supervisord = subprocess.Popen(opened.command)
    try:
        opened.open(timeout=180)
        print("the shop is open", flush=True)
        return supervisord.wait()
    except Interrupted:
        opened.stop()
        return 0


def healthy() -> int:
    """0: every service that opens with the shop runs."""
    running = {name for name, status in _shop().status().items() if status.state == "RUNNING"}
    return int(not {service.name for service in _shop().catalogue.services if service.opens} <= running)


def connections() -> int:
    """Through Airflow's own command, from a file that nobody else reads. Those that exist are replaced."""
    control = _shop().connection
    made: dict[str, dict[str, Any]] = {
        f"kafka_{side}": {
            "conn_type": "kafka",
            "description": f"The demo's {side} cluster",
            "extra": json.dumps({"bootstrap.servers": os.environ[f"{side.upper()}_SERVERS"]}),
        }
        for side in ("source", "target")
    }
    made["connect_target"] = {
        "conn_type": "http",
        "description": "Kafka Connect on the demo's target cluster",
        "schema": "http",
        "host": os.environ["CONNECT_HOST"],
        "port": 8083,
    }
    made["shop_supervisor"] = {
        "conn_type": "generic",
        "description": "The supervisor that runs the demo's shop",
        "login": control.user,
        "password": control.password,
        "extra": json.dumps(
            {
                "socket": str(control.socket),
                "env_directory": str(control.env_directory),
                "configuration": str(control.configuration),
                "program_directory": str(control.program_directory),
            }
        ),
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:  # mode 600
        json.dump(made, file)
        file.flush()
        return subprocess.run(["airflow", "connections", "import", "--overwrite", file.name], check=False).returncode


def migrate() -> int:
    """Approve everything, stop the producers when the run has ended, and count. The verdict is the last line."""
    console = Console(width=_WIDTH)
    client = AirflowClient(Login(os.environ["AIRFLOW_URL"], "admin", os.environ["AIRFLOW_ADMIN_PASSWORD"]))
    try:
        client.wait_for_dag(MIGRATE, _DAG_WITHIN, lambda: None)
        client.unpause(MIGRATE)
        time.sleep(_SHOP_RUNS_FIRST)
        run_id = datetime.now(UTC).strftime("composed-%Y%m%dT%H%M%SZ")
        client.trigger(MIGRATE, run_id, {})
        say(console, f"{MIGRATE} triggered as {run_id}")
        run = Run(client, MIGRATE, run_id)
        with view_for(console) as view:
            state = run.follow(view, timeout=_RUN_WITHIN, check=lambda: None)
        say(console, f"run {state}")
        evidence = Evidence.of_run(Path("/opt/airflow/evidence"), run_id)
        broken = run.failures()
        for failure in broken:
            say(console, f"{failure.task.name} failed: {' '.join(failure.errors)}")
        tell_evidence(console, run, evidence)
        say(console, "the producers are stopped, the groups finish what they have")
        counted = _count_all()
        tell_count(console, counted)
        broken_tasks = tuple(failure.task.task_id for failure in broken)
        end = RunEnd("migration", state, evidence.verdict, broken=broken_tasks, elsewhere=_elsewhere(counted))
        verdict = judge([end], _tally(counted))
    except Exception as error:
        say(console, f"{type(error).__name__}: {error}")
        verdict = unknown("failed_while_running")
    last_line(verdict.line)
    return verdict.exit_code


def _count_all() -> WitnessCount:
    stopped = _shop()
    stopped.stop_producers()
    return wait_until_complete(
        stopped.witness_directory, stopped.catalogue.readers, timeout=_COMPLETE_WITHIN, quiet=_QUIET
    )


def _elsewhere(counted: WitnessCount) -> tuple[str, ...]:
    """Who has last written or read something on another cluster than the target."""
    rhythms = [(one.service, one.rhythm) for one in counted.producers]
    rhythms += [(one.group, one.rhythm) for one in counted.groups]
    return tuple(sorted({name for name, one in rhythms if one.last_servers != os.environ["TARGET_SERVERS"]}))


def _tally(counted: WitnessCount) -> Tally:
    first = counted.first_of(set(FaultKind))
    return Tally(counted.produced, counted.lost, counted.repeated, counted.out_of_order, str(first) if first else None)


def _shop() -> Shop:
    sockets = _FOLDER / "sockets"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return Shop(_FOLDER / "shop", sockets)


if __name__ == "__main__":
    raise_on_signals()
    parts = {"shop": shop, "healthy": healthy, "connections": connections, "migrate": migrate}
    sys.exit(parts[sys.argv[1]]())
