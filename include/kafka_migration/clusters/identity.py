"""Which cluster this is: asked at every advertised broker address, not only at the bootstrap servers.

"Two clusters" means two cluster ids and disjoint broker addresses. An address that cannot be reached from here is told
apart from one that answers for another cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import BrokerMetadata, ClusterMetadata, DescribeClusterResult

from kafka_migration.clusters.client import CONNECT_TIMEOUT, Cluster, no_connection
from kafka_migration.clusters.each import ask_each_broker
from kafka_migration.clusters.patience import ask_each
from kafka_migration.errors import ClusterError


@dataclass(frozen=True)
class Broker:
    """A broker as the cluster advertises it. `cluster_id`: what it answered there; `problem`: why it did not."""

    broker_id: int
    host: str
    port: int
    rack: str | None
    cluster_id: str | None
    problem: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Identity:
    """A cluster's id and its brokers."""

    cluster_id: str
    brokers: tuple[Broker, ...]

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(b.address for b in self.brokers)

    @property
    def racks(self) -> frozenset[str]:
        return frozenset(b.rack for b in self.brokers if b.rack)


def identify(cluster: Cluster) -> Identity:
    """Ask the cluster, then every address that it advertises. Raises `ClusterUnreachable`.

    Asked by its metadata, which the bootstrap server itself answers: what it advertises may be unreachable from here,
    or lead to another cluster.
    """
    try:
        told = cluster.admin.list_topics(timeout=CONNECT_TIMEOUT)
    except KafkaException as error:
        if error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
            raise ClusterError(
                f"{cluster} answers, but not as a broker does: is this the port of a controller? Correct the"
                f" bootstrap.servers of the connection {cluster.connection}"
            ) from None
        raise cluster.error(error, "asking for its id") from None
    answers = ask_each_broker(cluster, told.brokers.values())
    brokers = [_broker(told.brokers[number], answer) for number, answer in answers.items()]
    racks = _racks(cluster) if any(broker.cluster_id == told.cluster_id for broker in brokers) else {}
    return Identity(told.cluster_id, tuple(replace(broker, rack=racks.get(broker.broker_id)) for broker in brokers))


def silence_of(cluster: Cluster) -> str | None:
    """Why a cluster that may be lost does not answer; None where it does. Told at once where nobody listens there."""
    addresses = [part.strip().rpartition("://")[2] for part in cluster.bootstrap_servers.split(",")]
    with ThreadPoolExecutor(max_workers=len(addresses)) as pool:
        problems = list(pool.map(_no_connection, addresses))
    if all(problems):
        return "; ".join(f"{address}: {problem}" for address, problem in zip(addresses, problems, strict=True))
    try:
        identify(cluster)
    except ClusterError as error:
        return str(error)
    return None


def _no_connection(address: str) -> str | None:
    host, _, port = address.rpartition(":")
    try:
        number = int(port)
    except ValueError as error:
        return f"no TCP connection: {error}"
    return no_connection(host.strip("[]"), number)


def _broker(known: BrokerMetadata, answer: ClusterMetadata | str) -> Broker:
    if isinstance(answer, str):
        return Broker(known.id, known.host, known.port, None, None, answer)
    return Broker(known.id, known.host, known.port, None, answer.cluster_id)


def _racks(cluster: Cluster) -> dict[int, str | None]:
    """Asked of the broker that is told to be the controller; with KRaft that is another one for each new client."""

    def ask(left: Sequence[str], within: float) -> dict[str, Future[DescribeClusterResult]]:
        return {one: cluster.admin.describe_cluster(request_timeout=within) for one in left}

    (told,) = ask_each(cluster, ["racks"], ask).values()
    if isinstance(told, KafkaError):
        raise cluster.error(told, "asking for its racks")
    return {node.id: node.rack or None for node in told.nodes}
