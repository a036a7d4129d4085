"""One stage for the whole table: clusters and Airflow stand, every cell gets a shop, topics, groups and a plan anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from tests.faults.cluster import FaultCluster
from tests.faults.plugins.rendezvous import VARIABLE, Rendezvous
from tests.faults.shop import FaultShop

from demo import paths
from demo.rest import AirflowClient
from demo.shop.catalogue import TOPICS, readers
from demo.stage import Say, Stage
from demo.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

_WITHIN = 60.0
_SETTINGS = {
    # A task whose worker is silent is given up after these seconds, not after 300; looked for every 2, not 10.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # A scheduler or triggerer that is silent counts as dead after 8, not 30, and its tasks are taken over every 3.
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "8",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
}


class FaultStage:
    """The real stage with shortened patience, and with a rendezvous in its tasks."""

    def __init__(self, state: Path, say: Say) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._state = state
        self._stage = Stage(
            state, dags=ROOT / "dags", plugins=Path(__file__).parent / "plugins", say=say, command="faults"
        )
        self.source = self._stage.source = FaultCluster("source", state / "source")
        self.target = self._stage.target = FaultCluster("target", state / "target")
        self._sockets = paths.socket_folder(state)
        self.shop = self._stage.shop = FaultShop(state / "shop-0", self._sockets)
        self.plans = state / "plans"
        self.plans.mkdir()
        self.rendezvous = Rendezvous(state / "rendezvous")
        self._shops = 0
        self._used = False

    @property
    def client(self) -> AirflowClient:
        return self._stage.client

    @property
    def evidence(self) -> Path:
        return self._stage.evidence

    @property
    def airflow_logs(self) -> Path:
        return self._stage.airflow.logs

    def raise_if_dead(self) -> None:
        self._stage.raise_if_dead()

    def start(self) -> None:
        with _environment(
            {f"AIRFLOW__{name}": value for name, value in _SETTINGS.items()}
            | {"KAFKA_MIGRATION_PLANS": str(self.plans), VARIABLE: str(self._state / "rendezvous")}
        ):
            self._stage.start()

    def stop(self) -> None:
        self._stage.stop()

    def renew(self, plan: str, text: str) -> None:
        """An open shop on the source and nothing on the target; that plan is the only one."""
        self.rendezvous.clear()
        self._mend()
        for former in self.plans.glob("*.yaml"):
            former.unlink()
        (self.plans / f"{plan}.yaml").write_text(text, encoding="utf-8")
        if not self._used:  # the stage has just been opened like that
            self._used = True
            return
        self.shop.stop()
        shutil.rmtree(self.shop.directory)
        for cluster in (self.source, self.target):
            _empty(cluster)
        self._shops += 1
        self.shop = self._stage.shop = FaultShop(self._state / f"shop-{self._shops}", self._sockets)
        self.shop.prepare(self.source.bootstrap_servers)
        self.shop.start()
        self._tell_airflow_of_the_shop()

    def keep_logs(self, folder: Path) -> Path:
        """What a failed cell is looked into by: the shop, the brokers, Airflow and its tasks."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.shop.directory, folder / "shop")
        shutil.copytree(self._stage.airflow.logs, folder / "airflow")
        for cluster in (self.source, self.target):
            shutil.copytree(cluster.directory, folder / cluster.name, ignore=shutil.ignore_patterns("data"))
        return folder

    def component(self, name: str) -> int:
        """The process of one of Airflow's components, not one that this has started itself."""
        log = str(self._stage.airflow.logs / f"{name}.log")
        components = psutil.Process(self._stage.airflow._processes["components"].pid)
        found: list[int] = []

        def there() -> bool:
            found[:] = [process.pid for process in components.children() if _output(process) == log]
            return bool(found)

        wait_until(there, timeout=_WITHIN, what=f"Airflow's {name} to run")
        return found[0]

    def end_orphans(self) -> list[str]:
        """End what a killed process has left behind; what was ended."""
        own = {process.pid for process in psutil.Process().children(recursive=True)}
        orphans = [process for process in self.processes() if process.pid not in own and process.pid != os.getpid()]
        named = []
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                named.append(f"{' '.join(process.cmdline())[:80].strip()} ({process.pid})")
                process.kill()
        psutil.wait_procs(orphans, timeout=_WITHIN)
        return named

    def processes(self) -> list[psutil.Process]:
        """Every process of this stage, whoever its parent is."""
        return [process for process in psutil.process_iter() if _mark(process) == str(self._state)]

    def _mend(self) -> None:
        """Whatever the last cell has left broken where it was broken off."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if process.status() == psutil.STATUS_STOPPED:
                    process.resume()
        for cluster in (self.source, self.target):
            cluster.network.mend()
            cluster.start()
            cluster.wait_ready()

    def _tell_airflow_of_the_shop(self) -> None:
        """Each shop has a password of its own."""
        connection = next(one for one in self._stage._connections() if one.id == "shop_supervisor")
        self.client._send("DELETE", f"/connections/{connection.id}")
        self.client.add_connection(connection)


def _empty(cluster: FaultCluster) -> None:
    """No topic and no group of the shop is left on it."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
    names = {topic.name for topic in TOPICS}
    there = names & set(admin.list_topics(timeout=10).topics)
    if there:
        for future in admin.delete_topics(sorted(there), operation_timeout=30).values():
            future.result()
    wait_until(
        lambda: not names & set(admin.list_topics(timeout=10).topics), timeout=_WITHIN, what="the topics to be gone"
    )

    def deleted() -> bool:
        """A group whose members were killed has them until their session times out."""
        left = set(readers()) & {group.group_id for group in admin.list_consumer_groups().result().valid}
        if not left:
            return True
        for future in admin.delete_consumer_groups(sorted(left)).values():
            try:
                future.result()
            except KafkaException:
                return False
        return True

    wait_until(deleted, timeout=_WITHIN, what=f"the groups on {cluster.name} to be gone")


def _output(process: psutil.Process) -> str | None:
    try:
        return os.readlink(f"/proc/{process.pid}/fd/1")
    except OSError:
        return None


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("KAFKA_MIGRATION_STAGE")
    except (psutil.Error, OSError):
        return None


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """For the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
