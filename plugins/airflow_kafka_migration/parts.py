"""The steps of the schemes as tasks of one plan's DAG. A DAG file names them in their order and holds nothing else.

Everything is made from the plan alone: no network, no Kafka client, so that Airflow's parser may call it at any time.
Tasks and groups carry the names of the plan's services, so that the graph is the runbook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import timedelta
from itertools import pairwise
from typing import Any, get_args

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    cross_downstream,
    get_parsing_context,
)
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict

from airflow_kafka_migration.approvals import PlanApproval, approval
from airflow_kafka_migration.broken import broken_dag
from airflow_kafka_migration.closing import EvidenceOperator, GateOperator
from airflow_kafka_migration.names import (
    DISORDER,
    DRY_RUN,
    FIRST_TASK,
    FULL,
    LEVEL,
    REASON,
    SEED,
    dag_id,
    parameters,
    purpose_of,
)
from airflow_kafka_migration.notifiers import BROKEN_NOTIFIERS, broken_notifiers, failure_notifiers
from airflow_kafka_migration.operators import DividingOperator, StepOperator, of_plan
from airflow_kafka_migration.sensors import WaitOperator
from airflow_kafka_migration.state import plan_asset
from kafka_migration.plan.graph import FIRST_STAGE, Unit
from kafka_migration.plan.load import BrokenPlan, LoadedPlan, load_plans
from kafka_migration.plan.model import Level, Plan
from kafka_migration.purposes import DRILL, FAILOVER, LOCKING, MIRROR, VERIFY
from kafka_migration.services.registry import is_idle, is_manual, is_manual_second, waits_for_person
from kafka_migration.sides import Side

Task = BaseOperator | MappedOperator | TaskGroup
Stage = Task | Sequence[Task | None] | None

_STEPS = "kafka_migration.steps"
_PATIENT_SERVICES = 16
_WATCHES_EVERY = 3.0
_PATIENCE = 20.0
"""A plan of few services waits this long in the worker before it defers: a short wait is then answered at once."""


def migration_dags(scheme: str, build: Callable[[Steps], None]) -> Iterator[DAG]:
    """The DAG `<plan>.migrate` of every plan of that scheme, each built by `build`."""
    for entry in _plans("migrate"):
        if isinstance(entry, LoadedPlan) and entry.plan.scheme == scheme:
            yield _built(entry, "migrate", Side.TARGET, build)


def kept_mirror_dags(purpose: str, build: Callable[[Steps], None], heading: Side = Side.TARGET) -> Iterator[DAG]:
    """The DAG `<plan>.<purpose>` of every plan that keeps a mirror, each built by `build`."""
    for entry in _plans(purpose):
        if isinstance(entry, LoadedPlan) and entry.plan.keeps_mirror:
            yield _built(entry, purpose, heading, build)


def rollback_dags(build: Callable[[Steps], None]) -> Iterator[DAG]:
    """The DAG `<plan>.rollback` of every plan that moves services, each built by `build`."""
    for entry in _plans("rollback"):
        if isinstance(entry, LoadedPlan) and not entry.plan.keeps_mirror:
            yield _built(entry, "rollback", Side.SOURCE, build)


def verification_dags(build: Callable[[Steps], None]) -> Iterator[DAG]:
    """The DAG `<plan>.verify` of every plan, each built by `build`."""
    for entry in _plans("verify"):
        if isinstance(entry, LoadedPlan):
            yield _built(entry, "verify", Side.TARGET, build)


def invalid_plan_dags() -> Iterator[DAG]:
    """The DAG `<name>.migrate` of every plan file that does not load: it shows why."""
    for entry in _plans("migrate"):
        if isinstance(entry, BrokenPlan):
            yield broken_dag(entry)


class Steps:
    """What a scheme is made of. Each method makes one task, or one group of tasks, and returns it.

    What the plan does not ask for is None; `in_order` leaves it out. `heading`: the side that services are moved to.
    """

    def __init__(self, loaded: LoadedPlan, dag: DAG, heading: Side) -> None:
        self._dag = dag
        self._heading = heading
        self._prefix = ""
        self._plan = loaded.plan
        self._graph = loaded.graph
        self._patience = _PATIENCE if len(loaded.plan.services) <= _PATIENT_SERVICES else 0.0
        self._judged: list[str] = []
        self._asked: list[str] = []

    @property
    def strict(self) -> bool:
        """Whether the plan keeps the order of every key."""
        return self._plan.order == "strict"

    @property
    def copied_back(self) -> bool:
        """Whether a rollback brings home by a mirror what was produced on the target."""
        return self._plan.copied_back

    @property
    def both_ways(self) -> bool:
        """Whether a kept mirror copies both ways: it then goes on while services come home."""
        return self._plan.prefixed

    @property
    def twice(self) -> bool:
        """Whether services that read have second instances."""
        return self._plan.scheme == "producers_later"

    def ways(self) -> list[Steps]:
        """The same steps for each way in which a kept mirror copies; for any other plan these."""
        return [self, self.toward(Side.SOURCE, "back.")] if self._plan.prefixed else [self]

    def toward(self, side: Side, prefix: str = "") -> Steps:
        """The same steps on the way to that side; the names of tasks that move consumers begin with `prefix`."""
        other = copy(self)
        other._heading, other._prefix = side, prefix
        return other

    def in_order(self, *stages: Stage) -> None:
        """Each stage after the one before it; the tasks of one stage side by side."""
        several = [stage if isinstance(stage, Sequence) else [stage] for stage in stages]
        listed = [found for stage in several if (found := [task for task in stage if task is not None])]
        for before, after in pairwise(listed):
            cross_downstream(before, after)

    def preflight(self) -> Task:
        """Reads everything, changes nothing, shows all findings."""
        return self._act(FIRST_TASK, "preflight:preflight")

    def look_at_survivor(self) -> Task:
        """Reads what is left when the source is gone, changes nothing, shows where every group would go on."""
        return self._act(FIRST_TASK, "failover:look")

    def approve_failover(self) -> Task:
        """Asks where the plan says so, and always where the source still answers."""
        return self._ask("approve_failover", "give the source up and follow the mirror?", "failover")

    def stop_flow(self) -> Task:
        """The mirror is stopped, and stays so when the source returns; how far it had come is the cutover point."""
        return self._act("stop_flow", "failover:stop")

    def set_groups(self) -> Task:
        """Every group is set on the target, where it skips nothing."""
        return self._act("set_groups", "failover:set_groups")

    def follow(self, unit: Unit) -> Task:
        """Starts the services of a unit on the target, their groups set before."""
        return self._act("start", "handover:start", unit=unit.name)

    def tail(self) -> Task:
        """What the source had taken and nobody had copied: found, and copied to the target where the plan says so."""
        return self._wait("tail", "tail:tail")

    def past_failover(self) -> Task:
        """Every group has read all that was copied before the failover: it is handed over behind the tail."""
        return self._wait("past_failover", "tail:past_failover")

    def copied(self) -> Task:
        """What one cluster had when its writers had stopped is on the other. The mirror goes on."""
        return self._wait("copied", "both_copied:copied")

    def drill(self) -> Task:
        """Copies of the groups, under other names, go on at the target and read there; then they are gone."""
        return self._act("drill", "drill:drill")

    def look_at_drill(self) -> Task:
        """What a failover would meet now, changes nothing."""
        return self._act(FIRST_TASK, "drill:look")

    def look_back(self) -> Task:
        """Reads everything, changes nothing, shows the way back."""
        return self._act(FIRST_TASK, "bringing:look" if self.copied_back else "back:look")

    def approve_rollback(self) -> Task:
        """Asks where the plan says so, and always before a return with disorder."""
        return self._ask(
            "approve_rollback", "take the migration back?", "bring_back" if self.copied_back else "rollback"
        )

    def begin(self) -> Task:
        """Decides who need not leave the source, and stops the writers there where others must."""
        return self._act("begin", "bringing:begin" if self.copied_back else "back:begin")

    def approve_topics(self) -> Task | None:
        return self._ask_if("topics", "approve_topics", "create the topics on the target?", "topics")

    def create_topics(self) -> Task:
        """Creates what is missing on the target and compares the rest."""
        return self._act("create_topics", "topics:create")

    def seed_groups(self) -> Task:
        """Sets every group's offsets on the target before anything is written there."""
        return self._act("seed_groups", "seeds:seed")

    def approve_producers(self) -> Task | None:
        return self._ask_if("producers", "approve_producers", "switch the producers to the target?", "producers")

    def compare_topics(self) -> Task:
        """Compares once more; creates and seeds what the source has gained since."""
        return self._act("compare_topics", "topics:parity")

    def switch_producers(self) -> Task:
        """All services that only produce, a task for each unit; those that must wait for a processor are stopped."""
        with TaskGroup("switch_producers", tooltip=f"Producers move to the {self._heading}") as group:
            for unit in self._graph.producers:
                self.in_order(self.by_hand(unit), self._act(unit.name, "switch:switch_producers", unit=unit.name))
            for unit in self._graph.readers:
                if unit.held:
                    self._act(f"hold_{unit.name}", "switch:hold", unit=unit.name)
        return group

    def cutover(self, unit: Unit | None = None) -> Task | None:
        """Freezes the end offsets of what nobody writes any more where it was; None where a unit settles nothing."""
        if unit is not None and not unit.settles:
            return None
        return self._wait("cutover", "cutover:cutover", stage=unit.name if unit else FIRST_STAGE)

    def cutovers(self) -> Stage:
        """The end offsets of everything at once: all writers have stopped."""
        units = [unit.name for unit in self._graph.readers if unit.settles]
        return [self.cutover(), *(self._wait(f"cutover_{name}", "cutover:cutover", stage=name) for name in units)]

    def source_point(self) -> Task:
        """On the way back: the cutover point of the source, where it was not frozen yet."""
        return self._wait("source_point", "cutover:cutover", stage=FIRST_STAGE)

    def seconds(self, start: Callable[[Unit], None]) -> Task:
        """A group of tasks for each unit that reads, made by `start`, side by side."""
        with TaskGroup("seconds", tooltip=f"Instances start on the {self._heading} beside those that run") as all_of:
            for unit in self._graph.readers:
                with TaskGroup(unit.name, tooltip=", ".join(unit.services)):
                    start(unit)
        return all_of

    def move_readers(self, move: Callable[[Unit], None], name: str = "") -> Task:
        """A group of tasks for each unit that reads, made by `move`, behind the units that write what it reads."""
        with TaskGroup(
            name or "consumers", prefix_group_id=bool(name), tooltip="Each reading service moves when it has drained"
        ) as all_of:
            groups: dict[str, TaskGroup] = {}
            for unit in self._graph.readers:
                with TaskGroup(unit.name, tooltip=f"{', '.join(unit.services)} to the {self._heading}") as group:
                    move(unit)
                groups[unit.name] = group
            for unit in self._graph.readers:
                for name in {*unit.after, *unit.settles_after} & groups.keys():
                    groups[name] >> groups[unit.name]
        return all_of

    def drained(self, unit: Unit) -> Stage:
        """One task a service: nothing visible is left to its groups before the cutover point."""
        return [self._wait(f"drained{tail}", "drain:drained", service=name) for name, tail in self._readers(unit)]

    def confirm_drained(self, unit: Unit) -> Stage:
        """Where an application keeps its offsets itself, a person says that it has read everything."""
        return [
            self._ask(
                f"confirm_drained{tail}",
                f"has {name}, which keeps its own offsets, read everything?",
                "external_drained",
                service=name,
            )
            for name, tail in self._readers(unit)
            if any(c.offsets == "external" for c in self._plan.service(name).consumes)
        ]

    def approve_consumers(self, unit: Unit) -> Task | None:
        subject = f"switch {', '.join(unit.services)} to the {self._heading}?"
        return self._ask_if("consumers", "approve", subject, "consumers", unit=unit.name)

    def by_hand(self, unit: Unit) -> Stage:
        """Where a person changes a service: what to do. The switch then looks whether it is done."""
        manual = [service.name for service in map(self._plan.service, unit.services) if is_manual(service)]
        return [
            self._ask(f"by_hand_{name}", f"move {name} to the {self._heading} by hand", "by_hand", service=name)
            for name in manual
        ]

    def writers_by_hand(self) -> Task | None:
        """Where a person stops a service that writes, before the others are stopped; None where there is none."""
        manual = [s.name for s in self._plan.services if s.produces and is_manual(s)]
        if not manual:
            return None
        with TaskGroup("stop_by_hand", tooltip="Services that write are stopped by hand") as group:
            for name in manual:
                self._ask(name, f"stop {name} on the {self._heading.other} by hand", "stop_by_hand", service=name)
        return group

    def stop_by_hand(self, unit: Unit) -> Stage:
        """Where a person stops a service that only reads, before its unit is handed over."""
        manual = [s.name for s in map(self._plan.service, unit.services) if is_manual(s) and not s.produces]
        return [
            self._ask(
                f"stop_by_hand_{name}",
                f"stop {name} on the {self._heading.other} by hand",
                "stop_by_hand",
                service=name,
            )
            for name in manual
        ]

    def start_by_hand(self, unit: Unit) -> Stage:
        """Where a person starts the other instance of a service."""
        by_hand = is_manual_second if self._heading is Side.TARGET else is_manual
        return [
            self._ask(f"by_hand_{name}", f"start {name} on the {self._heading} by hand", "second_by_hand", service=name)
            for name, _ in self._readers(unit)
            if by_hand(self._plan.service(name))
        ]

    def start(self, unit: Unit) -> Task:
        """Starts the instances of a unit beside those that run, their groups seeded before."""
        return self._act("start", "seconds:start", unit=unit.name)

    def ready(self, unit: Unit) -> Stage:
        """Their groups are stable and own every partition, before anything is written that they must read."""
        return [self._wait(f"ready{tail}", "consuming:ready", service=name) for name, tail in self._readers(unit)]

    def keeping_up(self) -> Task:
        """One task a service: its groups read, and their backlog does not keep growing against the rate of writing."""
        with TaskGroup("keeping_up", tooltip=f"Consumption on the {self._heading} is normal") as all_of:
            for unit in self._graph.readers:
                for name, _ in self._readers(unit):
                    self._wait(name, "consuming:keeping_up", service=name)
        return all_of

    def approve_close(self, unit: Unit) -> Task | None:
        subject = f"close {', '.join(unit.services)} on the {self._heading.other}?"
        if self._heading is Side.SOURCE:
            return None  # a rollback was approved as a whole
        return self._ask_if("close_originals", "approve", subject, "close_originals", unit=unit.name)

    def close_by_hand(self, unit: Unit) -> Stage:
        """Where a person closes the instance that is left."""
        by_hand = is_manual if self._heading is Side.TARGET else is_manual_second
        return [
            self._ask(
                f"close_by_hand_{name}",
                f"close {name} on the {self._heading.other} by hand",
                "close_by_hand",
                service=name,
            )
            for name, _ in self._readers(unit)
            if by_hand(self._plan.service(name))
        ]

    def close_instances(self, unit: Unit) -> Task:
        """Reads ends again, stops the instances that are left, and keeps them from starting at boot."""
        return self._act("close", "seconds:close", unit=unit.name)

    def switch(self, unit: Unit) -> Task:
        """Reads ends and seeds again, stops, reconfigures, starts, and looks where the services really are."""
        return self._act("switch", "switch:switch_consumers", unit=unit.name)

    def consuming(self, unit: Unit) -> Stage:
        """The groups are stable, own every partition, and their commits advance."""
        return [
            self._wait(f"consuming{tail}", "consuming:consuming", service=name)
            for name, tail in self._readers(unit)
            if not is_idle(self._plan.service(name))
        ]

    def hold_retention(self) -> Task:
        """Keeps the target from deleting or compacting what is copied to it, until the verdict."""
        return self._act("hold_retention", "holding:hold")

    def lift_holds(self) -> Task | None:
        """Runs only after a PASS: what was held is kept and deleted as on the source again."""
        if not self._plan.copies and not self._plan.history:
            return None
        return self._act("lift_holds", "holding:lift", judged=False)

    def start_mirror(self) -> Task:
        """Creates the mirror stopped, with the offsets from which it copies, and lets it run."""
        return self._act("start_mirror", "mirroring:start")

    def keep_preflight(self) -> Task:
        """Of a mirror that is kept: what must be true for that, and no more."""
        return self._act(FIRST_TASK, "keeping:preflight")

    def keep_topics(self) -> Task:
        """Creates on the target what the source has gained."""
        return self._act("create_topics", "keeping:create_topics")

    def keep_mirror(self) -> Task:
        """Lets the mirror run as the plan has it, and tells what somebody else has done to it."""
        return self._act("start_mirror", "keeping:start_mirror")

    def watch(self) -> Task:
        """Looks after the mirror until the next run does."""
        return self._wait("watch", "watching:watch", looks_every=_WATCHES_EVERY)

    def start_home(self) -> Task:
        """The same to the source, behind what it had taken and nobody had copied."""
        return self._act("start_mirror", "tail:start_mirror")

    def caught_up(self) -> Task:
        """The stored messages are copied; the mirror keeps up with what is written."""
        return self._wait("caught_up", "mirroring:caught_up")

    def rehearse(self) -> Task:
        """Computes and proves where every group would go on; sets nothing."""
        return self._act("rehearse", "handover:rehearse")

    def verify_synchronisation(self) -> Task:
        """Topics are listed, a canary arrives, every group's place on the target is known."""
        return self._wait("verify_synchronisation", "synchronisation:verify_synchronisation")

    def approve_handover(self) -> Task | None:
        return self._ask_if("handover", "approve_handover", "stop the writers and hand the groups over?", "handover")

    def stop_writers(self) -> Task:
        """Every service that writes a topic of the plan is stopped."""
        return self._act("stop_writers", "handover:stop_writers")

    def stop_mirror(self) -> Task:
        """Everything before the cutover point is copied; the mirror is stopped for good, its last messages proved."""
        return self._wait("stop_mirror", "mirroring:stop_mirror")

    def export_offsets(self, unit: Unit) -> Task | None:
        """For applications that keep their offsets themselves: the table of offsets here and there, as a file."""
        if not any(self._plan.service(name).external for name in unit.services):
            return None
        return self._act("export_offsets", "exporting:export", unit=unit.name)

    def hand_over(self, unit: Unit) -> Task:
        """Stops the services, maps and proves where their groups go on, sets it, starts them there."""
        return self._act("handover", "handover:hand_over", unit=unit.name)

    def set_offsets(self, unit: Unit) -> Stage:
        """Where an application keeps its offsets itself, a person sets them, and says so."""
        return [
            self._ask(
                f"set_offsets_{name}",
                f"have the offsets that {name} keeps itself been set to the {self._heading}'s?",
                "external_offsets",
                service=name,
            )
            for name in unit.services
            if self._plan.service(name).external
        ]

    def start_there(self, unit: Unit) -> Task | None:
        """The start after a handover, where a person had something to do in between."""
        if not any(waits_for_person(self._plan.service(name)) for name in unit.services):
            return None
        return self._act("start", "handover:start", unit=unit.name)

    def compare_content(self) -> Task:
        """Every copied message is compared with its original."""
        return self._act("compare_content", "content:compare")

    def compare_followed(self) -> Task:
        """What had been copied until the failover is compared, as far as no verification has done it."""
        return self._act("compare_followed", "content:compare_followed")

    def start_history(self) -> Task | None:
        """What is stored begins to be copied under prefixed names, where the plan says so."""
        return self._act("start_history", "history:start") if self._plan.history else None

    def history(self) -> Task | None:
        """What is stored is copied up to the cutover point, and every copy compared with its original."""
        if not self._plan.history:
            return None
        with TaskGroup("history", tooltip="What is stored, under prefixed names") as group:
            self.in_order(self._wait("copied", "history:copied"), self._act("compare", "history:compare"))
        return group

    def stop_history(self) -> Task | None:
        """Nothing more of what is stored is copied."""
        return self._act("stop_history", "history:stop") if self._plan.history else None

    def coverage(self) -> Task:
        """Exact counts of what every group has read on both clusters, judged."""
        return self._act("coverage", "coverage:coverage")

    def drift(self) -> Task:
        """What has parted since the migration: writers, services and groups back on the source, topics, settings."""
        return self._act("drift", "verifying:drift")

    def ranges(self) -> DividingOperator:
        """Fixes what is looked at, and divides what has to be read of it by its size."""
        task = DividingOperator(
            task_id=self._named("ranges"), plan=self._plan.plan, step=f"{_STEPS}.proving:ranges", heading=self._heading
        )
        self._judged.append(task.task_id)
        return task

    def compare(self, ranges: DividingOperator) -> Task:
        """A task for each share: several workers verify faster than one."""
        plan = self._plan.plan
        task = StepOperator.partial(
            task_id=self._named("compare"),
            plan=plan,
            step=f"{_STEPS}.proving:compare",
            heading=self._heading,
            **of_plan(plan),
        ).expand(args=ranges.output)
        self._judged.append(task.task_id)
        return task

    def proof(self) -> Task:
        """What all shares have shown, and how far the groups have read since."""
        return self._act("proof", "proving:proof")

    def suites(self) -> Task | None:
        """Messages of the target, judged by the suites that the plan names."""
        return self._act("suites", "suites:judge") if self._plan.suites else None

    def evidence(self) -> Task:
        """Runs whatever happened: a last look, then everything that the steps left behind in one place."""
        self._evidence = task = EvidenceOperator(
            task_id="evidence",
            plan=self._plan.plan,
            judged=list(self._judged),
            asked=list(self._asked),
            heading=self._heading,
        )
        return task

    def gate(self) -> Task:
        """Its state is the verdict."""
        # After a failover there is nothing to compare with: the source is gone.
        announces = purpose_of(self._dag.dag_id) in LOCKING and purpose_of(self._dag.dag_id) != FAILOVER
        return GateOperator(
            task_id="gate",
            plan=self._plan.plan,
            heading=self._heading,
            announces=announces,
            on_failure_callback=failure_notifiers(),
        )

    def close(self) -> None:
        """Once all is in order: the evidence waits for every task, not only for the one before it.

        A task behind several others counts as ended when one of them has failed, though the rest still run.
        """
        for other in self._dag.tasks:
            if any(len(behind.upstream_task_ids) > 1 for behind in other.downstream_list):
                other >> self._evidence

    # -- below: how a task is made

    def _readers(self, unit: Unit) -> list[tuple[str, str]]:
        """The services of a unit that read, each with what its tasks' names end with."""
        names = [service.name for service in map(self._plan.service, unit.services) if service.consumes]
        return [(name, "" if len(names) == 1 else f"_{name}") for name in names]

    def _act(self, task_id: str, step: str, judged: bool = True, **args: Any) -> StepOperator:
        task = StepOperator(
            task_id=self._named(task_id),
            plan=self._plan.plan,
            step=f"{_STEPS}.{step}",
            args=args,
            heading=self._heading,
            # A step that fails is told with the verdict, and only what comes behind it by itself.
            on_failure_callback=[] if judged else failure_notifiers(),
        )
        if judged:  # what comes behind the verdict is no part of it
            self._judged.append(task.task_id)
        return task

    def _wait(self, task_id: str, step: str, looks_every: float | None = None, **args: Any) -> WaitOperator:
        """`looks_every`: seconds between two looks of a wait that is known to be long, and so left to the trigger."""
        task = WaitOperator(
            task_id=self._named(task_id),
            plan=self._plan.plan,
            step=f"{_STEPS}.{step}",
            args=args,
            heading=self._heading,
            patience=self._patience if looks_every is None else 0.0,
            poll=looks_every or 0.25,
        )
        self._judged.append(task.task_id)
        return task

    def _ask(self, task_id: str, subject: str, question: str, **args: Any) -> PlanApproval:
        where = self._named(task_id)
        task = approval(self._plan, where, subject, f"{_STEPS}.questions:{question}", args, self._heading)
        self._asked.append(task.task_id)
        return task

    def _named(self, task_id: str) -> str:
        return f"{self._prefix}{task_id}"

    def _ask_if(self, name: str, task_id: str, subject: str, question: str, **args: Any) -> PlanApproval | None:
        return self._ask(task_id, subject, question, **args) if name in self._plan.approvals else None


def _plans(purpose: str) -> Iterator[LoadedPlan | BrokenPlan]:
    """The plans that DAGs are wanted of: all for the parser; in a worker the one that its task belongs to."""
    needed = get_parsing_context().dag_id
    for entry in load_plans():
        name = entry.name if isinstance(entry, BrokenPlan) else entry.plan.plan
        if needed is None or needed == dag_id(name, purpose):
            yield entry


def _built(loaded: LoadedPlan, purpose: str, heading: Side, build: Callable[[Steps], None]) -> DAG:
    with _dag(loaded, purpose) as dag:
        steps = Steps(loaded, dag, heading)
        build(steps)
        steps.close()
    # Last: Airflow gives every task a copy of the parameters that the DAG has by then, and stores each. They would be
    # two fifths of the time of making a DAG (measured); a task that runs is told the DAG's all the same.
    dag.params = _parameters(loaded.plan, purpose)
    return dag


def _parameters(plan: Plan, purpose: str) -> ParamsDict:
    known = {
        DRY_RUN: Param(False, type="boolean", title="Dry run", description="Read and show everything, change nothing."),
        REASON: Param(
            None, type=["null", "string"], title="Reason", description="The change ticket, for the evidence."
        ),
        DISORDER: Param(
            False,
            type="boolean",
            title="Disorder",
            description="Consumers cannot run on the target: they stay on the source and go on there, though they have"
            " not read what is on the target. Always asked before.",
        ),
        FULL: Param(
            False,
            type="boolean",
            title="Full",
            description="Read again what was proved before, as far as both clusters still keep it.",
        ),
        LEVEL: Param(
            None,
            type=["null", "string"],
            enum=[None, *get_args(Level)],
            title="Level",
            description="How closely to look: offsets, counts, content, or a sample. Empty: as the plan says.",
        ),
        SEED: Param(
            None,
            type=["null", "integer"],
            title="Seed",
            description="By which a sample is chosen, to look at one that was chosen before. Empty: another one.",
        ),
    }
    return ParamsDict({name: known[name] for name in parameters(purpose, plan)})


def _dag(loaded: LoadedPlan, purpose: str) -> DAG:
    plan = loaded.plan
    return DAG(
        dag_id(plan.plan, purpose),
        description=plan.description,
        doc_md=_doc(loaded),
        schedule=_schedule(plan, purpose),
        catchup=False,
        # A second run is not queued behind the first: it starts, and is refused with the first one's run id. One that
        # verifies goes on where the one before it has ended. One that watches is relieved by the next while it does.
        max_active_runs=16 if purpose in LOCKING else 2 if purpose == MIRROR else 1,
        tags={"kafka migration", plan.scheme, *([BROKEN_NOTIFIERS] if broken_notifiers() else [])},
    )


def _schedule(plan: Plan, purpose: str) -> AssetOrTimeSchedule | CronTriggerTimetable | list[Asset] | None:
    """When a DAG runs without being asked. A verification: at its times, and after a gate that announces its PASS.

    A mirror begins as soon as its DAG is there and not paused; a drill waits for its time, when there is something to
    practise on. Airflow by itself would begin either when its last time was not long ago.
    """
    at = {MIRROR: plan.mirror.schedule, DRILL: plan.mirror.drill} if plan.mirror and plan.keeps_mirror else {}
    if (cron := at.get(purpose)) and not plan.decommissioned:
        return CronTriggerTimetable(cron, timezone="UTC", run_immediately=purpose == MIRROR or timedelta())
    if purpose != VERIFY or plan.verify is None or plan.decommissioned:
        return None
    ended = [plan_asset(plan.plan)]
    if plan.verify.schedule is None:
        return ended
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(plan.verify.schedule, timezone="UTC"), assets=ended)


def _doc(loaded: LoadedPlan) -> str:
    return f"{broken_notifiers()}{loaded.plan.description}\n\n```yaml\n{loaded.text}\n```\n"
