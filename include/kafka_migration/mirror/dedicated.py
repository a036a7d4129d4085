"""MirrorMaker 2 as a process of its own: the classic properties file and start, run as a service by its controller.

It has no REST. How far it has come is read from its topic of offsets; from where it shall copy is written there while
it does not run, before its first start, so that what is copied is exactly a declared range (tried). Whether it runs is
asked of its controller.

A start begins with everything in the properties file. So whoever starts it after it was stopped for good must copy
nothing: the file then says that the way is not enabled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kafka_migration.errors import MirrorError
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import flow_checks, host, properties_file
from kafka_migration.mirror.flow import Flow
from kafka_migration.mirror.properties import Reader, connector_properties, worker_properties
from kafka_migration.mirror.runner import Watched, to_set
from kafka_migration.mirror.stored_offsets import (
    forget_positions,
    make_topic,
    offsets_topic,
    read_positions,
    shut_out,
    write_positions,
)
from kafka_migration.mirror.syncs import keep_syncs
from kafka_migration.offsets import Offsets
from kafka_migration.report import Change
from kafka_migration.services.controller import Controller, State


@dataclass(frozen=True)
class Installation:
    """Where MirrorMaker is and what it is given. `listener`: where its processes reach each other.

    `java`, `archive` with `sha512`: what is looked at before it is started, where the plan names it.
    """

    properties_file: Path
    listener: str
    java: str | None = None
    archive: str | None = None
    sha512: str | None = None


class DedicatedMirror:
    """A flow in a MirrorMaker process of its own. The flow's aliases are the plan's own: no other process joins it."""

    def __init__(self, flow: Flow, installation: Installation, controller: Controller) -> None:
        self._flow = flow
        self._installation = installation
        self._file = installation.properties_file
        self._controller = controller
        self.name = flow.name
        self.syncs_topic = flow.syncs_topic

    def __str__(self) -> str:
        return f"mirror {self.name}"

    @property
    def watched(self) -> Watched:
        return Watched("dedicated", self.name, self._flow.origin_alias)

    def copy_of(self, topic: str) -> str:
        """What the topic is called on the cluster that it is copied to."""
        return self._flow.copy_of(topic)

    def check(self) -> list[Finding]:
        findings = [*self._host(), *self._program(), *flow_checks.effects(self._flow, Reader.WORKER)]
        findings += flow_checks.syncs(self._flow)
        findings += flow_checks.sizes(self._flow) if self._flow.topics else [flow_checks.no_topics()]
        if not any(f.stops for f in findings):
            told = f"MirrorMaker, {self._controller.observe().state} now, with {self._file}; copies exactly once"
            findings.insert(0, Finding("mirror-worker/all", Status.PASS, told))
        return findings

    def _host(self) -> list[Finding]:
        own = self._installation
        found = host.check_folder(self._file)
        if own.java is not None:
            found += host.check_java(own.java)
        if own.archive is not None and own.sha512 is not None:
            found += host.check_archive(own.archive, own.sha512)
        return found

    def _program(self) -> list[Finding]:
        found = [
            Finding(
                "mirror-worker/controller",
                Status.FAIL,
                problem,
                "a program that can be started and stopped",
                "correct mirror.controller in the plan, or the program",
            )
            for problem in self._controller.check()
        ]
        if properties_file.is_foreign(self._flow, properties_file.read(self._file)):
            found.append(
                Finding(
                    "mirror-worker/properties_file",
                    Status.FAIL,
                    f"{self._file} was not written for this plan",
                    "no file, or this plan's own",
                    "name another mirror.properties_file, or move that one away if nothing needs it any more",
                )
            )
        return found

    def create(self, begins: Offsets) -> list[Change]:
        topics = sorted({tp.topic for tp in begins})
        destination, alias = self._flow.destination, self._flow.origin_alias
        before = properties_file.read(self._file)
        if properties_file.is_foreign(self._flow, before):
            raise MirrorError(
                f"{self._file} was not written for this plan, and another MirrorMaker may need it. Name another"
                " mirror.properties_file, or move that one away; then clear this task."
            )
        content = properties_file.render(self._flow, topics, self._installation.listener)
        keep_syncs(self._flow)
        make_topic(
            destination, alias, int(worker_properties(self._flow.properties)["offset.storage.replication.factor"])
        )
        if before == content and not to_set(begins, read_positions(destination, alias)):
            return []
        self._halt()
        known = read_positions(destination, alias)
        if before is None:
            self._refuse_leftovers(begins, known)
        write_positions(destination, alias, to_set(begins, known))
        properties_file.put(self._file, content)
        told = f"copies {len(topics)} topics, stopped until it is started"
        return [Change(f"{self._file}", "absent" if before is None else "of another range or stopped for good", told)]

    def _refuse_leftovers(self, begins: Offsets, known: Offsets) -> None:
        """Whether the messages before a stored offset are on the destination nobody can tell from here."""
        further = [str(tp) for tp, at in sorted(known.items()) if at > begins.get(tp, at)]
        if further:
            raise MirrorError(
                f"{self._file} is gone, and the offsets of its MirrorMaker are not: it would go on behind what shall be"
                f" copied, on {', '.join(further[:5])}. To copy everything anew: empty the topics on the destination"
                f" and delete {offsets_topic(self._flow.origin_alias)} there. To go on: put the file back as it was."
            )

    def resume(self) -> None:
        side = self._flow.destination.side
        seen = self._controller.observe()
        if seen.state is State.RUNNING and (seen.side is not side or self._controller.configured_for(side)):
            self._controller.stop()
        self._controller.configure(side)
        self._controller.start_at_boot(True)
        self._controller.start()

    def stop(self) -> None:
        content = properties_file.read(self._file)
        if properties_file.is_foreign(self._flow, content):
            if self._controller.observe().state is State.STOPPED:
                return
            raise MirrorError(
                f"{self._file} was not written for this plan any more, and its program runs: nobody can tell what it"
                " copies. Stop the program by hand, put the file away, and clear this task."
            )
        ended = properties_file.render(self._flow, self._flow.topics, self._installation.listener, enabled=False)
        if content not in (None, ended):
            properties_file.put(self._file, ended)
        self._controller.start_at_boot(False)
        self._halt()

    def _halt(self) -> None:
        self._controller.stop()
        tasks = int(connector_properties(self._flow.properties)["tasks.max"])
        shut_out(self._flow.destination, self._flow.origin_alias, tasks)

    def state(self) -> str:
        return self._controller.observe().state.upper()

    def restart_failed(self) -> list[str]:
        if self._controller.observe().state is not State.STOPPED:
            return []
        self._controller.start()
        return [str(self)]

    def remove(self) -> None:
        self.stop()
        forget_positions(self._flow.destination, self._flow.origin_alias)
        self._file.unlink(missing_ok=True)
