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
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from confluent_kafka.admin import NewTopic
from tests.integration.workbench import Workbench, eventually

from demo.waiting import patience
from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import MirrorUnreachable
from kafka_migration.findings import Finding
from kafka_migration.groups.commits import committed, set_commits
from kafka_migration.mirror.registry import build_history, build_mirrors
from kafka_migration.mirror.rest import Connect
from kafka_migration.offsets import OffsetRange, TopicPartition, Which, read_offsets
from kafka_migration.plan.graph import FIRST_STAGE, Graph, Unit
from kafka_migration.plan.model import Plan, Service
from kafka_migration.purposes import FAILBACK, ROLLBACK
from kafka_migration.records import MemoryRecords, Records
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.controller import State
from kafka_migration.services.registry import build_controllers, build_seconds
from kafka_migration.services.supervisord import Supervisord
from kafka_migration.sides import Side
from kafka_migration.steps import back, closing, coverage, preflight, proving, seconds, seeds, switch, topics
from kafka_migration.steps.consuming import consuming
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.topics.describe import await_topics, describe_topics
from kafka_migration.visible import each_visible
from kafka_migration.waiting import Look, Outcome, WaitStep

PROGRAMS = ("one", "two", "three", "four", "five", "six")
TWINS = ("two-twin", "three-twin", "four-twin")
# Before the service has its address in its environment, by which it would be taken for moved.
_START = """\
if [ "$KAFKA_BOOTSTRAP_SERVERS" = "$DIES_WITH" ]; then echo "no route to $DIES_WITH" >&2; exit 3; fi
"""
_SERVICE = """\
# $1: the program. DIES_WITH: an address with which it does not start. LINGER: seconds that its end takes.
trap 'sleep "${LINGER:-0}"; echo "stop $1 $KAFKA_BOOTSTRAP_SERVERS" >> journal; exit 0' TERM
echo "start $1 $KAFKA_BOOTSTRAP_SERVERS" >> journal
sleep 600 &
wait
"""


@dataclass
class Daemon:
    """A supervisord with programs, none of which runs before its env file is written, and a folder for more."""

    folder: Path

    @property
    def parts(self) -> dict[str, str]:
        return {
            "login": "shop",
            "password": "pw",
            "socket": str(self.folder / "s.sock"),
            "env_directory": str(self.folder),
            "configuration": str(self.configuration),
            "program_directory": str(self.folder / "programs"),
        }

    @property
    def configuration(self) -> Path:
        return self.folder / "supervisord.conf"

    def env(self, program: str, **variables: str) -> Path:
        file = self.folder / f"{program}.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        return file

    def content(self, program: str) -> str:
        return (self.folder / f"{program}.env").read_text()

    def control(self, method: str, *args: str | bool) -> Any:
        return Supervisord(self.parts["socket"], "shop", "pw").call(method, *args)

    def start(self, program: str) -> None:
        """Start a program as its owner does, and return when it says that it has started."""
        before = len(self.journal())
        self.control("startProcess", program)
        eventually(lambda: len(self.journal()) > before, f"program {program} to say that it has started")

    def stop_all(self) -> None:
        # Waiting inside the call would take a second: supervisord looks that often at what it waits for.
        self.control("stopAllProcesses", False)
        eventually(lambda: not any(one["pid"] for one in self.control("getAllProcessInfo")), "all programs to stop")

    def journal(self) -> list[tuple[str, str, str]]:
        """(start or stop, program, address) in the order in which it happened."""
        file = self.folder / "journal"
        if not file.exists():
            return []
        return [(what, program, address) for what, program, address in map(str.split, file.read_text().splitlines())]


@contextlib.contextmanager
def supervised(folder: Path) -> Iterator[Daemon]:
    """A supervisord in `folder`, which ends with all its programs."""
    (folder / "start.sh").write_text(_START)
    (folder / "service.sh").write_text(_SERVICE)
    programs = "".join(
        f"[program:{name}]\ndirectory={folder}\n"
        f"command=sh -c 'set -a; . ./{name}.env; . ./start.sh; exec sh ./service.sh {name}'\n"
        "autostart=false\nautorestart=false\nstartsecs=0\nstartretries=0\nstopwaitsecs=10\nstopasgroup=true\n"
        f"stdout_logfile={folder}/{name}.log\n\n"
        for name in (*PROGRAMS, *TWINS)
    )
    (folder / "programs").mkdir()
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
        + "[include]\nfiles = programs/*.conf\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    one = Daemon(folder)
    try:
        eventually((folder / "s.sock").exists, "supervisord's socket")
        yield one
        one.stop_all()
        process.kill()  # told to end it would first sleep a second
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
    workers: dict[Side, Connect] = field(default_factory=dict)
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @classmethod
    def of(cls, source: str, target: str, daemon: Daemon) -> Self:
        """By the bootstrap servers of both clusters."""
        return cls(Workbench(source), Workbench(target, Side.TARGET), daemon)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()
        for bench in (self.source, self.target):
            bench.forget(self.suffix)

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
        second: str = "",
        **variables: str,
    ) -> dict[str, Any]:
        """A service of the plan, its program started with the source's address; called as the program.

        `second`: how an instance on the target comes to be, as its `twin`, a program of its own, or as a `copy`.
        """
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
        if second == "copy":
            spec["second"] = {"kind": "copy"}
        elif second:
            self.daemon.env(f"{program}-twin", KAFKA_BOOTSTRAP_SERVERS=servers, **variables)
            spec["second"] = {"kind": "supervisor", "program": f"{program}-twin", "env_file": f"{program}-twin.env"}
        if running:
            self.start(program)
        return spec

    def start(self, program: str) -> None:
        self.daemon.start(program)

    def stop_all(self) -> None:
        """The daemon as it was found: nothing runs, and nothing has been written down."""
        self.daemon.stop_all()
        (self.daemon.folder / "journal").unlink(missing_ok=True)

    @property
    def clusters(self) -> Clusters:
        return Clusters(self.source.cluster, self.target.cluster, workers=self.workers)

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

    def run(self, plan: Plan, run_id: str = "first", purpose: str = "migrate", **keys: Any) -> Run:
        """A run of the plan; every run of this town shares what the earlier ones recorded."""
        clusters = replace(self.clusters, heading=Side.SOURCE if purpose in (ROLLBACK, FAILBACK) else Side.TARGET)
        controllers = build_controllers(plan, clusters.addresses, self._connection)
        seconds = build_seconds(plan, clusters.addresses, self._connection)
        mirrors = build_mirrors(plan, clusters, self._connection)
        history = build_history(plan, clusters)
        return Run(plan, purpose, run_id, clusters, controllers, self.records, seconds, mirrors, history, **keys)

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


class Life:
    """What the services of a plan would do: each that runs works where it runs, one turn after the other.

    In a turn a service writes a message to each topic that only producers write, reads what its groups have left there,
    commits, and writes a message on for each that it read. Every message is a number, known again by the offset that it
    was acknowledged at, so that whatever a group misses, repeats or reads too early shows in `read`. Groups in `idle`
    do not read; `silent` holds services that do not write. Each topic has one partition.
    """

    def __init__(self, town: Town, plan: Plan) -> None:
        self._town = town
        self._plan = plan
        self._run = town.run(plan)
        self._topics = {t for s in plan.services for t in (*s.produces, *s.reads)}
        self.written: dict[str, list[int]] = {topic: [] for topic in self._topics}
        self.read: dict[tuple[str, str], list[int]] = {(g, t): [] for g, c in plan.groups.items() for t in c.topics}
        self.ranges: dict[str, list[tuple[Side, TopicPartition, int, int]]] = {group: [] for group in plan.groups}
        self.idle: set[str] = set()
        self.silent: set[str] = set()
        self._at: dict[tuple[Side, TopicPartition, int], int] = {}

    def turn(self) -> None:
        for service in self._plan.services:
            for instance in self._run.instances([service.name]).values():
                seen = instance.observe()
                if seen.state is State.RUNNING and seen.side is not None:
                    self._work(service, seen.side)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()

    def finish(self) -> None:
        """Nobody writes any more, and everybody reads what is there."""
        self.idle.clear()
        self.silent |= {service.name for service in self._plan.services if not service.consumes}
        self.turns(len(self._plan.services))

    def committed(self, side: Side) -> dict[str, dict[TopicPartition, int]]:
        return committed(self._town.bench(side).cluster, self._plan.groups)

    def end(self, topic: str, side: Side) -> int:
        return self._town.bench(side).end(TopicPartition(topic, 0))

    def _work(self, service: Service, side: Side) -> None:
        if not service.consumes and service.name not in self.silent:
            for topic in service.produces:
                self._write(topic, side)
        for consumes in service.consumes:
            if consumes.group not in self.idle:
                for topic in consumes.topics:
                    for _ in range(self._read(consumes.group, TopicPartition(topic, 0), side)):
                        for out in service.produces:
                            self._write(out, side)

    def _write(self, topic: str, side: Side) -> None:
        tp, number = TopicPartition(topic, 0), len(self.written[topic])
        [offset] = self._town.bench(side).write(tp)
        self._at[side, tp, offset] = number
        self.written[topic].append(number)

    def _read(self, group: str, tp: TopicPartition, side: Side) -> int:
        bench = self._town.bench(side)
        start, end = committed(bench.cluster, [group])[group].get(tp, 0), bench.end(tp)
        if start >= end:
            return 0
        self.read[group, tp.topic] += [self._at[side, tp, offset] for offset in range(start, end)]
        self.ranges[group].append((side, tp, start, end))
        set_commits(bench.cluster, {group: {tp: end}})
        return end - start


class MirroredLife(Life):
    """The same where stored messages are copied: each carries its number, so that a copy is known by what it says."""

    def _write(self, topic: str, side: Side) -> None:
        number = len(self.written[topic])
        self._town.bench(side).write(TopicPartition(topic, 0), value=str(number).encode())
        self.written[topic].append(number)

    def _read(self, group: str, tp: TopicPartition, side: Side) -> int:
        bench = self._town.bench(side)
        start = committed(bench.cluster, [group])[group].get(tp, 0)
        end = read_offsets(bench.cluster, [tp], Which.STABLE)[tp]  # a mirror may have a transaction open there
        found: list[int] = []
        each_visible(
            bench.cluster, [OffsetRange(tp, start, end)], lambda _, message: found.append(int(message.value()))
        )
        self.read[group, tp.topic] += found
        if start < end:
            set_commits(bench.cluster, {group: {tp: end}})
        return len(found)


def answers(worker: Connect) -> bool:
    """Whether a Connect worker takes part: it has to find its group again where its broker was gone."""
    try:
        worker.connectors()
    except MirrorUnreachable:
        return False
    return True


def until_done(
    step: WaitStep, run: Run, timeout: float = 30.0, meanwhile: Callable[[], object] | None = None, **args: Any
) -> StepReport:
    """Wait as a sensor and its trigger do: what goes between the looks is JSON. A dry run looks once."""
    brief = json.loads(json.dumps(step.prepare(run, args)))
    memory: dict[str, Any] = {}
    deadline = time.monotonic() + timeout * patience()
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
        if meanwhile is not None:
            meanwhile()


def look_once(step: WaitStep, run: Run, brief: Mapping[str, Any], memory: Mapping[str, Any]) -> Look:
    return step.look(run.clusters, brief, json.loads(json.dumps(memory)), run.now())


def to_the_cutover(run: Run, life: Life | None = None) -> None:
    """Everything up to the first cutover point, as the scheme has it, without the preflight."""
    topics.create(run)
    seeds.seed(run)
    if life:  # what is written and read from here on lies between where a group began and its cutover point
        life.turns(2)
    if run.seconds:
        for unit in run.graph.readers:
            seconds.start(run, unit=unit.name)
    topics.parity(run)
    for unit in run.graph.producers:
        switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        if unit.held:
            switch.hold(run, unit=unit.name)
    until_done(cutover, run, meanwhile=life and life.turn, stage=FIRST_STAGE)


def move(run: Run, unit: Unit, life: Life | None = None) -> dict[str, StepReport]:
    """A reading unit on its way, without the look whether its groups have members: here nobody joins a group."""
    turn = life and life.turn
    for name in unit.services:
        if run.plan.service(name).consumes:
            until_done(drained, run, meanwhile=turn, service=name)
    change = seconds.close if run.seconds else switch.switch_consumers
    reports = {"switch": change(run, unit=unit.name)}
    if unit.settles:
        reports["cutover"] = until_done(cutover, run, meanwhile=turn, stage=unit.name)
    return reports


def move_all(run: Run, life: Life) -> dict[str, StepReport]:
    """The whole scheme with the services at work; the reports that matter by the task's name. It ends with PASS."""
    reports = {"preflight": preflight.preflight(run)}
    to_the_cutover(run, life)
    for unit in run.graph.readers:
        reports |= {f"{unit.name}.{task}": report for task, report in move(run, unit, life).items()}
    return _closed(run, reports, life)


def roll_back(run: Run, life: Life) -> dict[str, StepReport]:
    """The whole way back with the services at work, its steps in the order of the DAG. It ends with PASS."""
    reports = {"preflight": back.look(run), "begin": back.begin(run)}
    there = run.headed(Side.TARGET)
    if run.seconds:
        for unit in run.graph.readers:
            reports[f"seconds.{unit.name}.start"] = seconds.start(run, unit=unit.name)
    else:
        until_done(cutover, there, meanwhile=life.turn, stage=FIRST_STAGE)
    in_order = run.plan.order == "strict"
    if in_order:
        for unit in run.graph.readers:
            reports |= {f"forth.{unit.name}.{task}": report for task, report in move(there, unit, life).items()}
            life.turn()
    for unit in run.graph.producers:
        reports[f"switch_producers.{unit.name}"] = switch.switch_producers(run, unit=unit.name)
    for unit in run.graph.readers:
        if unit.held:
            reports[f"hold_{unit.name}"] = switch.hold(run, unit=unit.name)
    reports["cutover"] = until_done(cutover, run, meanwhile=life.turn, stage=FIRST_STAGE)
    for unit in run.graph.readers:
        if not in_order and not run.seconds:
            reports |= {f"forth.{unit.name}.{task}": report for task, report in move(there, unit, life).items()}
        reports |= {f"{unit.name}.{task}": report for task, report in move(run, unit, life).items()}
    return _closed(run, reports, life)


def _closed(run: Run, reports: dict[str, StepReport], life: Life) -> dict[str, StepReport]:
    reports["coverage"] = coverage.coverage(run)
    reports["evidence"] = closing.closing_look(run)
    assert stopping(reports["evidence"]) == set()
    closing.finish(run)
    life.turn()
    return reports


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


def verify(run: Run) -> StepReport:
    """The steps of a verification that read, as its tasks carry them out: what goes between them is JSON."""
    shares = json.loads(json.dumps(proving.ranges(run).data["shares"]))
    for share in shares:
        proving.compare(run, share=share)
    return proving.proof(run)


def found(report: StepReport, finding: str) -> Finding:
    """The finding of that id, the only one."""
    [one] = [f for f in report.findings if f.id == finding]
    return one


def stopping(report: StepReport) -> set[str]:
    return {f.id for f in report.findings if f.stops}
