"""The same question to each broker of a cluster, by a client of its own that knows no other."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, BrokerMetadata, ClusterMetadata

from kafka_migration.clusters.client import CONNECT_TIMEOUT, Cluster, no_connection

_AT_ONCE = 32


def ask_each_broker(cluster: Cluster, brokers: Iterable[BrokerMetadata]) -> dict[int, ClusterMetadata | str]:
    """By broker what it lists, as it knows it now, or why it does not answer."""
    asked = list(brokers)
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(asked) or 1)) as pool:
        answers = pool.map(lambda one: _ask(cluster, one.host, one.port), asked)
        return {one.id: answer for one, answer in zip(asked, answers, strict=True)}


def _ask(cluster: Cluster, host: str, port: int) -> ClusterMetadata | str:
    problem = no_connection(host, port)
    if problem is not None:
        return problem
    # Kept in a variable: a client that is collected while a call is under way fails it with _DESTROY.
    admin = AdminClient({**cluster.config, "bootstrap.servers": f"{host}:{port}"})
    try:
        told: ClusterMetadata = admin.list_topics(timeout=CONNECT_TIMEOUT)
    except KafkaException as error:
        return str(cluster.error(error, f"asking {host}:{port}"))
    return told
