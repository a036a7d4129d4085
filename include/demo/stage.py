"""The whole stage of a demo on this machine: two Kafka clusters, the live shop, and Airflow.

Starts side by side what can start side by side, and ends everything, also what a killed predecessor left.
Knows nothing of a migration.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from demo import leftovers, paths
from demo.airflow import Airflow, AirflowError, remove_database
from demo.claim import Claim
from demo.connect import ConnectWorker
from demo.kafka import KafkaCluster
from demo.rest import AirflowClient, Connection
from demo.shop import Shop
from demo.shop.catalogue import EVENTS, PLAIN, WITH_HISTORY, WITH_STOCK, acknowledged_by_two
from demo.shop.history import write_history
from demo.waiting import WaitedInVain, wait_until

_READY_WITHIN = 300.0
_LANES_END_WITHIN = 1.0
_HEAP, _SMALL_HEAP = "640m", "256m"
_ZONES = ("zone-a", "zone-b", "zone-c")
_PRACTISED = paths.include_folder() / "demo" / "plans" / "up"

# What a new start leaves as it is: who may run here, what was proved, what `make up` is writing, the faults' own.
KEPT = ("claim", "evidence", "up.log", "faults")

Say = Callable[[str], None]


class Stage:
    """One demo's processes and folders. They end with this process, however it ends.

    `dags` is the folder that Airflow reads, `say` is told of each part as it comes up. With `plan` Airflow finds a
    copy of that file as its only plan; without, the plans that it finds anyway. With `history` the source holds
    stored messages before the shop opens, and on each side a Kafka Connect worker runs that can copy them. With
    `practises` a small second shop runs beside the first, a worker that can copy it, and Airflow finds its plan too.
    Each cluster has so many `brokers`: the source's in one zone, the target's each in its own.
    """

    def __init__(
        self,
        state: Path,
        *,
        dags: Path,
        plugins: Path,
        say: Say,
        command: str = "demo",
        plan: Path | None = None,
        history: bool = False,
        practises: bool = False,
        brokers: int = 1,
    ) -> None:
        self._claim = Claim(state, command)  # before anything of that folder is looked at or ended
        self._state = state
        self._say = say
        self._began = time.monotonic()
        leftovers.mark(state)
        ended = clear(state)
        if ended:
            say(f"ended {len(ended)} processes that an earlier start had left")
        self.evidence = state / "evidence"
        environment = {"KAFKA_MIGRATION_EVIDENCE": str(self.evidence)}
        if plan is not None:
            environment["KAFKA_MIGRATION_PLANS"] = str(_copied(plan, state / "plans"))
        elif practises:
            environment["KAFKA_MIGRATION_PLANS"] = os.pathsep.join((_plans_anyway(), str(_PRACTISED)))
        self._replicas = brokers
        zones = _ZONES[:brokers]
        self.source = KafkaCluster("source", state / "source", brokers=brokers, racks=brokers * zones[:1])
        self.target = KafkaCluster("target", state / "target", brokers=brokers, racks=zones)
        sockets = paths.socket_folder(state)
        catalogue = WITH_HISTORY if history else WITH_STOCK if practises else PLAIN
        self.shop = Shop(state / "shop", sockets, catalogue if brokers == 1 else acknowledged_by_two(catalogue))
        self.workers: dict[str, ConnectWorker] = {}
        if history or practises:
            self.workers["target"] = self._worker(self.target, _HEAP if history else _SMALL_HEAP)
        if history:
            self.workers["source"] = self._worker(self.source, _HEAP)
        self._history = history
        self.airflow = Airflow(
            _airflow_folder(state),
            sockets,
            dags=dags,
            plugins=plugins,
            environment=environment,
        )
        self.client = AirflowClient(self.airflow.login)
        self._lanes: list[_Lane] = []
        self._stopping = threading.Event()
        self._shop_since = float("inf")
        self.ready = False

    def start(self) -> None:
        """Return when the shop runs against the source and Airflow is ready to migrate it."""
        source = self._lane("Kafka cluster source", lambda: self._start_cluster(self.source))
        target = self._lane("Kafka cluster target", lambda: self._start_cluster(self.target))
        airflow = self._lane("Airflow", self._start_airflow)
        self._wait_for(source)
        self.shop.prepare(self.source.bootstrap_servers)
        lanes = [target, airflow]
        clusters = {"target": target, "source": source}
        for name in self.workers:
            lanes.append(self._lane(f"Kafka Connect on the {name}", partial(self._start_worker, name, clusters[name])))
        if self._history:
            self._write_history()
            self._came_up("what was stored before")
        self.shop.start()
        self._shop_since = time.monotonic()
        self._came_up("the shop")
        self._wait_for(*lanes)
        for connection in self._connections():
            self.client.add_connection(connection)
        self.ready = True

    def _worker(self, cluster: KafkaCluster, heap: str) -> ConnectWorker:
        folder = self._state / f"connect-{cluster.name}"
        return ConnectWorker(cluster.name, cluster.bootstrap_servers, folder, heap=heap, replicas=self._replicas)

    def _write_history(self) -> None:
        """What is to come along; the groups that read it stand before its last part."""
        late = [group for group, topics in self.shop.catalogue.readers.items() if EVENTS.name in topics]
        write_history(self.source.bootstrap_servers, self.shop.witness_directory / "history.tsv", late)

    def _start_worker(self, name: str, after: _Lane) -> None:
        worker = self.workers[name]
        worker.prepare()
        after.join()
        if after.failure is None and not self._stopping.is_set():
            worker.start()
            worker.wait_ready()

    def lose_source(self) -> float:
        """SIGKILL to the source cluster, whatever it does now; the moment, in seconds since the epoch."""
        moment = time.time()
        self.source.kill()
        return moment

    def return_source(self) -> None:
        """Start the source cluster again on its data, and its worker where that has died with it."""
        self.source.start()
        self.source.wait_ready()
        worker = self.workers["source"]
        worker.start()
        worker.wait_ready()

    @property
    def shop_has_run(self) -> float:
        """Seconds since all services of the shop run."""
        return time.monotonic() - self._shop_since

    def raise_if_dead(self) -> None:
        """Say which part has died, where one has."""
        self.airflow.raise_if_dead()

    def stop(self) -> None:
        """End everything, whatever state it is in, and leave no process."""
        self._stopping.set()
        workers = [worker.kill for worker in self.workers.values()]
        for part in (self.shop.stop, self.airflow.stop, *workers, self.source.kill, self.target.kill):
            with suppress(Exception):  # what resists is ended below
                part()
        leftovers.end_all(self._state)
        deadline = time.monotonic() + _LANES_END_WITHIN
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))

    def _start_cluster(self, cluster: KafkaCluster) -> None:
        cluster.format()
        if self._stopping.is_set():
            return
        cluster.start()
        cluster.wait_ready()

    def _start_airflow(self) -> None:
        self.airflow.start()
        try:
            wait_until(self._airflow_is_healthy, timeout=_READY_WITHIN, what="Airflow to be healthy")
        except WaitedInVain as error:
            raise AirflowError(f"{error} {self.client.unhealthy()}\n{self.airflow.log_tails()}") from error
        self.client.warm_up()

    def _airflow_is_healthy(self) -> bool:
        self.airflow.raise_if_dead()
        return not self.client.unhealthy()

    def _connections(self) -> Iterable[Connection]:
        for cluster in (self.source, self.target):
            yield Connection(
                f"kafka_{cluster.name}",
                "kafka",
                {"bootstrap.servers": cluster.bootstrap_servers},
                description=f"The demo's {cluster.name} cluster",
            )
        control = self.shop.connection
        yield Connection(
            "shop_supervisor",
            "generic",
            {
                "socket": str(control.socket),
                "env_directory": str(control.env_directory),
                "configuration": str(control.configuration),
                "program_directory": str(control.program_directory),
            },
            login=control.user,
            password=control.password,
            description="The supervisor that runs the demo's shop",
        )
        for name, worker in self.workers.items():
            yield Connection(
                f"connect_{name}",
                "http",
                {},
                description=f"Kafka Connect on the demo's {name} cluster",
                host="127.0.0.1",
                port=worker.port,
                schema="http",
            )

    def _lane(self, name: str, work: Callable[[], None]) -> _Lane:
        def run() -> None:
            work()
            self._came_up(name)

        lane = _Lane(name, run)
        self._lanes.append(lane)
        lane.start()
        return lane

    def _wait_for(self, *lanes: _Lane) -> None:
        """Until those have ended well; a failure of any lane is raised at once."""
        while any(lane.is_alive() for lane in lanes):
            self._raise_failure()
            time.sleep(0.02)
        self._raise_failure()

    def _raise_failure(self) -> None:
        for lane in self._lanes:
            if lane.failure is not None:
                raise lane.failure

    def _came_up(self, name: str) -> None:
        if not self._stopping.is_set():
            self._say(f"{name} is up after {time.monotonic() - self._began:.1f} s")


def clear(state: Path, keep: Iterable[str] = KEPT) -> list[str]:
    """End and remove what an earlier demo of that folder left; the processes that were ended."""
    ended = end(state)
    for entry in state.iterdir():
        if entry.name not in keep:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    return ended


def end(state: Path) -> list[str]:
    """End what an earlier demo of that folder left running; what was ended. Its database goes with it."""
    ended = leftovers.end_all(state)
    remove_database(_airflow_folder(state))
    return ended


def _copied(plan: Path, folder: Path) -> Path:
    """Without its `verify:`: who runs a plan in this way ends when it has, and nobody would see what comes later."""
    folder.mkdir()
    text = re.sub(r"^verify:.*\n", "", plan.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (folder / "orders.yaml").write_text(text, encoding="utf-8")
    return folder


def _plans_anyway() -> str:
    """Where Airflow would find plans if nobody told it."""
    return os.environ.get("KAFKA_MIGRATION_PLANS") or str(paths.include_folder() / "plans")


def _airflow_folder(state: Path) -> Path:
    return state / "airflow"


class _Lane(threading.Thread):
    """One part's way up, beside the others; its failure is kept for whoever waits."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:  # raised again by the thread that waits for this one
            self.failure = error
