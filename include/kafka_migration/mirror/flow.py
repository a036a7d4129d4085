"""A flow: the topics of one cluster, copied to another. And its connector, as Connect takes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kafka_migration.clusters.client import Cluster
from kafka_migration.mirror.properties import Value, as_text, connector_properties

_PREFIXING = "org.apache.kafka.connect.mirror.DefaultReplicationPolicy"


@dataclass(frozen=True)
class Flow:
    """What is copied: `topics` by name, from one cluster to the other.

    `origin_client`, `destination_client`: what Connect needs to reach them beyond their addresses, as properties of the
    Java client. `properties`: the plan's own. `prefix`: what MirrorMaker's names of the clusters begin with.
    `prefixed`: the copies lie beside the topics and not in them, under names that begin with the origin's. `history`:
    it copies what is stored, beside a move. `syncs_on_origin`: offset syncs are written to the origin, for whom the
    destination may be lost to; MirrorMaker then knows that by another name, by which its topic of syncs is called.
    """

    plan: str
    topics: Sequence[str]
    origin: Cluster
    destination: Cluster
    origin_client: Mapping[str, str] = field(default_factory=dict)
    destination_client: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Value] = field(default_factory=dict)
    prefix: str = ""
    prefixed: bool = False
    history: bool = False
    syncs_on_origin: bool = False

    @property
    def name(self) -> str:
        return f"{self.plan}.history" if self.history else f"{self.plan}.{self.origin.side}-to-{self.destination.side}"

    def copy_of(self, topic: str) -> str:
        """What the topic is called on the destination."""
        if not self.prefixed:
            return topic
        return prefixed(topic, self.origin_alias, as_text(self.properties.get("replication.policy.separator", ".")))

    @property
    def syncs_topic(self) -> str:
        """MirrorMaker's own name for the topic of offset syncs: that of the cluster on which it does not lie."""
        alias = self.destination_alias if self.syncs_on_origin else self.origin_alias
        return f"mm2-offset-syncs.{alias}.internal"

    @property
    def syncs_cluster(self) -> Cluster:
        """The cluster on which that topic lies."""
        return self.origin if self.syncs_on_origin else self.destination

    @property
    def origin_alias(self) -> str:
        return f"{self.prefix}{self.origin.side}"

    @property
    def destination_alias(self) -> str:
        # On one cluster there may be the syncs of either way: they must not share a topic.
        return f"{self.prefix}{self.destination.side}" + ("-copies" if self.syncs_on_origin else "")


def connector_config(flow: Flow, topics: Iterable[str]) -> dict[str, str]:
    """The connector's whole configuration. The topics are told one by one, none by a pattern."""
    return {
        **connector_properties(flow.properties),
        **({"replication.policy.class": _PREFIXING} if flow.prefixed else {}),
        **({"offset-syncs.topic.location": "source"} if flow.syncs_on_origin else {}),
        "source.cluster.alias": flow.origin_alias,
        "target.cluster.alias": flow.destination_alias,
        "source.cluster.bootstrap.servers": flow.origin.bootstrap_servers,
        "target.cluster.bootstrap.servers": flow.destination.bootstrap_servers,
        **{f"source.cluster.{key}": value for key, value in flow.origin_client.items()},
        **{f"target.cluster.{key}": value for key, value in flow.destination_client.items()},
        "topics": topic_list(topics),
    }


def prefixed(topic: str, alias: str, separator: str) -> str:
    """A topic's name as MirrorMaker's own replication policy makes it (KIP-382)."""
    return f"{alias}{separator}{topic}"


def topic_list(topics: Iterable[str]) -> str:
    """These topics and no other, as MirrorMaker takes them."""
    return ",".join(_exactly(topic) for topic in sorted(topics))


def _exactly(topic: str) -> str:
    """A regular expression of Java that this name alone matches; of what a name may hold only the dot means more."""
    return topic.replace(".", r"\.")
