"""Small migrations for the tests of the steps: real topics and groups, and services under a real supervisord.

A service here is a shell that sleeps: what counts is what supervisord and /proc tell of it, and the journal that it
writes of each start and stop. What a service would read or write, a test does itself, so that it knows every offset.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka.admin import NewTopic
from tests.integration.workbench import Workbench, eventually

from kafka_migration.clusters.client import Clusters
from kafka_migration.findings import Finding
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.offsets import TopicPartition, Which, read_offsets
from kafka_migration.plan.graph import FIRST_STAGE, Graph, Unit
from kafka_migration.plan.model import Plan
from kafka_migration.records import MemoryRecords, Records
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.registry import build_controllers
from kafka_migration.services.supervisord import Supervisord
from kafka_migration.sides import Side
from kafka_migration.steps import closing, coverage, preflight, seeds, switch, topics
from kafka_migration.steps.consuming import consuming
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.topics.describe import await_topics, describe_topics
from kafka_migration.waiting import Look, Outcome, WaitStep

PROGRAMS = ("one", "two", "three", "four", "five", "six")
_SERVICE = """\
# $1: the program. DIES_WITH: an address with which it does not start. LINGER: seconds that its end takes.
if [ "$KAFKA_BOOTSTRAP_SERVERS" = "$DIES_WITH" ]; then echo "no route to $DIES_WITH" >&2; exit 3; fi
trap 'sleep "${LINGER:-0}"; echo "stop $1 $KAFKA_BOOTSTRAP_SERVERS" >> journal; exit 0' TERM
echo "start $1 $KAFKA_BOOTSTRAP_SERVERS" >> journal
sleep 600 &
wait
"""


@dataclass
class Daemon:
    """A supervisord with a program for each of `PROGRAMS`, none of which runs before its env file is written."""

    folder: Path

    @property
    def parts(self) -> dict[str, str]:
        return {
            "login": "shop",
            "password": "pw",
            "socket": str(self.folder / "s.sock"),
            "env_directory": str(self.folder),
        }

    def env(self, program: str, **variables: str) -> Path:
        file = self.folder / f"{program}.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        return file

    def content(self, program: str) -> str:
        return (self.folder / f"{program}.env").read_text()

    def control(self, method: str, *args: str) -> None:
        Supervisord(self.parts["socket"], "shop", "pw").call(method, *args)

    def journal(self) -> list[tuple[str, str, str]]:
        """(start or stop, program, address) in the order in which it happened."""
        file = self.folder / "journal"
        if not file.exists():
            return []
        return [(what, program, address) for what, program, address in map(str.split, file.read_text().splitlines())]


@contextlib.contextmanager
def supervised(folder: Path) -> Iterator[Daemon]:
    """A supervisord in `folder`, which ends with all its programs."""
    (folder / "service.sh").write_text(_SERVICE)
    programs = "".join(
        f"[program:{name}]\ncommand=sh -c 'set -a; . ./{name}.env; exec sh ./service.sh {name}'\ndirectory={folder}\n"
        "autostart=false\nautorestart=false\nstartsecs=0\nstartretries=0\nstopwaitsecs=10\nstopasgroup=true\n"
        for name in PROGRAMS
    )
    (folder / "supervisord.conf").write_text(
        textwrap.dedent(
            f"""\
            [unix_http_server]
            file={folder}/s.sock
            username=shop
            password=pw
            [supervisord]
            logfile={folder}/supervisord.log
            pidfile={folder}/supervisord.pid
            childlogdir={folder}
            nodaemon=true
            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
            """
        )
        + programs
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually((folder / "s.sock").exists, "supervisord's socket")
        yield Daemon(folder)
    finally:
        process.terminate()  # it stops its programs first
        process.wait(30)


@dataclass
class Town:
    """Both clusters, a supervisord, and what one test moves between them. Names are its own on the shared clusters."""

    source: Workbench
    target: Workbench
    daemon: Daemon
    records: Records = field(default_factory=MemoryRecords)
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @classmethod
    def of(cls, source: str, target: str, daemon: Daemon) -> Self:
        """By the bootstrap servers of both clusters."""
        return cls(Workbench(source), Workbench(target, Side.TARGET), daemon)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def named(self, name: str) -> str:
        return f"{name}-{self.suffix}"

    def topic(
        self, name: str, partitions: int = 1, side: Side = Side.SOURCE, replicas: int = 1, **settings: str
    ) -> list[TopicPartition]:
        """The topic of exactly that name."""
        cluster = self.bench(side).cluster
        config = {key.replace("_", "."): value for key, value in settings.items()}
        cluster.admin.create_topics([NewTopic(name, partitions, replicas, config=config)])[name].result(timeout=30)
        await_topics(cluster, {name: partitions})
        return [TopicPartition(name, number) for number in range(partitions)]

    def bench(self, side: Side) -> Workbench:
        return self.source if side is Side.SOURCE else self.target

    def service(
        self,
        program: str,
        produces: Iterable[TopicPartition] = (),
        reads: Mapping[str, Iterable[TopicPartition]] | None = None,
        address: str | None = None,
        running: bool = True,
        reset: str | None = "earliest",
        connection: str = "supervisor",
        **variables: str,
    ) -> dict[str, Any]:
        """A service of the plan, its program started with the source's address; called as the program."""
        servers = self.source.bootstrap_servers if address is None else address
        self.daemon.env(program, KAFKA_BOOTSTRAP_SERVERS=servers, **variables)
        spec: dict[str, Any] = {
            "name": program,
            "produces": sorted({tp.topic for tp in produces}),
            "consumes": [
                {"group": group, "topics": sorted({tp.topic for tp in tps}), "auto_offset_reset": reset}
                for group, tps in (reads or {}).items()
            ],
            "controller": {
                "kind": "supervisor",
                "connection": connection,
                "program": program,
                "env_file": f"{program}.env",
            },
        }
        if running:
            self.start(program)
        return spec

    def start(self, program: str) -> None:
        """Start a program as its owner does, and return when it says that it has started."""
        before = len(self.daemon.journal())
        self.daemon.control("startProcess", program)
        eventually(lambda: len(self.daemon.journal()) > before, f"program {program} to say that it has started")

    def stop_all(self) -> None:
        """The daemon as it was found: nothing runs, and nothing has been written down."""
        self.daemon.control("stopAllProcesses")
        (self.daemon.folder / "journal").unlink(missing_ok=True)

    @property
    def clusters(self) -> Clusters:
        return Clusters(self.source.cluster, self.target.cluster)

    def plan(self, services: Iterable[Mapping[str, Any]], include: Iterable[str] | None = None, **keys: Any) -> Plan:
        listed = list(services)
        named = {t for s in listed for t in (*s["produces"], *(t for c in s.get("consumes", ()) for t in c["topics"]))}
        return Plan.model_validate(
            {
                "plan": self.named("plan"),
                "scheme": "producers_first",
                "source": {"connection": "kafka_source"},
                "target": {"connection": "kafka_target"},
                "topics": {"include": sorted(named) if include is None else list(include)},
                "services": listed,
                "cutover": {"quiet": "200ms"},
                **keys,
            }
        )

    def run(self, plan: Plan, run_id: str = "first", **keys: Any) -> Run:
        """A run of the plan; every run of this town shares what the earlier ones recorded."""
        controllers = build_controllers(plan, self.clusters.addresses, self._connection)
        return Run(plan, "migrate", run_id, self.clusters, controllers, self.records, **keys)

    def _connection(self, name: str) -> Mapping[str, Any]:
        return (
            self.daemon.parts
            if name == "supervisor"
            else {**self.daemon.parts, "socket": str(self.daemon.folder / name)}
        )

    def read_all(self, group: str, partitions: Iterable[TopicPartition], side: Side = Side.SOURCE) -> None:
        """Commit the end of each partition, as a consumer does that has read everything and left."""
        cluster = self.bench(side).cluster
        set_commits(cluster, {group: read_offsets(cluster, partitions, Which.END)})

    def state(self, plan: Plan) -> dict[str, Any]:
        """What a step could have changed: topics, offsets of groups, env files, processes."""
        found: dict[str, Any] = {}
        for side in Side:
            cluster = self.bench(side).cluster
            chosen = [t for t in cluster.admin.list_topics(timeout=10).topics if plan.includes(t)]
            found[side.value] = {
                "topics": describe_topics(cluster, chosen),
                "commits": {g: c for g, c in committed(cluster, plan.groups).items() if c},
            }
        found["env files"] = {f.name: f.read_text() for f in self.daemon.folder.glob("*.env*")}
        found["journal"] = self.daemon.journal()
        return found


def until_done(step: WaitStep, run: Run, timeout: float = 30.0, **args: Any) -> StepReport:
    """Wait as a sensor and its trigger do: what goes between the looks is JSON. A dry run looks once."""
    brief = json.loads(json.dumps(step.prepare(run, args)))
    memory: dict[str, Any] = {}
    deadline = time.monotonic() + timeout
    while True:
        look = look_once(step, run, brief, memory)
        if look.outcome is Outcome.DONE:
            return step.settle(run, brief, look)
        assert look.outcome is not Outcome.FAILED, look.why
        if run.dry_run:
            return step.seen(brief, look)
        assert time.monotonic() < deadline, f"{step.name} {args}: {look}"
        memory = dict(look.memory)
        if look.outcome is Outcome.AGAIN:
            brief = json.loads(json.dumps(step.prepare(run, args)))
        else:
            time.sleep(0.05)


def look_once(step: WaitStep, run: Run, brief: Mapping[str, Any], memory: Mapping[str, Any]) -> Look:
    return step.look(run.clusters, brief, json.loads(json.dumps(memory)), run.now())


def to_the_cutover(run: Run) -> None:
    """Everything up to the first cutover point, as the scheme has it, without the preflight."""
    topics.create(run)
    seeds.seed(run)
    topics.parity(run)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        if unit.held:
            switch.hold(run, unit=unit.name)
    until_done(cutover, run, stage=FIRST_STAGE)


def migrate(run: Run, timeout: float = 120.0) -> dict[str, StepReport]:
    """The whole scheme, its steps in the order of the DAG; the reports by the task's name."""
    reports = {"preflight": preflight.preflight(run), "create_topics": topics.create(run)}
    reports["seed_groups"] = seeds.seed(run)
    reports["compare_topics"] = topics.parity(run)
    with ThreadPoolExecutor() as pool:
        for unit, report in zip(
            run.graph.producers,
            pool.map(lambda u: switch.switch_producers(run, unit=u.name), run.graph.producers),
            strict=True,
        ):
            reports[f"switch_producers.{unit.name}"] = report
    reports["cutover"] = until_done(cutover, run, timeout, stage=FIRST_STAGE)
    _move_readers(run, run.graph, reports, timeout)
    reports["coverage"] = coverage.coverage(run)
    reports["evidence"] = closing.closing_look(run)
    return reports


def _move_readers(run: Run, graph: Graph, reports: dict[str, StepReport], timeout: float) -> None:
    """Each unit behind those that write what it reads, the others side by side."""

    def move(unit: Unit) -> None:
        for name in {*unit.after, *unit.settles_after} & futures.keys():
            futures[name].result()
        for service in unit.services:
            reports[f"{unit.name}.drained"] = until_done(drained, run, timeout, service=service)
        reports[f"{unit.name}.switch"] = switch.switch_consumers(run, unit=unit.name)
        for service in unit.services:
            reports[f"{unit.name}.consuming"] = until_done(consuming, run, timeout, service=service)
        if unit.settles:
            reports[f"{unit.name}.cutover"] = until_done(cutover, run, timeout, stage=unit.name)

    futures: dict[str, Any] = {}
    with ThreadPoolExecutor(len(graph.readers)) as pool:
        for unit in graph.readers:  # those that are waited for come first
            futures[unit.name] = pool.submit(move, unit)
    for future in futures.values():
        future.result()


def found(report: StepReport, finding: str) -> Finding:
    """The finding of that id, the only one."""
    [one] = [f for f in report.findings if f.id == finding]
    return one


def stopping(report: StepReport) -> set[str]:
    return {f.id for f in report.findings if f.stops}
