"""Topic ids: what tells a topic from one of the same name that was made after it had been deleted (KIP-516)."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, TopicCollection

from kafka_migration.clusters.client import REQUEST_TIMEOUT, Cluster

_UNTOLD = "AAAAAAAAAAAAAAAAAAAAAA"  # sixteen zero bytes: a broker before Kafka 2.8 gives topics no id


def topic_ids(cluster: Cluster, names: Iterable[str]) -> dict[str, str]:
    """The id of each topic of these names; absent are topics that are not there, or whose brokers give none.

    Raises `ClusterError`.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    futures = cluster.admin.describe_topics(TopicCollection(wanted), request_timeout=REQUEST_TIMEOUT)
    found = {}
    for name, future in futures.items():
        try:
            told = str(future.result(timeout=REQUEST_TIMEOUT + 5).topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise cluster.error(error, f"asking for the id of topic {name}") from None
        if told != _UNTOLD:
            found[name] = told
    return found
