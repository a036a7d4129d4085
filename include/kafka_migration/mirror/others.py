"""Other connectors of MirrorMaker: would they spoil what is copied, or bring it back where it came from?

Only connectors are seen here, by the REST of the Connect clusters that a plan names: a MirrorMaker that runs elsewhere
is not. Changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from kafka_migration.findings import Finding, Status
from kafka_migration.mirror.flow import Flow, prefixed
from kafka_migration.mirror.properties import Reader
from kafka_migration.mirror.rest import Connect
from kafka_migration.sides import Addresses, Side


def spoilers(flow: Flow, connect: Connect) -> list[Finding]:
    """On the Connect cluster of a flow: connectors of the same topics, and those that write offsets of groups."""
    found = []
    for name, config in sorted(connect.connectors().items()):
        if name == flow.name:
            continue
        if _is(config, Reader.SOURCE):
            same = [t for t in _taken(config, flow.topics) if _copy_of(t, config) in (t, flow.copy_of(t))]
            if same:
                found.append(
                    Finding(
                        f"mirror-other/{name}",
                        Status.FAIL,
                        f"connector {name} copies {', '.join(same[:5])} as well",
                        "one mirror for each topic",
                        "stop and remove it first; messages would be copied twice",
                    )
                )
        elif _is(config, Reader.CHECKPOINT) and config.get("sync.group.offsets.enabled", "").lower() == "true":
            found.append(
                Finding(
                    f"mirror-other/{name}",
                    Status.INCONCLUSIVE,
                    f"connector {name} writes offsets of the groups {config.get('groups', '.*')}",
                    "no other writer of the offsets that are handed over",
                    "stop it, or accept this finding where none of these groups is the plan's",
                )
            )
    return found


@dataclass(frozen=True)
class Between:
    """Two clusters between which is copied, from each of `origins`. `own`: the names of the plan's own connectors.

    `addresses`: all that is known to lead to a broker of each.
    """

    topics: Collection[str]
    origins: Collection[Side]
    own: Collection[str]
    addresses: Addresses


def loops(between: Between, side: Side, connect: Connect) -> list[Finding]:
    """On the Connect cluster of that side: connectors that write into what is copied from what it is copied to.

    Under one name both ways each message is copied without end: 100 became 5,146 in 15 seconds, and neither MirrorMaker
    nor a broker said a word (measured).
    """
    return [
        finding
        for name, config in sorted(connect.connectors().items())
        if name not in between.own and _is(config, Reader.SOURCE)
        for finding in _judged(between, side, name, config)
    ]


def _judged(between: Between, side: Side, name: str, config: Mapping[str, str]) -> Iterator[Finding]:
    written = config.get("producer.override.bootstrap.servers")
    onto = side if written is None else between.addresses.side_of(written)
    address = config.get("source.cluster.bootstrap.servers")
    origin = between.addresses.side_of(address)
    same = [t for t in _taken(config, between.topics) if _copy_of(t, config) == t]
    if same and onto in between.origins:
        told = f"connector {name} writes to {', '.join(same[:5])} on the {onto}"
        if origin is None:
            yield Finding(
                f"mirror-loop/{name}",
                Status.INCONCLUSIVE,
                f"{told}, from {address}: which cluster that is cannot be told from its address",
                "no connector that copies the other way under the same names",
                "remove it if that is one of the plan's clusters, or one that gets their messages: they would be copied"
                " without end; accept this finding if it is another",
            )
        else:
            yield Finding(
                f"mirror-loop/{name}",
                Status.FAIL,
                f"{told}, from the same cluster" if origin is onto else f"{told}, from the {origin}",
                "no connector that copies the other way under the same names",
                "remove it: each message would be copied back, and then again without end",
            )
    if origin is not None and onto is not None and config.get("heartbeats.replication.enabled", "").lower() != "false":
        yield Finding(
            f"mirror-heartbeats/{name}",
            Status.WARN,
            f"connector {name} copies topics of heartbeats between the same clusters",
            "heartbeats.replication.enabled=false",
            "set it so: with a second one that does, each copies the other's copies, and topics grow by the thousand",
        )


def _taken(config: Mapping[str, str], topics: Collection[str]) -> list[str]:
    """Those of these topics that a connector copies."""
    chosen, left_out = _patterns(config.get("topics", ".*")), _patterns(config.get("topics.exclude", ""))
    return [t for t in topics if any(_matches(p, t) for p in chosen) and not any(_matches(p, t) for p in left_out)]


def _patterns(told: str) -> list[str]:
    return [part.strip() for part in told.split(",")]


def _matches(pattern: str, topic: str) -> bool:
    try:
        return re.fullmatch(pattern, topic) is not None
    except re.error:
        return pattern == topic


def _is(config: Mapping[str, str], connector: Reader) -> bool:
    """Whether it is that connector of MirrorMaker; Connect takes the class by its last name as well, short or whole."""
    return config.get("connector.class", "").rpartition(".")[2].removesuffix("Connector") + "Connector" == connector


def _copy_of(topic: str, config: Mapping[str, str]) -> str:
    """What the connector of that configuration calls the topic on its destination."""
    if "Identity" in config.get("replication.policy.class", ""):
        return topic
    alias = config.get("source.cluster.alias", "source")
    return prefixed(topic, alias, config.get("replication.policy.separator", "."))
