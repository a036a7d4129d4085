"""What the Kafka client in use cannot ask: API versions, features, disk space, open transactions.

The one module that goes through kafka-python, over the same connection. Whatever is denied or unknown comes back as
None, so that a check can say that it could not see, instead of guessing.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kafka_migration.clusters.client import CLIENT_ID, Cluster
from kafka_migration.offsets import TopicPartition

# Its failures are told by what comes back, not by its log.
logging.getLogger("kafka").setLevel(logging.CRITICAL)

_TRANSLATED = {
    "bootstrap.servers": "bootstrap_servers",
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
}
_PATIENCE = {"bootstrap_timeout_ms": 10_000, "request_timeout_ms": 10_000}
_WITHOUT_MEANING = {"ssl.endpoint.identification.algorithm", "sasl.kerberos.service.name"}
_MECHANISMS = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction that is open on a partition, its first offset, and who holds it where the broker tells."""

    partition: TopicPartition
    producer_id: int
    start_offset: int
    transactional_id: str | None

    def __str__(self) -> str:
        who = (
            f"transactional.id {self.transactional_id}" if self.transactional_id else f"producer id {self.producer_id}"
        )
        return f"{self.partition} from offset {self.start_offset:,}, held by {who}"


class Protocol:
    """A short-lived connection to one cluster. Use it in a `with` through `speak`."""

    def __init__(self, admin: Any) -> None:
        self._admin = admin

    def api_versions(self) -> dict[str, int] | None:
        """The highest version of each API that the brokers speak, by the API's name."""
        with contextlib.suppress(Exception):
            return {key.name: int(versions[1]) for key, versions in self._admin.api_versions().items()}
        return None

    def features(self) -> dict[str, int] | None:
        """The finalized level of each feature (`metadata.version`, `group.version`, ...); KIP-584."""
        with contextlib.suppress(Exception):
            told = self._admin.describe_features()
            return {name: int(f["finalized"][1]) for name, f in told.items() if "finalized" in f}
        return None

    def usable_bytes(self) -> int | None:
        """Free space over all log directories of all brokers; None when brokers do not say (before 3.3, KIP-827)."""
        with contextlib.suppress(Exception):
            told = [d.get("usable_bytes", -1) for broker in self._admin.describe_log_dirs() for d in broker["log_dirs"]]
            return sum(told) if told and all(size >= 0 for size in told) else None
        return None

    def stored_bytes(self, topics: Iterable[str]) -> dict[str, int] | None:
        """The size of each topic over all its replicas."""
        wanted = set(topics)
        with contextlib.suppress(Exception):
            sizes = dict.fromkeys(wanted, 0)
            for broker in self._admin.describe_log_dirs(sorted(wanted)):
                for directory in broker["log_dirs"]:
                    if directory.get("error_code"):
                        return None
                    for topic in directory["topics"]:
                        if topic["name"] in wanted:
                            sizes[topic["name"]] += sum(p["partition_size"] for p in topic["partitions"])
            return sizes
        return None

    def groups_of_other_kinds(self) -> dict[str, str] | None:
        """Share groups, Streams groups and the like, with their type in capitals: those that are no consumer groups."""
        with contextlib.suppress(Exception):
            kinds = {
                entry["group_id"]: str(entry.get("group_type") or "").upper() for entry in self._admin.list_groups()
            }
            return {group: kind for group, kind in kinds.items() if kind not in ("", "CLASSIC", "CONSUMER", "UNKNOWN")}
        return None

    def open_transactions(self, partitions: Iterable[TopicPartition]) -> list[OpenTransaction] | None:
        """The transactions that are open on these partitions (DescribeProducers, KIP-664)."""
        with contextlib.suppress(Exception):
            from kafka import TopicPartition as KafkaTopicPartition

            told = self._admin.describe_producers([KafkaTopicPartition(tp.topic, tp.partition) for tp in partitions])
            names = self._transactional_ids()
            return [
                OpenTransaction(
                    TopicPartition(tp.topic, tp.partition),
                    producer.producer_id,
                    producer.current_transaction_start_offset,
                    names.get(producer.producer_id),
                )
                for tp, state in told.items()
                for producer in state.active_producers
                if producer.current_transaction_start_offset >= 0
            ]
        return None

    def _transactional_ids(self) -> dict[int, str]:
        with contextlib.suppress(Exception):
            told = self._admin.list_transactions()
            return {entry.producer_id: entry.transactional_id for entries in told.values() for entry in entries}
        return {}


@contextlib.contextmanager
def speak(cluster: Cluster) -> Iterator[Protocol | None]:
    """A connection through kafka-python; None when the connection's settings have no counterpart there or it fails."""
    settings = translate(cluster.config)
    if settings is None:
        yield None
        return
    try:
        from kafka.admin import KafkaAdminClient  # takes as long to import as all else together, and is seldom needed

        admin = KafkaAdminClient(client_id=CLIENT_ID, **_PATIENCE, **settings)
    except Exception:  # whatever the library raises, the answer is: this could not be seen
        yield None
        return
    try:
        yield Protocol(admin)
    finally:
        admin.close()


def translate(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """librdkafka's keys as kafka-python's; None when a key of the security has no counterpart there."""
    security = {key for key in config if key.startswith(("sasl.", "ssl.", "security."))}
    if security - _TRANSLATED.keys() - _WITHOUT_MEANING:
        return None
    if str(config.get("sasl.mechanisms", config.get("sasl.mechanism", "PLAIN"))).upper() not in _MECHANISMS:
        return None
    settings: dict[str, Any] = {_TRANSLATED[key]: str(value) for key, value in config.items() if key in _TRANSLATED}
    if "security_protocol" in settings:
        settings["security_protocol"] = settings["security_protocol"].upper()  # librdkafka takes any case
    if config.get("ssl.endpoint.identification.algorithm") == "none":
        settings["ssl_check_hostname"] = False
    return settings
