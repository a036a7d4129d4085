"""MirrorMaker 2 on a Kafka Connect cluster: one MirrorSourceConnector, run by Connect's REST API.

It is created stopped, with the offsets from which it copies, so that what is copied is exactly a declared range
(KIP-980 and KIP-875; tried). No other connector is needed: groups are handed over by this product, exactly, and
MirrorMaker's own offset sync would write over what was handed over.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from kafka_migration.clusters.identity import identify
from kafka_migration.errors import MirrorError
from kafka_migration.findings import Finding, Status
from kafka_migration.mirror import flow_checks
from kafka_migration.mirror.flow import Flow, connector_config
from kafka_migration.mirror.others import spoilers
from kafka_migration.mirror.properties import SOURCE_CONNECTOR, at_least_once, shown
from kafka_migration.mirror.rest import HALTED, Connect
from kafka_migration.mirror.runner import Watched, to_set
from kafka_migration.mirror.syncs import keep_syncs
from kafka_migration.offsets import Offsets
from kafka_migration.report import Change

_CHANGED_WITHIN = 60.0
_RESTARTED_WITHIN = 5.0
_OLDEST = (3, 7)  # creates a connector stopped (KIP-980) and takes its offsets (KIP-875)
_AT_LEAST_ONCE = "mirror-worker/at-least-once"


class ConnectMirror:
    """A flow on one Kafka Connect cluster."""

    def __init__(self, flow: Flow, connect: Connect) -> None:
        self._flow = flow
        self._connect = connect
        self.name = flow.name
        self.syncs_topic = flow.syncs_topic

    def __str__(self) -> str:
        return f"mirror {self.name}"

    @property
    def watched(self) -> Watched:
        return Watched("connect", self.name, self._flow.origin_alias)

    def copy_of(self, topic: str) -> str:
        """What the topic is called on the cluster that it is copied to."""
        return self._flow.copy_of(topic)

    def check(self) -> list[Finding]:
        findings = [*self._worker(), *spoilers(self._flow, self._connect), *flow_checks.syncs(self._flow)]
        if not any(f.stops for f in findings):
            how = "at least once" if any(f.id == _AT_LEAST_ONCE for f in findings) else "exactly once"
            told = f"{self._connect}, version {self._connect.version()}, copies {how}"
            findings.insert(0, Finding("mirror-worker/all", Status.PASS, told))
        return findings

    def _worker(self) -> list[Finding]:
        connect, flow = self._connect, self._flow
        worker, wanted = connect.cluster_id(), identify(flow.destination).cluster_id
        findings = []
        if worker != wanted:
            findings.append(
                Finding(
                    "mirror-worker/cluster",
                    Status.FAIL,
                    f"{connect} belongs to cluster {worker}",
                    f"{wanted}, the {flow.destination.side} cluster: only there it can write exactly once",
                    "name a Kafka Connect cluster whose own cluster is the one that it copies to",
                )
            )
        version = connect.version()
        if _kafka_version(version) < _OLDEST:
            findings.append(
                Finding(
                    "mirror-worker/version",
                    Status.FAIL,
                    f"{connect} is of version {version}",
                    "Kafka 3.7 or newer: it creates connectors stopped, and is told from where they copy",
                    "update its workers",
                )
            )
        if SOURCE_CONNECTOR not in connect.plugins():
            findings.append(
                Finding(
                    "mirror-worker/plugin",
                    Status.FAIL,
                    f"{connect} does not know {SOURCE_CONNECTOR}",
                    "MirrorMaker among its plugins",
                    "put connect-mirror and connect-mirror-client on its workers' plugin path",
                )
            )
            return findings
        return findings + self._configuration()

    def _configuration(self) -> list[Finding]:
        """What Connect finds wrong, what it does not look at, and what is right and without effect.

        Connect takes a connector without topics: it then runs without a task, and copies nothing (measured).
        """
        connect, flow = self._connect, self._flow
        if not flow.topics:
            return [flow_checks.no_topics()]
        config = connector_config(flow, flow.topics)
        problems = connect.validate({"name": self.name, **config})
        findings = [
            Finding(
                f"mirror-config/{key}", Status.FAIL, "; ".join(errors), "a configuration that Connect takes", _mend(key)
            )
            for key, errors in sorted(problems.items())
        ]
        return [*findings, *self._at_least_once(config), *flow_checks.effects(flow), *flow_checks.sizes(flow)]

    def _at_least_once(self, config: Mapping[str, str]) -> list[Finding]:
        """Where the plan does not insist on exactly once: whether the workers can do no better."""
        key = "exactly.once.support"
        if not at_least_once(self._flow.properties):
            return []
        if key not in self._connect.validate({"name": self.name, **config, key: "required"}):
            return []
        return [
            Finding(
                _AT_LEAST_ONCE,
                Status.WARN,
                "a worker that is killed copies again what it has copied since it last stored how far it had come",
                "every message once",
                "the plan asks for it, and what is repeated is counted and named; without repeats:"
                " exactly.once.source.support=enabled on every worker",
            )
        ]

    def create(self, begins: Offsets) -> list[Change]:
        topics = sorted({tp.topic for tp in begins})
        keep_syncs(self._flow)
        config = connector_config(self._flow, topics)
        there = self._connect.config(self.name)
        if there is None:
            self._connect.create_stopped(self.name, config)
            self._await_stopped()
            self._refuse_leftovers(begins)
            before = "absent"
        else:
            there.pop("name", None)
            known = self._connect.positions(self.name)
            missing = to_set(begins, known)
            if there == config and not missing:
                return []
            self.stop()
            self._connect.configure(self.name, config)
            changed = [key for key in sorted(config) if there.get(key) != config[key]]
            before = "; ".join(f"{key}={shown(key, there)}" for key in changed) or "there"
        new = to_set(begins, self._connect.positions(self.name))
        self._connect.set_positions(self.name, self._flow.origin.side.value, new)
        return [Change(f"connector {self.name}", before, f"copies {len(topics)} topics, stopped until it is started")]

    def _refuse_leftovers(self, begins: Offsets) -> None:
        """Connect keeps the offsets of a connector that is deleted, and gives them to the next of its name (measured).

        Whether their messages are on the destination nobody can tell from here.
        """
        further = {tp: at for tp, at in self._connect.positions(self.name).items() if at > begins.get(tp, at)}
        if further:
            self._connect.forget(self.name)
            raise MirrorError(
                f"a connector {self.name} was deleted and its offsets were not: {_listed(further)}. A new one would go"
                " on there, and leave out what lies before, though it may not be on the destination. To copy everything"
                " anew: empty the topics there, create a stopped connector of this name, DELETE its offsets, and delete"
                " it. To go on: create it as it was."
            )

    def resume(self) -> None:
        """Returns when Connect says so too: until then it says STOPPED, which would pass for somebody's doing."""
        self._connect.resume(self.name)
        self._await("started", lambda state, tasks: state not in HALTED)

    def stop(self) -> None:
        if self._connect.config(self.name) is None:
            return
        self._connect.stop(self.name)
        self._await_stopped()
        self._connect.fence(self.name, self._flow.origin.side.value)

    def state(self) -> str:
        return self._connect.state(self.name)[0]

    def restart_failed(self) -> list[str]:
        failed = sorted(self._connect.progress(self.name).failures)
        if failed:
            self._connect.restart_failed(self.name)
            self._await_restarted(failed)
        return failed

    def remove(self) -> None:
        self.stop()
        self._connect.remove(self.name)

    def _await_restarted(self, failed: Sequence[str]) -> None:
        """Connect tells of the old failure for a moment still, which would pass for a new one."""
        deadline = time.monotonic() + _RESTARTED_WITHIN
        while time.monotonic() < deadline and set(failed) & self._connect.progress(self.name).failures.keys():
            time.sleep(0.1)

    def _await_stopped(self) -> None:
        self._await("stopped", lambda state, tasks: state == "STOPPED" and not tasks)

    def _await(self, what: str, done: Callable[[str, int], bool]) -> None:
        deadline = time.monotonic() + _CHANGED_WITHIN
        while True:
            state, tasks = self._connect.state(self.name)
            if done(state, tasks):
                return
            if time.monotonic() > deadline:
                raise MirrorError(
                    f"connector {self.name} has not {what} within {_CHANGED_WITHIN:.0f} s: it is {state} with"
                    f" {tasks} tasks. Look at the log of its worker, then clear this task."
                )
            time.sleep(0.1)


def _mend(key: str) -> str:
    """What to do about a property that Connect refuses."""
    if key == "exactly.once.support":
        return "set exactly.once.source.support=enabled on every worker"
    if key.startswith("producer.override."):
        return "set connector.client.config.override.policy=All on every worker"
    return "correct mirror.properties in the plan"


def _kafka_version(told: str) -> tuple[int, ...]:
    """Major and minor. Confluent counts four more: its 7.7 is Kafka's 3.7."""
    major, minor = (int(number) for number in re.findall(r"\d+", told)[:2])
    return (major - 4 if "-c" in told else major, minor)


def _listed(offsets: Offsets) -> str:
    told = [f"{tp} at {offset:,}" for tp, offset in sorted(offsets.items())]
    return ", ".join(told[:5]) + (f" and {len(told) - 5} more" if len(told) > 5 else "")
