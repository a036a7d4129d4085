"""Topic ids: what tells a topic from one of the same name that was made after it had been deleted (KIP-516)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, TopicCollection
from confluent_kafka.admin import TopicDescription

from kafka_migration.clusters.client import Cluster
from kafka_migration.clusters.patience import ask_each

_UNTOLD = "AAAAAAAAAAAAAAAAAAAAAA"  # sixteen zero bytes: a broker before Kafka 2.8 gives topics no id


def topic_ids(cluster: Cluster, names: Iterable[str], there: bool = False) -> dict[str, str]:
    """The id of each topic of these names; absent are topics that are not there, or whose brokers give none.

    `there`: each of them is known to be there, so that a broker which does not know one has not heard of it yet; that
    passes. Raises `ClusterError`.
    """

    def ask(left: Sequence[str], within: float) -> Mapping[str, Future[TopicDescription]]:
        told: Mapping[str, Future[TopicDescription]] = cluster.admin.describe_topics(
            TopicCollection(list(left)), request_timeout=within
        )
        return told

    def unheard(name: str, error: KafkaError) -> bool:
        return there and bool(error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART)

    found = {}
    for name, told in ask_each(cluster, sorted(set(names)), ask, unheard).items():
        if isinstance(told, KafkaError):
            if told.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and not there:
                continue
            raise cluster.error(told, f"asking for the id of topic {name}")
        if str(told.topic_id) != _UNTOLD:
            found[name] = str(told.topic_id)
    return found
