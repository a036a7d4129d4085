"""The trigger that watches while a task waits. It looks and tells; it changes nothing, and losing it loses nothing.

It never fires within its first seconds: a trigger that fires at once can resume its task before the scheduler has read
the executor's report of the deferral, which then counts as a failure (apache/airflow 71580, 72716).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_kafka_migration.progress import Progress

if TYPE_CHECKING:
    from kafka_migration.clusters.client import Cluster, Clusters
    from kafka_migration.sides import Side
    from kafka_migration.waiting import Look, WaitStep

    Watch = tuple[WaitStep, Clusters]


class WaitEvent(TriggerEvent):
    """An event of which Airflow logs the status, not all that was remembered."""

    def __repr__(self) -> str:
        return f"WaitEvent<{self.payload['status']}>"


class WaitTrigger(BaseTrigger):
    """Looks until a wait is over or its deadline has passed, and says so in one event.

    The event: `status` (done, again, failed, timeout), the `brief`, and `memory`, what the last look remembered.

    :param step: the import path (`module:name`) of a `kafka_migration.waiting.WaitStep`
    :param connections: the ids of the plan's connections, see `connections_of`
    :param heading: the side that the step moves services to
    :param brief: what the step prepared
    :param memory: what the last look in the worker remembered
    :param deadline: when the wait has timed out, in seconds since the epoch
    :param poll: seconds between two looks
    :param plan: the plan's name, for what its looks measure
    """

    dwell: ClassVar[float] = 6.0
    """Seconds in which no event is fired."""

    looks: ClassVar[float] = 50.0
    """Looks a second that all triggers of a process take together, at most: with many, each looks more seldom."""

    _watching: ClassVar[int] = 0

    def __init__(
        self,
        step: str,
        connections: dict[str, str],
        heading: str,
        brief: dict[str, Any],
        memory: dict[str, Any],
        deadline: float,
        poll: float,
        plan: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step = step
        self.connections = connections
        self.heading = heading
        self.brief = brief
        self.memory = memory
        self.deadline = deadline
        self.poll = poll
        self.plan = plan

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "step": self.step,
                "connections": self.connections,
                "heading": self.heading,
                "brief": self.brief,
                "memory": self.memory,
                "deadline": self.deadline,
                "poll": self.poll,
                "plan": self.plan,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        WaitTrigger._watching += 1
        try:
            async for event in self._watch():
                yield event
        finally:
            WaitTrigger._watching -= 1

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        may_fire = time.monotonic() + self.dwell
        progress = Progress(self.log.info)
        memory: Mapping[str, Any] = self.memory
        watch: Watch | None = None
        if (turn := self._turn) > self.poll:
            # A triggerer that has started again has all of them at once: each begins anywhere within its turn.
            await asyncio.sleep(random.uniform(0.0, turn))
        while True:
            try:
                if watch is None:
                    watch = await asyncio.to_thread(self._open)
                status, look = await asyncio.to_thread(self._look, watch, memory)
            except Exception:
                self.log.exception("Watching failed; a worker looks now, and fails with its own error if it cannot")
                status = "failed"
            else:
                memory = look.memory
                progress.tell(look.lines)
            left = may_fire - time.monotonic()
            if status != "waiting" and left <= 0:
                yield WaitEvent(payload={"status": status, "brief": self.brief, "memory": dict(memory)})
                return
            pause = max(self.poll, self._turn)
            await asyncio.sleep(pause if status == "waiting" or left <= 0 else min(pause, left))

    @property
    def _turn(self) -> float:
        """Seconds in which every trigger of this process may look once."""
        return self._watching / self.looks

    def _open(self) -> Watch:
        from airflow_kafka_migration.hooks import open_workers
        from kafka_migration.clusters.client import Clusters
        from kafka_migration.sides import Side

        clusters = Clusters(
            _shared(Side.SOURCE, self.connections["source"]),
            _shared(Side.TARGET, self.connections["target"]),
            Side(self.heading),
            open_workers(self.connections),
        )
        return resolve_name(self.step), clusters

    def _look(self, watch: Watch, memory: Mapping[str, Any]) -> tuple[str, Look]:
        from airflow_kafka_migration.metrics import emit
        from kafka_migration.errors import ClusterError, MirrorUnreachable
        from kafka_migration.waiting import Outcome, not_answered

        step, clusters = watch
        now = time.time()
        try:
            look = step.look(clusters, self.brief, memory, now)
            emit(self.plan, look.numbers)
        except (ClusterError, MirrorUnreachable) as error:
            look = not_answered(error, memory)
        if look.outcome is Outcome.WAITING and now >= self.deadline:
            return "timeout", look
        return look.outcome.value, look


_clusters: WeakValueDictionary[tuple[str, str, str], Cluster] = WeakValueDictionary()
_clusters_lock = threading.Lock()


def _shared(side: Side, connection_id: str) -> Cluster:
    """One cluster object, and so one client, for all triggers of this process that use the same connection."""
    from airflow_kafka_migration.hooks import KafkaClusterHook
    from kafka_migration.clusters.client import Cluster

    config = KafkaClusterHook(connection_id).config()
    digest = hashlib.sha256(repr(sorted(config.items())).encode()).hexdigest()
    key = (side.value, connection_id, digest)
    with _clusters_lock:
        return _clusters.setdefault(key, Cluster(side, connection_id, config, logging.getLogger("kafka_migration")))
