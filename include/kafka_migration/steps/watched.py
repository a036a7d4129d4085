"""One look of the watch at a mirror that is kept: what is seen, what it means, and what must be remembered of it.

It changes nothing of the plan's. It writes to the canary's topic and to the log of positions, and what has to be set
right is only named.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from confluent_kafka import KafkaException

from kafka_migration.clusters.client import CONNECT_TIMEOUT, Cluster, Clusters
from kafka_migration.errors import ClusterError, MirrorError, Refused
from kafka_migration.evidence.words import duration
from kafka_migration.findings import Finding, Status
from kafka_migration.groups.commits import committed
from kafka_migration.mirror import canary, positions
from kafka_migration.mirror.progress import progress as progress_of
from kafka_migration.mirror.runner import Progress
from kafka_migration.mirror.sight import Sight, look_at
from kafka_migration.offsets import Offsets, Which, from_json, read_offsets, to_json
from kafka_migration.passes import some
from kafka_migration.sides import Side
from kafka_migration.steps import keeping, remade
from kafka_migration.steps.pace import overtaken, progress_line, rates, remember
from kafka_migration.waiting import Look, Outcome

KEPT = 50
"""How many things that were done a watch remembers."""

_SILENT = 60.0  # seconds for which what does not answer is waited for
_STALLED = 300.0  # seconds in which nothing is copied though there is something
_FAILS_WITHIN, _FAILS = 600.0, 5  # a task that is started again more often within that time fails again and again
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
_LINE_EVERY = 30.0
_CARRIED = 1_000  # partitions of which the next run is told since when they stand still
_RUNS = ("RUNNING", "UNASSIGNED", "RESTARTING")
_NEAR = 1_000  # offsets: a mirror that is no further behind with the rest has time for a partition that stands still

T = TypeVar("T")


class WatchLook:
    """One look. What it must remember is in `memory`, and what could not be asked in `down`, with since when."""

    def __init__(self, clusters: Clusters, brief: Mapping[str, Any], memory: Mapping[str, Any], now: float) -> None:
        self.clusters, self.brief, self.now = clusters, brief, now
        self.memory = _took_over(_still_true(memory, now), brief)
        self.down: dict[str, list[Any]] = {what: list(since) for what, since in self.memory.get("down", {}).items()}
        self.numbers: dict[str, float] = {}
        self.lines: list[str] = []
        self.again: list[str] = []
        self.failed: list[str] = []
        self.relieved = False

    def look(self) -> Look:
        self.memory["flows"] = {
            side: self.flow(Side(side), flow, self.memory.get("flows", {}).get(side, {}))
            for side, flow in self.brief["flows"].items()
        }
        self.outages()
        return self.judged()

    def ask(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer, or None; what is known not to answer in this look is not asked again."""
        since = self.down.get(what)
        if since is not None and since[2] == self.now:
            return None
        try:
            answer = question()
        except (ClusterError, MirrorError) as error:
            self.down[what] = [since[0] if since else self.now, str(error).splitlines()[0], self.now]
            return None
        return answer

    def flow(self, side: Side, flow: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
        """One mirror; what is to be remembered of it."""
        clusters = replace(self.clusters, heading=side)
        origin, destination = side.other.value, side.value
        topics = self.ask(origin, lambda: topics_digest(clusters.origin))
        if topics not in (None, flow["topics"]):
            self.again.append(f"the topics of the {origin} are others than before")
        worker = f"Kafka Connect beside the {side}"
        starts = self.ask(origin, lambda: read_offsets(clusters.origin, from_json(flow["begins"]), Which.START))
        progress = self.ask(worker, lambda: progress_of(clusters, flow["mirror"]))
        digest = self.ask(worker, lambda: configuration(clusters, flow))
        kept = kept or flow["carried"]  # since when something stands still is known from the run before
        found: dict[str, Any] = dict(kept)
        if digest not in (None, flow["config"]):
            self.again.append(f"the configuration of {flow['mirror']['name']} was changed")
        if progress is not None:
            self.states(side, flow, progress)
        if progress is not None and starts is not None:
            seen = self.ask(origin, lambda: look_at(clusters.origin, flow, starts, progress, kept, self.now))
            if seen is not None:
                self.measured(side, flow, seen, found)
                if side is Side.TARGET:
                    self.note(clusters, flow, seen, found)
        if flow["copy"]:
            self.beat(side, clusters, flow, origin, destination, found)
        return found

    def states(self, side: Side, flow: Mapping[str, Any], progress: Progress) -> None:
        """What Connect says of the connector and its tasks."""
        name = flow["mirror"]["name"]
        self.numbers |= {
            f"mirror.to_{side}.tasks": float(progress.tasks),
            f"mirror.to_{side}.tasks_failed": float(len(progress.failures)),
        }
        if progress.failures:
            told = "; ".join(f"{task}: {keeping.reason(trace)}" for task, trace in progress.failures.items())
            self.lines.append(told)
            recent = [at for at in self.brief["restarts"] if self.now - at < _FAILS_WITHIN]
            if len(recent) >= _FAILS:
                times = f"{len(recent)} times in {duration(_FAILS_WITHIN)}"
                self.failed.append(f"{name} fails again and again, it was started again {times}: {told}")
            elif not recent or self.now - recent[-1] >= _pause(len(recent)):
                self.again.append("a task of the mirror has failed and is started again")
        elif progress.state not in _RUNS:
            self.again.append(f"{name} is {progress.state}: somebody has stopped it")
        elif progress.state == "RUNNING" and not progress.tasks:
            self.lines.append(f"{name} runs without a task")

    def measured(self, side: Side, flow: Mapping[str, Any], seen: Sight, found: dict[str, Any]) -> None:
        """How far it has come, and whether it goes on."""
        if others := self.ask(Side.TARGET.value, lambda: remade.look(self.clusters, flow["ids"], kept=True)):
            self.failed.append(remade.told(others))
        if lost := overtaken(seen.at, seen.starts, {}):
            self.failed.append(lost.why)
        found |= remember(found, sum(seen.at.values()), sum(seen.ends.values()), self.now)
        found |= {
            "lag": seen.lag,
            "void": to_json(seen.void),
            "behind": seen.behind,
            "worst": max(seen.behind, found.get("worst", 0)),
        }
        copied, written = rates(found["samples"])
        self.numbers |= {
            f"mirror.to_{side}.behind": float(seen.behind),
            f"mirror.to_{side}.copied_per_second": copied,
            f"mirror.to_{side}.written_per_second": written,
        }
        ahead = (
            "copied up to the end" if not seen.behind else progress_line(seen.behind, copied, written, flow["bytes"])
        )
        self.lines.append(f"to the {side}: {ahead}")
        still = seen.stalled(self.now, _STALLED)
        # What has moved of late keeps the mirror busy: it may come to the others later.
        found["busy"] = sum(end - at for at, end, since, _ in seen.lag.values() if self.now - since <= _STALLED)
        if still and found["busy"] <= _NEAR:
            self.failed.append(
                f"{flow['mirror']['name']} says that it runs, and has copied nothing of {some(still)} for"
                f" {duration(_STALLED)}, though there is more. Look at the log of its worker"
            )

    def note(self, clusters: Clusters, flow: Mapping[str, Any], seen: Sight, found: dict[str, Any]) -> None:
        """What groups have read goes to the log of positions, where it has changed."""
        commits = self.ask(Side.SOURCE.value, lambda: committed(clusters.source, self.brief["groups"]))
        if commits is None:
            return
        digests = {group: _by_topic(offsets) for group, offsets in commits.items()}
        before: Mapping[str, Mapping[str, str]] = found.get("noted", {})
        changed = {
            group: {
                tp: at for tp, at in offsets.items() if digests[group][tp.topic] != before.get(group, {}).get(tp.topic)
            }
            for group, offsets in commits.items()
        }

        me = positions.Watcher(self.memory.setdefault("began", self.now), self.brief["run"])

        def write() -> bool:
            # Two watch for a moment, so that none is missed; the older one ends when it sees the younger.
            newest = positions.newest_watcher(clusters.target, self.brief["log"])
            self.relieved = newest is not None and newest > me
            if not self.relieved:
                carry = {"lag": dict(list(seen.lag.items())[:_CARRIED]), "sent": found.get("sent", [])[:1]}
                positions.note(clusters.target, self.brief["log"], changed, seen.ends, seen.at, self.now, me, carry)
            return True

        if self.ask(Side.TARGET.value, write):
            found |= {"noted": digests, "noted_at": self.now}

    def beat(
        self,
        side: Side,
        clusters: Clusters,
        flow: Mapping[str, Any],
        origin: str,
        destination: str,
        found: dict[str, Any],
    ) -> None:
        """A canary, and those that have arrived."""
        arrived = self.ask(
            destination, lambda: canary.beats(clusters.destination, flow["copy"], found.get("heard"), self.now)
        )
        sent = self.ask(origin, lambda: canary.beat(clusters.origin, self.brief["canary"], time.time))
        if arrived is not None:
            beats, found["heard"] = arrived
            if beats:
                found["latency"] = round(max(beat.took for beat in beats), 3)
                found["slowest"] = max(found["latency"], found.get("slowest", 0.0))
                newest = max(beat.sent_at for beat in beats)
                found["sent"] = [at for at in found.get("sent", ()) if at > newest]
        if sent is not None:
            found["sent"] = [*found.get("sent", ()), sent][:KEPT]
        waits = self.now - found["sent"][0] if found.get("sent") else 0.0
        latency = max(waits, found.get("latency", 0.0)) if waits > _LINE_EVERY else found.get("latency")
        if latency is not None:
            self.numbers[f"mirror.to_{side}.latency"] = latency
            self.lines.append(f"to the {side}: a message needs {latency:.1f} s")
        if waits > _STALLED and not self.down and found.get("busy", 0) <= _NEAR:
            self.failed.append(
                f"{flow['mirror']['name']} says that it runs, and a canary that was sent {duration(waits)} ago has not"
                " arrived. Look at the log of its worker, and whether it may read and write the canary's topic"
            )

    def outages(self) -> None:
        """What has not answered for too long ends the watch, with what to do."""
        plan = self.brief["plan"]
        for what, (since, error, last) in sorted(self.down.items()):
            if last != self.now:  # every question of this look was answered
                self.keep_told(_outage(what, self.now - since, error))
                del self.down[what]
        for what, (since, error, _) in sorted(self.down.items()):
            silent = self.now - since
            self.lines.append(f"{_who(what)} has not answered for {silent:.0f} s")
            if silent >= _SILENT:
                advice = (
                    "The mirror has nowhere to copy to, and nothing could follow it there: bring the target back."
                    if what == Side.TARGET.value
                    else f"What is written to the source now is not copied. {keeping.if_lost(plan)}"
                )
                self.failed.append(f"{_who(what)} has not answered for {duration(silent)}: {error}\n{advice}")

    def judged(self) -> Look:
        self.numbers["mirror.down"] = float(len(self.down))
        memory = {**self.memory, "down": self.down, "looked": self.now}
        memory["told"] = _line(
            self.memory.get("told"), self.lines, bool(self.down or self.failed or self.again), self.now
        )
        lines = tuple(memory["told"][1])
        if self.failed:
            return Look(Outcome.FAILED, tuple(self.lines), memory, "\n".join(self.failed), self.numbers)
        if self.relieved:
            return Look(Outcome.DONE, lines, memory, "", self.numbers)
        if self.again and not self.down:
            return Look(Outcome.AGAIN, lines, memory, "; ".join(self.again), self.numbers)
        over = self.now >= self.brief["until"] and not self.down
        return Look(Outcome.DONE if over else Outcome.WAITING, lines, memory, "", self.numbers)

    def keep_told(self, told: Mapping[str, str]) -> None:
        self.memory["did"] = _added(self.memory.get("did", ()), [told])


def topics_digest(cluster: Cluster) -> str:
    """By what a look sees that topics or partitions have come or gone."""
    try:
        told = cluster.admin.list_topics(timeout=CONNECT_TIMEOUT).topics
    except KafkaException as error:
        raise cluster.error(error, "listing the topics") from None
    names = sorted((name, len(topic.partitions)) for name, topic in told.items() if not name.startswith("__"))
    return hashlib.sha256(repr(names).encode()).hexdigest()[:16]


def configuration(clusters: Clusters, flow: Mapping[str, Any]) -> str:
    if clusters.worker is None:
        raise Refused("this look was given no way to the mirror")
    return keeping.configuration_digest(clusters.worker, flow["mirror"]["name"])


def as_told(finding: Finding) -> dict[str, str]:
    return {"finding": finding.id, **finding.to_json()}


def _by_topic(offsets: Offsets) -> dict[str, str]:
    """A digest of what a group has committed, by topic: what was noted need not be remembered whole."""
    found: dict[str, list[tuple[int, int]]] = {}
    for tp, at in sorted(offsets.items()):
        found.setdefault(tp.topic, []).append((tp.partition, at))
    return {topic: hashlib.sha256(repr(each).encode()).hexdigest()[:12] for topic, each in found.items()}


def _pause(restarts: int) -> float:
    """How long a task that fails again is left alone."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (restarts - 1))


def _took_over(memory: Mapping[str, Any], brief: Mapping[str, Any]) -> dict[str, Any]:
    """The memory with what was done when the watch was last prepared."""
    if memory.get("prepared") == brief["prepared"]:
        return dict(memory)
    return {**memory, "prepared": brief["prepared"], "did": _added(memory.get("did", ()), brief["did"])}


def _still_true(memory: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Without what says nothing any more, where nobody has looked for long: its DAG was paused."""
    if now - memory.get("looked", now) <= _SILENT:
        return dict(memory)
    flows = {
        side: {key: value for key, value in flow.items() if key not in ("lag", "sent", "heard", "samples")}
        for side, flow in memory.get("flows", {}).items()
    }
    return {**memory, "flows": flows, "down": {}}


def _added(did: Sequence[Mapping[str, str]], more: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Each told once, the last ones of many."""
    return [*did, *(one for one in more if one not in did)][-KEPT:]


def _outage(what: str, seconds: float, error: str) -> dict[str, str]:
    return as_told(
        Finding(
            f"mirror-outage/{what.replace(' ', '-')}",
            Status.WARN,
            f"did not answer for {duration(seconds)}, and does again: {error}",
            "that it answers",
            "nothing was noted meanwhile; what was not copied is copied now",
        )
    )


def _who(what: str) -> str:
    return what if what.startswith("Kafka") else f"the {what} cluster"


def _line(former: Sequence[Any] | None, lines: list[str], news: bool, now: float) -> list[Any]:
    """When lines were told last, which, and whether there was news: new ones now and then, and news at once."""
    if former is None or news != former[2] or now - former[0] >= _LINE_EVERY:
        return [now, lines, news]
    return list(former)
