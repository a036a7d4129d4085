"""From Airflow's connections to what the domain needs: librdkafka configurations, clusters, a controller's secrets.

Everything secret that passes through here is masked in every log from then on. It opens no network connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.kafka.hooks.base import KafkaBaseHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from kafka_migration.errors import Refused
from kafka_migration.sides import Side

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from kafka_migration.clusters.client import Cluster, Clusters
    from kafka_migration.mirror.rest import Connect
    from kafka_migration.plan.model import Plan

_SECRET = re.compile(r"password|passphrase|secret|token|pem$|jaas|user\.info|oauthbearer\.config", re.IGNORECASE)
_met: set[str] = set()


class KafkaClusterHook(KafkaBaseHook):
    """The Kafka provider's hook, with its authentication and callbacks, that also hands out the configuration.

    :param connection_id: the id of an Airflow connection of type Kafka
    """

    def __init__(self, connection_id: str) -> None:
        super().__init__(kafka_config_id=connection_id)  # type: ignore[no-untyped-call]
        self.connection_id = connection_id

    def config(self) -> dict[str, Any]:
        """librdkafka's configuration, callbacks resolved. Raises `Refused`.

        In a trigger it is called in a thread: the provider builds it with Airflow's blocking calls.
        """
        mask_secrets(read_connection(self.connection_id).extra_dejson)
        try:
            config: dict[str, Any] = self._build_config()
        except ValueError as error:
            raise Refused(
                f"Airflow connection {self.connection_id!r} cannot be used: {error}"
                ' Its extra must hold librdkafka\'s settings, for example {"bootstrap.servers": "broker:9092"}.'
            ) from None
        return config

    def cluster(self, side: Side, log: logging.Logger) -> Cluster:
        """The cluster that this connection reaches; librdkafka's lines go to `log`."""
        from kafka_migration.clusters.client import Cluster

        return Cluster(side, self.connection_id, self.config(), log)


def open_clusters(plan: Plan, log: logging.Logger) -> Clusters:
    """Source and target of a plan. Nothing is contacted yet. Raises `Refused`."""
    from kafka_migration.clusters.client import Clusters

    ids = connections_of(plan)
    return Clusters(
        source=KafkaClusterHook(ids["source"]).cluster(Side.SOURCE, log),
        target=KafkaClusterHook(ids["target"]).cluster(Side.TARGET, log),
        workers=open_workers(ids),
    )


_WORKERS = {Side.TARGET: "mirror", Side.SOURCE: "back"}


def connections_of(plan: Plan) -> dict[str, str]:
    """The ids of a plan's connections: its clusters by their sides, what copies to them as `mirror` and `back`."""
    found = {"source": plan.source.connection, "target": plan.target.connection}
    if plan.mirror is not None:
        if plan.mirror.connection is not None:
            found["mirror"] = plan.mirror.connection
        if plan.mirror.back is not None:
            found["back"] = plan.mirror.back
    return found


def open_workers(ids: Mapping[str, str]) -> dict[Side, Connect]:
    """What copies, by the side that it copies to, of the connections that `connections_of` names."""
    return {side: open_worker(ids[key]) for side, key in _WORKERS.items() if key in ids}


def open_worker(connection_id: str) -> Connect:
    """The REST API of the Kafka Connect cluster that an Airflow connection of type HTTP reaches; nothing is contacted.

    Raises `Refused`. The connection's extra may hold `verify`: false, or the path of a CA bundle.
    """
    from kafka_migration.mirror.rest import Connect, ConnectAccess

    parts = connection_parts(connection_id)
    if not parts.get("host"):
        raise Refused(f"Airflow connection {connection_id!r} names no host: where does Kafka Connect's REST listen?")
    scheme = parts.get("schema") or "http"
    port = f":{parts['port']}" if parts.get("port") else ""
    return Connect(
        ConnectAccess(
            f"{scheme}://{parts['host']}{port}",
            parts.get("login"),
            parts.get("password"),
            parts.get("verify", True),
        )
    )


def connection_parts(connection_id: str) -> dict[str, Any]:
    """Host, port, login, password and what the extra holds, under their names. Raises `Refused`."""
    connection = read_connection(connection_id)
    own = {name: getattr(connection, name) for name in ("host", "port", "login", "password", "schema")}
    parts = {**connection.extra_dejson, **{name: value for name, value in own.items() if value is not None}}
    mask_secrets(parts)
    return parts


def read_connection(connection_id: str) -> Connection:
    """The connection of that id. Raises `Refused` when there is none."""
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
        raise Refused(
            f"There is no Airflow connection {connection_id!r}, which the plan names."
            " Add it in Airflow under Admin, Connections, or correct the plan."
        ) from None


def secrets_met() -> frozenset[str]:
    """Every secret that this process has met so far, for those who make sure that they write none of them."""
    return frozenset(_met)


def without_secrets(text: str) -> str:
    """The text with every secret that this process has met replaced, as Airflow does in its logs."""
    for secret in sorted(_met, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def mask_secrets(fields: Mapping[str, Any]) -> None:
    """Mask every value whose name looks secret, also where Airflow would not; of a PEM each line too."""
    found = [value for name, value in fields.items() if _SECRET.search(name) and isinstance(value, str) and value]
    _met.update(found)
    if found:
        lines = [line for value in found if "\n" in value for line in value.splitlines() if "-----" not in line]
        mask_secret([*found, *lines])
