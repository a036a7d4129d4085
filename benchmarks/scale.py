"""What each step of a migration costs from 10 to 10,000 partitions, beside what the brokers take for the same requests.

Fresh clusters for each size; everything on them is made through the bare client, and the steps are those of the DAG,
called as its tasks call them: records as JSON, the report as lines and as evidence. What a person or a program does in
between is not here: services are `manual`, nobody restarts anything. A lag that is not Kafka's own ends the benchmark.
"""

from __future__ import annotations

import importlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import IsolationLevel
from confluent_kafka.admin import OffsetSpec
from rich.console import Console
from rich.table import Table

from benchmarks import group_command, picture
from benchmarks.failed import BenchmarkFailed
from benchmarks.many import PARTITIONS_EACH, Bare, Many, Size
from benchmarks.pair import Pair, two_clusters
from demo import paths
from kafka_migration.clusters.client import Clusters
from kafka_migration.plan.graph import FIRST_STAGE
from kafka_migration.plan.load import load_plan
from kafka_migration.records import MemoryRecords
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.services.registry import build_controllers
from kafka_migration.steps import coverage, preflight, seeds, topics
from kafka_migration.steps.cutover import cutover
from kafka_migration.steps.drain import drained
from kafka_migration.waiting import Look, Outcome

LARGEST = 10_000
_ROUNDS = 2
_HEAP = "1g"
_ON_TARGET = 2  # messages in each partition, written behind the seeds
_BOTH = (OffsetSpec.earliest(), OffsetSpec.latest())
T = TypeVar("T")

PLAN = "plan read"
PREFLIGHT = "preflight"
CREATE = "topics created, compared"
SEEDS = "seeds set, read back"
PARITY = "topics compared again"
CUTOVER = "cutover point frozen"
PREPARED = "drain prepared"
LAG = "lag of all groups"
LAG_AGAIN = "the same, nothing new"
SETTLED = "drain settled"
COVERAGE = "coverage counted, judged"
_DRAWN = (PREFLIGHT, CREATE, SEEDS, LAG, COVERAGE)
COMMAND = "kafka-consumer-groups"
STEPS = (PLAN, PREFLIGHT, CREATE, SEEDS, PARITY, CUTOVER, PREPARED, LAG, LAG_AGAIN, SETTLED, COVERAGE)


@dataclass
class Measured:
    """One size: by step the seconds of the product, and of the bare client for the same requests where it was asked.

    `command`: seconds of Kafka's own tool for the lag of all groups; `java`: those of its start alone.
    """

    size: Size
    seconds: dict[str, float] = field(default_factory=dict)
    bare: dict[str, float] = field(default_factory=dict)
    command: float = 0.0
    java: float = 0.0


def run(console: Console, scale: float = 1.0, *, documented: bool = False) -> None:
    """`documented`: draw the picture of the documentation, instead of one beside what the demo writes."""
    found = []
    for partitions in sizes(scale):
        with two_clusters(heap=_HEAP) as pair:
            found.append(measure(pair, Many(Size(partitions))))
        console.print(f"  {partitions:,} partitions measured")
    console.print(_table(found))
    console.print(_lag_line(found[-1]))
    pictures = paths.checkout() / "docs" / "pictures" if documented else paths.state_folder()
    file = pictures / "scale.svg"
    picture.draw(_lines(found), file)
    console.print(f"the picture is {file}", soft_wrap=True)


def sizes(scale: float) -> list[int]:
    """10, 100, 1,000 and 10,000 partitions, as far as the scale goes: whole topics."""
    largest = max(1, int(LARGEST * scale) // PARTITIONS_EACH) * PARTITIONS_EACH
    return [size for size in (10, 100, 1_000, 10_000) if size < largest] + [largest]


def measure(pair: Pair, many: Many, rounds: int = _ROUNDS) -> Measured:
    """Every step once, in the order of the DAG; the lag, and Kafka's own, the best of some rounds."""
    importlib.import_module("great_expectations")  # 4 s, once in a process
    found = Measured(many.size)
    source, target = Bare(pair.source.bootstrap_servers), Bare(pair.target.bootstrap_servers)

    # The source is made by the bare client: that is what creating topics and setting offsets takes without the product.
    created = _timed(lambda: source.create(many.topics))
    source.fill(many.partitions, many.messages)
    set_offsets = _timed(lambda: source.commit(many.commits(many.messages, many.behind)))

    file = many.write_plan(pair.folder)
    found.seconds[PLAN] = _timed(lambda: load_plan(file))
    step = _Step(pair, file, found)

    found.bare[PREFLIGHT] = _timed(lambda: _look_around(source, target, many))
    step.act(PREFLIGHT, preflight.preflight)

    described = _timed(lambda: (source.list_topics(), source.settings(many.topics)))
    found.bare[CREATE] = created + 2 * described
    step.act(CREATE, topics.create)

    step.act(SEEDS, seeds.seed)
    read = _timed(
        lambda: (
            source.offsets(many.partitions, *_BOTH),
            target.offsets(many.partitions, OffsetSpec.latest()),
            source.committed(many.reads),
            target.committed(many.reads),
        )
    )
    found.bare[SEEDS] = read + set_offsets

    found.bare[PARITY] = 2 * described
    step.act(PARITY, topics.parity)
    target.fill(many.partitions, _ON_TARGET)
    target.commit(many.commits(_ON_TARGET))

    found.bare[CUTOVER] = 2 * _timed(lambda: _ends(source, many))
    step.cut_over()

    _drain(pair, many, step, source, rounds)

    found.bare[COVERAGE] = _timed(lambda: _counted(source, target, many))
    step.act(COVERAGE, coverage.coverage)
    return found


class _Step:
    """The run of one plan, and its steps one after the other, each timed."""

    def __init__(self, pair: Pair, file: Path, found: Measured) -> None:
        loaded = load_plan(file)
        clusters = Clusters(pair.source, pair.target)
        controllers = build_controllers(loaded.plan, clusters.addresses, lambda connection: {})
        log = logging.getLogger("benchmarks.scale")
        self.run = Run(loaded.plan, "migrate", "bench", clusters, controllers, MemoryRecords(), log=log)
        self.found = found

    def act(self, name: str, step: Callable[[Run], StepReport]) -> None:
        self.take(name, lambda: _kept(step(self.run)))

    def take(self, name: str, deed: Callable[[], T]) -> T:
        done, self.found.seconds[name] = _took(deed)
        return done

    def cut_over(self) -> None:
        """Two looks, as many as it takes at least; the quiet time between them is the plan's, not the product's."""
        began = time.monotonic()
        brief = cutover.prepare(self.run, {"stage": FIRST_STAGE})
        look = cutover.look(self.run.clusters, brief, {}, 0.0)
        look = cutover.look(self.run.clusters, brief, look.memory, 10.0)
        if look.outcome is not Outcome.DONE:
            raise BenchmarkFailed(f"the ends do not rest: {look.lines}")
        _kept(cutover.settle(self.run, brief, look))
        self.found.seconds[CUTOVER] = time.monotonic() - began


def _drain(pair: Pair, many: Many, step: _Step, source: Bare, rounds: int) -> None:
    """All services drain: prepared, looked at while each group has something left and Kafka's own tool too, settled."""
    found, clusters = step.found, step.run.clusters
    readers = [service.name for service in step.run.plan.services if service.consumes]
    briefs = step.take(PREPARED, lambda: {name: drained.prepare(step.run, {"service": name}) for name in readers})
    looks: dict[str, Look] = {}
    lag, again, own, bare = [], [], [], []
    for _ in range(rounds):
        bare.append(_timed(lambda: (source.offsets(many.partitions, *_BOTH), source.committed(many.reads))))
        first, seconds = _took(lambda: _look(clusters, briefs, {}))
        lag.append(seconds)
        looks, seconds = _took(lambda seen=first: _look(clusters, briefs, seen))
        again.append(seconds)
        described = group_command.describe_all_groups(pair.source.bootstrap_servers)
        own.append(described.seconds)
        same_lag(many, _lag_of(looks), described.lag)
    found.seconds[LAG], found.seconds[LAG_AGAIN] = min(lag), min(again)
    found.bare[LAG] = found.bare[LAG_AGAIN] = min(bare)
    found.command = min(own)
    found.java = min(group_command.seconds_to_start() for _ in range(rounds))
    source.commit(many.commits(many.messages))
    looks = _look(clusters, briefs, looks)
    found.bare[SETTLED] = _timed(
        lambda: (source.offsets(many.partitions, OffsetSpec.earliest()), source.committed(many.reads))
    )
    step.take(SETTLED, lambda: [_kept(drained.settle(step.run, briefs[name], looks[name])) for name in readers])


def _look(clusters: Clusters, briefs: Mapping[str, Mapping[str, Any]], before: Mapping[str, Look]) -> dict[str, Look]:
    """One look at every service, as its trigger takes it."""
    now = time.time()
    return {
        name: drained.look(clusters, brief, before[name].memory if name in before else {}, now)
        for name, brief in briefs.items()
    }


def _lag_of(looks: Mapping[str, Look]) -> dict[str, int]:
    return {group: samples[-1][1] for look in looks.values() for group, samples in look.memory["samples"].items()}


def same_lag(many: Many, own: Mapping[str, int], kafkas: Mapping[str, int]) -> None:
    """Raises `BenchmarkFailed` where one of them does not tell the lag that was made."""
    for whose, lag in (("this product", own), ("Kafka's own tool", kafkas)):
        differing = [group for group in many.lag if lag.get(group) != many.lag[group]]
        if differing or len(lag) != len(many.lag):
            first = differing[0] if differing else "none"
            raise BenchmarkFailed(
                f"{whose} tells of {len(lag)} groups with a lag of {sum(lag.values()):,} in all, not"
                f" {sum(many.lag.values()):,} of {len(many.lag)}; first that differs: {first} ({lag.get(first)})"
            )


def _look_around(source: Bare, target: Bare, many: Many) -> None:
    """What the preflight asks for through the admin client. Its other client's requests are not among it."""
    for bare in (source, target):
        bare.list_topics()
    source.settings(many.topics)
    source.offsets(many.partitions, *_BOTH)
    source.offsets(many.partitions, OffsetSpec.latest(), isolation=IsolationLevel.READ_COMMITTED)
    for bare in (source, target):
        bare.groups(list(many.reads))
        bare.committed(many.reads)
    target.try_to_create(many.topics)
    source.offsets(many.partitions, OffsetSpec.latest())


def _ends(bare: Bare, many: Many) -> None:
    bare.list_topics()
    bare.offsets(many.partitions, OffsetSpec.latest())
    bare.offsets(many.partitions, OffsetSpec.latest(), isolation=IsolationLevel.READ_COMMITTED)


def _counted(source: Bare, target: Bare, many: Many) -> None:
    source.committed(many.reads)
    target.committed(many.reads)
    source.offsets(many.partitions, OffsetSpec.earliest())
    target.offsets(many.partitions, OffsetSpec.earliest(), OffsetSpec.latest())
    target.offsets(many.partitions, OffsetSpec.latest(), isolation=IsolationLevel.READ_COMMITTED)
    # A group that has read all before is counted from there: of the source only what was left when the pass began.
    source.read(many.left, many.messages)
    target.read(dict.fromkeys(many.partitions, 0), _ON_TARGET)


def _kept(report: StepReport) -> None:
    """As a task does: told in the log, and written as evidence."""
    list(report.lines())
    json.dumps(report.to_json(), default=str)


def _took(deed: Callable[[], T]) -> tuple[T, float]:
    began = time.monotonic()
    done = deed()
    return done, time.monotonic() - began


def _timed(deed: Callable[[], object]) -> float:
    return _took(deed)[1]


def _table(found: list[Measured]) -> Table:
    table = Table(
        "seconds", *(f"{one.size.partitions:,}" for one in found), title="partitions, in brackets the brokers"
    )
    for name in STEPS:
        table.add_row(name, *(_cell(one, name) for one in found))
    table.add_row(COMMAND, *(f"{one.command:.2f} (Java {one.java:.2f})" for one in found))
    return table


def _lines(found: list[Measured]) -> picture.Lines:
    drawn = {name: [one.seconds[name] for one in found] for name in _DRAWN}
    compared = {f"{COMMAND}, of all groups": [one.command for one in found]}
    sizes = [one.size.partitions for one in found]
    return picture.Lines(sizes, drawn, compared, "partitions", "Seconds of each step of a migration")


def _cell(one: Measured, name: str) -> str:
    bare = f" ({one.bare[name]:.2f})" if name in one.bare else ""
    return f"{one.seconds[name]:.2f}{bare}"


def _lag_line(one: Measured) -> str:
    return (
        f"lag of {one.size.groups:,} groups: {one.command / one.seconds[LAG]:.1f} times as fast as Kafka's own tool,"
        f" {(one.command - one.java) / one.seconds[LAG]:.1f} without the start of its Java"
    )
