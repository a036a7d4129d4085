"""Of several brokers one is killed in the middle of a chosen step and started again; at the cutover leaders change.

Acts from outside, as a lost machine would, by what Airflow's API tells of the run. The clusters are Kafka's own, with
their own timeouts: it takes some nine seconds until others lead what the killed one has led.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, PartitionMetadata
from kafka import TopicPartition as OtherClients
from kafka.admin import KafkaAdminClient

from demo.kafka import KafkaCluster, silent_logger
from demo.rest import TaskRow
from demo.waiting import patience, wait_until

_DOWN_FOR = 12.0  # seconds: longer than `broker.session.timeout.ms`, so that others have to take over
_IN_SYNC_WITHIN = 120.0
_ASK_WITHIN = 10.0
_HEARD_WITHIN = 5.0
_AT_WORK = {"running", "deferred"}


@dataclass(frozen=True)
class Step:
    """A step in which a broker can be killed: on which cluster, and the ids of the step's tasks."""

    cluster: Literal["source", "target"]
    tasks: re.Pattern[str]


STEPS: Mapping[str, Step] = {
    "create_topics": Step("target", re.compile(r"create_topics")),
    "mirror": Step("target", re.compile(r"caught_up")),
    "switch_producers": Step("target", re.compile(r"switch_producers\..+")),
    "drain": Step("source", re.compile(r".+\.drained(\..+)?")),
    "switch_consumers": Step("target", re.compile(r".+\.switch")),
    "close_originals": Step("source", re.compile(r".+\.close")),
    "handover": Step("target", re.compile(r".+\.handover")),
}
CUTOVER = "cutover"
_PREFERRED = 0


class BrokerLoss:
    """What befalls the clusters of one demo. `watch` is called with each look at a run's tasks."""

    def __init__(self, clusters: Mapping[str, KafkaCluster], kill_in: str, say: Callable[[str], None]) -> None:
        self._clusters = clusters
        self._step = STEPS[kill_in]
        self._cluster = clusters[self._step.cluster]
        self._kill_in = kill_in
        self._say = say
        self._killed: tuple[int, float] | None = None
        self._returned = False
        self._moved: int | None = None

    def watch(self, rows: Sequence[TaskRow]) -> None:
        """Kill, start again, or elect, when its moment has come."""
        if self._moved is None and any(row.task_id == CUTOVER and row.state in _AT_WORK for row in rows):
            self._elect()
        if self._killed is None:
            hit = [row for row in rows if row.state in _AT_WORK and self._step.tasks.fullmatch(row.task_id)]
            if hit:
                self._kill(hit[0].name)
        elif not self._returned and time.monotonic() - self._killed[1] >= _DOWN_FOR:
            self._start_again()

    def end(self) -> None:
        """Return when every broker runs and every replica is in sync again."""
        if self._killed is None:
            return
        if not self._returned:
            self._start_again()
        admin = _admin(self._cluster)
        wait_until(
            lambda: not any(len(one.isrs) < len(one.replicas) for _, one in _partitions(admin)),
            timeout=_IN_SYNC_WITHIN,
            what=f"all replicas of the {self._cluster.name} cluster to be in sync again",
        )
        self._say(f"every replica of the {self._cluster.name} is in sync")

    @property
    def missing(self) -> str | None:
        """What was to happen and did not, in one word; then the demo has shown nothing."""
        if self._killed is None:
            return f"no_broker_killed_in_{self._kill_in}"
        return None if self._moved else "no_leader_elected"

    def _kill(self, task: str) -> None:
        leaders = Counter(one.leader for _, one in _partitions(_admin(self._cluster)) if one.leader >= 0)
        node, led = max(leaders.items(), key=lambda entry: (entry[1], -entry[0]))
        self._cluster.kill_broker(node)
        self._killed = node, time.monotonic()
        self._say(f"SIGKILL to broker {node} of the {self._cluster.name}, leader of {led} partitions, in {task}")

    def _start_again(self) -> None:
        assert self._killed is not None
        node, moment = self._killed
        self._cluster.start_broker(node)
        self._returned = True
        told = f"broker {node} of the {self._cluster.name} is started again"
        self._say(f"{told} on its data, {time.monotonic() - moment:.0f} s after the kill")

    def _elect(self) -> None:
        """Make another replica the preferred leader of each of the source's partitions, and elect it.

        What librdkafka cannot do, or fails to (`elect_leaders` of confluent-kafka 2.16.1 raises SystemError), another
        client does. The data stays where it is, only the order of the replicas changes.
        """
        source = self._clusters["source"]
        admin = _admin(source)
        before = {tp: one for tp, one in _partitions(admin) if not tp.topic.startswith("__")}
        operator = KafkaAdminClient(bootstrap_servers=source.bootstrap_servers.split(","))
        try:
            operator.alter_partition_reassignments(
                {OtherClients(tp.topic, tp.partition): [*p.replicas[1:], p.replicas[0]] for tp, p in before.items()}
            )
            operator.elect_leaders(_PREFERRED, sorted({tp.topic for tp in before}), timeout_ms=int(_ASK_WITHIN * 1000))
        finally:
            operator.close()
        deadline = time.monotonic() + _HEARD_WITHIN * patience()
        moved = 0
        while moved < len(before) and time.monotonic() < deadline:  # brokers hear of it one after the other
            after = dict(_partitions(admin))
            moved = sum(after[tp].leader != one.leader for tp, one in before.items())
        self._moved = moved
        self._say(f"leaders of {self._moved} of the source's {len(before)} partitions changed, while it is cut over")


def _admin(cluster: KafkaCluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": cluster.bootstrap_servers}, logger=silent_logger())


def _partitions(admin: AdminClient) -> list[tuple[TopicPartition, PartitionMetadata]]:
    topics = admin.list_topics(timeout=_ASK_WITHIN).topics
    return [
        (TopicPartition(name, number), one)
        for name, topic in topics.items()
        for number, one in topic.partitions.items()
    ]
