"""200 services that drain at once on a real Airflow: who holds worker slots, what the triggerer needs, who is late.

The DAG is made of the product's own steps up to the drain (`benchmarks/dags`), on LocalExecutor with 16 slots. Every
group is a little behind, so that every task defers; when all wait, nothing happens for a while, then all groups are set
to the end at once.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.failed import BenchmarkFailed
from benchmarks.many import Bare, Many, Size
from benchmarks.pair import Pair, two_clusters
from demo import paths
from demo.airflow import Airflow
from demo.rest import AirflowClient, Connection, TaskRow
from demo.waiting import wait_until

WAITING = 200
_PARTITIONS = 10  # of each service
_WATCHED = 30.0
_CHECKOUT = Path(__file__).resolve().parents[1]
_DAG, _RUN = "many.migrate", "bench"
_WITHIN = 900.0


@dataclass(frozen=True)
class Measured:
    """What so many services that wait at once cost, and how soon they go on.

    `before`: seconds from the cutover's end until every service waited. `slots`: tasks that held a slot while all
    waited, at most. `triggerer`, `brokers`: cores. `first`, `last`: seconds from the commits to the end of the first
    and the last wait.
    """

    waiting: int
    before: float
    slots: int
    triggerer: float
    brokers: float
    first: float
    last: float


def run(console: Console, scale: float = 1.0) -> None:
    found = measure(console, max(4, int(WAITING * scale)))
    table = Table("what", "figure", title=f"{found.waiting} services that drain at once, 16 worker slots")
    table.add_row("until all wait", f"{found.before:.1f} s, {found.before / found.waiting:.2f} s each")
    table.add_row("slots held while all wait", f"{found.slots}")
    table.add_row("the triggerer meanwhile", f"{found.triggerer:.2f} cores")
    table.add_row("the two brokers meanwhile", f"{found.brokers:.2f} cores")
    table.add_row("from the last commits to the first that went on", f"{found.first:.1f} s")
    each = (found.last - found.first) / found.waiting
    table.add_row("to the last", f"{found.last:.1f} s, {each:.2f} s each")
    console.print(table)


def measure(console: Console, waiting: int) -> Measured:
    """Raises `BenchmarkFailed` where a task fails."""
    many = Many(Size(_PARTITIONS * waiting * 5 // 4, most_services=waiting * 5 // 4))
    with two_clusters() as pair, tempfile.TemporaryDirectory(prefix="kafka-migration-bench-") as name:
        source = Bare(pair.source.bootstrap_servers)
        source.create(many.topics)
        source.fill(many.partitions, many.messages)
        source.commit(many.commits(many.messages, many.behind))
        airflow = _airflow(Path(name), many)
        try:
            airflow.start()
            with AirflowClient(airflow.login) as client:
                wait_until(lambda: not client.unhealthy(), timeout=180, what="Airflow to be healthy")
                for side, cluster in (("source", pair.source), ("target", pair.target)):
                    client.add_connection(Connection(side, "kafka", {"bootstrap.servers": cluster.bootstrap_servers}))
                client.wait_for_dag(_DAG, 120, airflow.raise_if_dead)
                client.warm_up()
                return _measured(console, _Waits(client), pair, lambda: source.commit(many.commits(many.messages)))
        finally:
            airflow.stop()


def _measured(console: Console, waits: _Waits, pair: Pair, commit: Callable[[], None]) -> Measured:
    waits.client.trigger(_DAG, _RUN, {})
    waits.until(lambda states: states["deferred"] == sum(states.values()), "all to wait")
    states, cut_over = waits.states(), waits.cut_over
    waiting, before = sum(states.values()), time.time() - cut_over
    console.print(f"  {waiting} services wait", highlight=False)
    slots = 0
    triggerer, brokers = _Cores(_triggerer()), _Cores(_brokers(pair))
    until = time.monotonic() + _WATCHED
    while time.monotonic() < until:
        time.sleep(1.0)
        slots = max(slots, waits.busy())
    cores = triggerer.used(), brokers.used()
    began = time.time()
    commit()
    waits.until(lambda states: states["success"] == waiting, "all to go on")
    ended = sorted(row.ended.timestamp() for row in waits.rows() if row.ended)
    return Measured(waiting, before, slots, *cores, ended[0] - began, ended[-1] - began)


class _Waits:
    """The tasks that wait, as Airflow tells of them."""

    def __init__(self, client: AirflowClient) -> None:
        self.client = client

    def rows(self) -> list[TaskRow]:
        return [row for row in self.client.tasks(_DAG, _RUN) if row.task_id.endswith(".drained")]

    def states(self) -> Counter[str]:
        return Counter(str(row.state) for row in self.rows())

    def busy(self) -> int:
        """Tasks that hold a slot, of any kind."""
        return sum(row.state in ("queued", "running") for row in self.client.tasks(_DAG, _RUN))

    @property
    def cut_over(self) -> float:
        """When the step before them ended."""
        [row] = [row for row in self.client.tasks(_DAG, _RUN) if row.task_id == "cutover"]
        return row.ended.timestamp() if row.ended else 0.0

    def until(self, reached: Callable[[Counter[str]], bool], what: str) -> None:
        deadline = time.monotonic() + _WITHIN
        while not reached(states := self.states()):
            failed = [
                row.task_id for row in self.client.tasks(_DAG, _RUN) if row.state in ("failed", "upstream_failed")
            ]
            if failed or time.monotonic() > deadline:
                raise BenchmarkFailed(f"waiting for {what}: {dict(states)}, failed: {failed[:3]}")
            time.sleep(0.5)


class _Cores:
    """How many cores some processes use, from now on. One that ends meanwhile is not counted."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._began, self._before = time.monotonic(), _spent(processes)

    def used(self) -> float:
        now = _spent(self._before)
        return sum(now[one] - self._before[one] for one in now) / (time.monotonic() - self._began)


def _spent(processes: Iterable[psutil.Process]) -> dict[psutil.Process, float]:
    """Seconds of a core so far, of those that have not ended."""
    spent = {}
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            spent[one] = sum(one.cpu_times()[:2])
    return spent


def _triggerer() -> list[psutil.Process]:
    """Its processes do not say in their names what they are, but by where they write."""
    for one in _own_processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):  # ended in between
            if os.readlink(f"/proc/{one.pid}/fd/1").endswith("/triggerer.log"):
                return [one, *one.children(recursive=True)]
    raise BenchmarkFailed("there is no triggerer any more")


def _brokers(pair: Pair) -> list[psutil.Process]:
    found = []
    for one in _own_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(str(pair.folder) in part for part in one.cmdline()):
                found.append(one)
    return found


def _own_processes() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _airflow(folder: Path, many: Many) -> Airflow:
    plans = folder / "plans"
    plans.mkdir()
    many.write_plan(plans)
    return Airflow(
        folder / "airflow",
        paths.socket_folder(folder),
        dags=_CHECKOUT / "benchmarks" / "dags",
        plugins=_CHECKOUT / "plugins",
        environment={
            "KAFKA_MIGRATION_PLANS": str(plans),
            "KAFKA_MIGRATION_EVIDENCE": str(folder / "evidence"),
            "PATH": os.environ["PATH"],
        },
    )
