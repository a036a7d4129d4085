"""MirrorMaker's properties: what Kafka takes by itself, what this product sets and why, and where each has an effect.

A plan gives them under `mirror.properties` by their Kafka names, without the prefixes of a properties file. What would
be without effect where it stands is refused, with the name that has one. The defaults are those of Kafka 4.3.1, asked
of a worker or read in its log; a test asks a worker again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = str | int | bool

SOURCE_CONNECTOR = "org.apache.kafka.connect.mirror.MirrorSourceConnector"
IDENTITY_POLICY = "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"
_AT_LEAST = "requested"
_BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"


class Reader(StrEnum):
    """What reads a property. Several connectors read the general ones; those count as the source connector's."""

    SOURCE = "MirrorSourceConnector"
    CHECKPOINT = "MirrorCheckpointConnector"
    HEARTBEAT = "MirrorHeartbeatConnector"
    WORKER = "the Kafka Connect workers"
    PLAN = "the plan"
    NOTHING = "nothing"


class Kind(StrEnum):
    """What a value must be."""

    BOOLEAN = "true or false"
    INTERVAL = "a whole number of at least 1"
    NUMBER = "a whole number of at least 0"
    ONCE = "required, or requested where at least once will do"
    REPLICAS = "a whole number of at least 1, or -1 for the brokers' default"
    TEXT = "a text"


@dataclass(frozen=True)
class Property:
    """One property by its Kafka name. `default`: what Kafka takes by itself (None: nothing); `ours`: what is set here.

    `fixed`: no plan may choose another. `instead`: where to say it, for what a plan says elsewhere.
    """

    name: str
    kind: Kind
    default: str | None
    reader: Reader
    meaning: str
    ours: str | None = None
    why: str = ""
    fixed: bool = False
    instead: str = ""


_S, _C, _H, _W = Reader.SOURCE, Reader.CHECKPOINT, Reader.HEARTBEAT, Reader.WORKER
_EXACT = "what is copied must be exactly what is visible on the origin, once"
_KEPT = "without it a handover cannot tell which message of the destination is which of the origin"
_TARGET_ONLY = "nothing is written to the cluster that is copied from"
_RATE = "measured with the other sizes here: twice to nearly three times the rate of the defaults"
_LOST = "a connector stops only when what it asks a lost source has ended: 53 s by default, measured"
_POLICY = "replication.policy.class"
_BY_WAYS = "is said by mirror: ways"
_CLUSTERS = "the Airflow connections that the plan names under source: and target:"

PROPERTIES: tuple[Property, ...] = (
    # Which clusters and topics. The plan says it.
    Property("clusters", Kind.TEXT, None, Reader.PLAN, "the aliases of the clusters", instead=_CLUSTERS),
    Property("bootstrap.servers", Kind.TEXT, None, Reader.PLAN, "a cluster's addresses", instead=_CLUSTERS),
    Property("enabled", Kind.BOOLEAN, "false", Reader.PLAN, "whether this way is copied", instead="scheme:"),
    Property("topics", Kind.TEXT, ".*", Reader.PLAN, "what is copied", instead="topics: include"),
    Property("topics.exclude", Kind.TEXT, r"mm2.*\.internal,.*\.replica,__.*", Reader.PLAN, "what is not copied",
             instead="topics: exclude"),
    Property("groups", Kind.TEXT, ".*", Reader.PLAN, "whose offsets are translated", instead="services: consumes"),
    Property("groups.exclude", Kind.TEXT, "console-consumer-.*,connect-.*,__.*", Reader.PLAN,
             "whose offsets are not translated", instead="ignore_groups:"),
    # Names on the destination.
    Property(_POLICY, Kind.TEXT, "org.apache.kafka.connect.mirror.DefaultReplicationPolicy", _S,
             "how a topic is called on the destination", IDENTITY_POLICY,
             "services move without a change of their topics' names", fixed=True),
    Property("replication.policy.separator", Kind.TEXT, ".", _S, "between alias and name, where names get a prefix"),
    Property("replication.policy.internal.topic.separator.enabled", Kind.BOOLEAN, "true", _S,
             "the separator in MirrorMaker's own topics as well", "true",
             "the topic of offset syncs is read under its usual name", fixed=True),
    # Replicas.
    Property("replication.factor", Kind.REPLICAS, "2", _S, "of topics that the connector makes", "-1",
             "as the destination's brokers are set; Kafka's 2 fails on one broker"),
    Property("offset-syncs.topic.replication.factor", Kind.REPLICAS, "3", _S, "of the topic of offset syncs", "-1",
             "as the destination's brokers are set; Kafka's 3 fails on fewer brokers"),
    Property("checkpoints.topic.replication.factor", Kind.REPLICAS, "3", _C, "of the topic of checkpoints"),
    Property("heartbeats.topic.replication.factor", Kind.REPLICAS, "3", _H, "of the topic of heartbeats"),
    Property("offset.storage.replication.factor", Kind.REPLICAS, "3", _W, "of the workers' topic of offsets"),
    Property("status.storage.replication.factor", Kind.REPLICAS, "3", _W, "of the workers' topic of states"),
    Property("config.storage.replication.factor", Kind.REPLICAS, "3", _W, "of the workers' topic of connectors"),
    # What comes along beside the messages.
    Property("sync.topic.configs.enabled", Kind.BOOLEAN, "true", _S, "copy topics' settings again and again", "false",
             "it would take back retention holds and what the target's topics were given", fixed=True),
    Property("sync.topic.configs.interval.seconds", Kind.INTERVAL, "600", _S, "how often"),
    Property("config.properties.exclude", Kind.TEXT,
             "follower.replication.throttled.replicas,leader.replication.throttled.replicas,"
             "message.timestamp.difference.max.ms,log.message.timestamp.before.max.ms,"
             "log.message.timestamp.after.max.ms,message.timestamp.type,unclean.leader.election.enable,"
             "min.insync.replicas", _S, "settings that are not copied"),
    Property("sync.topic.acls.enabled", Kind.BOOLEAN, "true", _S, "copy topics' read ACLs", "false",
             "rights on the destination are their owner's", fixed=True),
    Property("sync.topic.acls.interval.seconds", Kind.INTERVAL, "600", _S, "how often"),
    Property("sync.group.offsets.enabled", Kind.BOOLEAN, "false", _C, "write translated offsets of groups", "false",
             "it is not exact, and would write over the offsets that this product hands over", fixed=True),
    Property("sync.group.offsets.interval.seconds", Kind.INTERVAL, "60", _C, "how often"),
    # Heartbeats and checkpoints.
    Property("emit.heartbeats.enabled", Kind.BOOLEAN, "true", _H, "write heartbeats"),
    Property("emit.heartbeats.interval.seconds", Kind.INTERVAL, "1", _H, "how often"),
    Property("heartbeats.replication.enabled", Kind.BOOLEAN, "true", _S, "copy topics of heartbeats", "false",
             "only the plan's topics are copied; two ways between the same clusters copy heartbeats without end",
             fixed=True),
    Property("emit.checkpoints.enabled", Kind.BOOLEAN, "true", _C, "write translated offsets to a topic"),
    Property("emit.checkpoints.interval.seconds", Kind.INTERVAL, "60", _C, "how often"),
    # How soon what is new is seen.
    Property("refresh.topics.enabled", Kind.BOOLEAN, "true", _S, "look for new topics and partitions", "true",
             "partitions that come while it copies must be copied", fixed=True),
    Property("refresh.topics.interval.seconds", Kind.INTERVAL, "600", _S, "how often", "5",
             "a new partition is copied within seconds, not after ten minutes"),
    Property("refresh.groups.enabled", Kind.BOOLEAN, "true", _C, "look for new groups"),
    Property("refresh.groups.interval.seconds", Kind.INTERVAL, "600", _C, "how often"),
    # Named by KIP-382 and the README beside MirrorMaker; no class of 4.3.1 has them.
    Property("heartbeats.topic.retention.ms", Kind.NUMBER, None, Reader.NOTHING, "of the topic of heartbeats"),
    Property("checkpoints.topic.retention.ms", Kind.NUMBER, None, Reader.NOTHING, "of the topic of checkpoints"),
    Property("offset.syncs.topic.retention.ms", Kind.TEXT, None, Reader.NOTHING, "of the topic of offset syncs", "-1",
             f"the topic is made by this product, and all syncs are kept: {_KEPT}", fixed=True),
    # Offset syncs.
    Property("offset-syncs.topic.location", Kind.TEXT, "source", _S, "where offset syncs are written", "target",
             _TARGET_ONLY, fixed=True),
    Property("emit.offset-syncs.enabled", Kind.BOOLEAN, "true", _S, "write offset syncs", "true", _KEPT, fixed=True),
    Property("offset.lag.max", Kind.NUMBER, "100", _S, "how far apart two offset syncs may lie", "1000",
             "a handover counts what lies between two; below that the copying itself slows down"),
    # Exactly once, and only what is visible.
    Property("exactly.once.support", Kind.ONCE, "requested", _S,
             "`required`: exactly once, or not at all; `requested`: at least once, where the workers can no better",
             "required", _EXACT),
    Property("transaction.boundary", Kind.TEXT, "poll", _S, "when a transaction of the copying ends"),
    Property("transaction.boundary.interval.ms", Kind.INTERVAL, None, _S, "with `interval`: how often"),
    Property("source.consumer.isolation.level", Kind.TEXT, "read_uncommitted", _S, "whether aborted messages are read",
             "read_committed", "aborted messages would come to life", fixed=True),
    Property("source.consumer.auto.offset.reset", Kind.TEXT, "earliest", _S, "where a new partition begins", "earliest",
             _EXACT, fixed=True),
    Property("key.converter", Kind.TEXT, None, _S, "of keys", _BYTES, _EXACT, fixed=True),
    Property("value.converter", Kind.TEXT, None, _S, "of values", _BYTES, _EXACT, fixed=True),
    Property("header.converter", Kind.TEXT, None, _S, "of headers", _BYTES, _EXACT, fixed=True),
    Property("connector.class", Kind.TEXT, None, _S, "the connector", SOURCE_CONNECTOR, "it copies", fixed=True),
    Property("transforms", Kind.TEXT, "", _S, "change each message", "", _EXACT, fixed=True),
    Property("errors.tolerance", Kind.TEXT, "none", _S, "pass over messages that fail", "none", _EXACT, fixed=True),
    # Rate.
    Property("tasks.max", Kind.INTERVAL, "1", _S, "how many tasks share the partitions", "2",
             "measured on two cores: two copy 1.3 to 1.6 times what one does"),
    Property("producer.override.batch.size", Kind.NUMBER, "16384", _S, "bytes", "524288", _RATE),
    Property("producer.override.linger.ms", Kind.NUMBER, "5", _S, "wait for a fuller batch", "20", _RATE),
    Property("producer.override.buffer.memory", Kind.NUMBER, "33554432", _S, "bytes", "134217728", _RATE),
    Property("producer.override.max.request.size", Kind.NUMBER, "1048576", _S, "bytes; no message may be larger",
             "4194304", _RATE),
    Property("producer.override.compression.type", Kind.TEXT, "none", _S, "of what is written"),
    Property("source.consumer.max.poll.records", Kind.INTERVAL, "500", _S, "messages at once, one transaction", "20000",
             _RATE),
    Property("source.consumer.fetch.min.bytes", Kind.NUMBER, "1", _S, "wait for that much", "262144", _RATE),
    Property("source.consumer.fetch.max.wait.ms", Kind.NUMBER, "500", _S, "but no longer than this", "100",
             "the wait of a message that comes alone"),
    Property("source.consumer.max.partition.fetch.bytes", Kind.NUMBER, "1048576", _S, "bytes", "8388608", _RATE),
    Property("consumer.poll.timeout.ms", Kind.NUMBER, "1000", _S, "how long one read waits"),
    Property("admin.timeout.ms", Kind.INTERVAL, "60000", _S, "of looking for topics"),
    Property("source.admin.request.timeout.ms", Kind.NUMBER, "30000", _S, "of a question to the source", "10000",
             _LOST),
    Property("source.admin.default.api.timeout.ms", Kind.NUMBER, "60000", _S, "of a question with all its tries",
             "10000", _LOST),
)  # fmt: skip

_BY_NAME: Mapping[str, Property] = {p.name: p for p in PROPERTIES}

# What a plan may add to, name by name. Read in the log of a worker: which client was made with which value.
_OPEN = ("producer.override.", "source.consumer.", "source.admin.", "target.admin.")
_CLIENTS_OWN = {
    "producer.override.": ("transactional.id", "enable.idempotence", "acks", "key.serializer", "value.serializer"),
    "source.consumer.": ("group.id", "enable.auto.commit", "key.deserializer", "value.deserializer"),
}
# What has no effect on the copying, or not the one that is meant, and the prefix that has it.
_ELSEWHERE = (
    (r"(?:.*\.)?producer\.(?:override\.)?(.+)", "producer.override."),
    (r"(?:.*\.)?consumer\.(?:override\.)?(.+)", "source.consumer."),
)
_CLUSTERS_OWN = r"[^.]+\.(?:cluster\.)?(bootstrap\.servers|security\.protocol|ssl\..+|sasl\..+)"
_NO_CONNECTOR = {
    _C: f"no {_C} is run: groups are handed over by this product",
    _H: f"no {_H} is run",
    _W: f"it belongs to {_W}: set it in their own configuration",
    Reader.NOTHING: "KIP-382 names it, and no class of Kafka 4.3.1 reads it: set retention.ms of the topic itself",
}
_SECRET = re.compile(r"password|secret|token|jaas|key(store)?\.|credential", re.IGNORECASE)
_IS: Mapping[Kind, Callable[[str], bool]] = {
    Kind.BOOLEAN: lambda text: text.lower() in ("true", "false"),
    Kind.INTERVAL: lambda text: text.isdecimal() and int(text) >= 1,
    Kind.NUMBER: lambda text: text.isdecimal(),
    Kind.ONCE: lambda text: text in ("required", _AT_LEAST),
    Kind.REPLICAS: lambda text: text == "-1" or (text.isdecimal() and int(text) >= 1),
    Kind.TEXT: lambda text: True,
}


def check_properties(properties: Mapping[str, Value], *, scheme: str) -> list[str]:
    """What is wrong with a plan's `mirror.properties`, one line each; empty when nothing.

    `scheme`: in scheme `mirror` the plan says elsewhere how topics are called on the destination.
    """
    problems = (
        (name, _BY_WAYS if name == _POLICY and scheme == "mirror" else _problem(name, as_text(value)))
        for name, value in properties.items()
    )
    return [f"{name}: {problem}" for name, problem in problems if problem]


def without_effect(properties: Mapping[str, Value], runs: Reader = Reader.SOURCE) -> dict[str, str]:
    """By name, why a property that is right does nothing here: what reads it is not run, or not set by a plan.

    `runs`: what else is set here beside the connector that copies.
    """
    return {
        name: _NO_CONNECTOR[known.reader]
        for name, value in properties.items()
        if (known := _BY_NAME.get(name))
        and known.reader in _NO_CONNECTOR
        and known.reader is not runs
        and as_text(value) != known.ours
    }


def connector_properties(properties: Mapping[str, Value]) -> dict[str, str]:
    """What the source connector is given: what this product sets, and what the plan may choose instead."""
    set_here = {p.name: p.ours for p in PROPERTIES if p.ours and p.reader is _S}
    chosen = {name: as_text(value) for name, value in properties.items() if _may_choose(name)}
    return {**set_here, **chosen}


def worker_properties(properties: Mapping[str, Value]) -> dict[str, str]:
    """What the worker of a dedicated MirrorMaker is given: as the destination's brokers are set, or as the plan says.

    Kafka's 3 replicas fail on fewer brokers, and only after a minute (measured).
    """
    return {p.name: as_text(properties.get(p.name, "-1")) for p in PROPERTIES if p.reader is _W}


def at_least_once(properties: Mapping[str, Value]) -> bool:
    """Whether a plan says that messages may be copied more than once: where a worker is killed, some are."""
    return properties.get("exactly.once.support") == _AT_LEAST


def as_text(value: Value) -> str:
    """A value of a plan as Kafka writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def may_be_secret(name: str) -> bool:
    """Whether a property of that name may hold what nobody shall read."""
    return _SECRET.search(name) is not None


def shown(name: str, config: Mapping[str, str]) -> str:
    """The value of a connector's property for people: not where it may be a secret."""
    if name not in config:
        return "not set"
    return "another value" if may_be_secret(name) else config[name] or "empty"


def check_client_properties(properties: Mapping[str, str]) -> list[str]:
    """What is wrong with a plan's `mirror.clients`, one line each: MirrorMaker passes on how to connect, no more."""
    return [
        f"{name}: has no effect: of a cluster's own properties MirrorMaker takes only security.protocol, ssl.* and"
        " sasl.*; others belong to mirror.properties, as source.consumer.* or producer.override.*"
        for name in properties
        if name != "security.protocol" and not name.startswith(("ssl.", "sasl."))
    ]


def _problem(name: str, value: str) -> str:
    known = _BY_NAME.get(name)
    if known is not None:
        return _wrong_value(known, value)
    for prefix in _OPEN:
        if name.startswith(prefix) and name != prefix:
            own = name.removeprefix(prefix)
            return f"is set by Kafka Connect or this product: {_EXACT}" if own in _CLIENTS_OWN.get(prefix, ()) else ""
    bare = re.sub(r"^[^.>]+->[^.]+\.", "", name)
    if bare in _BY_NAME:
        instead = _BY_NAME[bare].instead
        return f"is said by {instead}" if instead else f"write {bare}: a plan copies one way, which needs no prefix"
    for pattern, prefix in _ELSEWHERE:
        if match := re.fullmatch(pattern, name):
            return f"has no effect on the copying here; write {prefix}{match[1]}"
    if match := re.fullmatch(_CLUSTERS_OWN, name):
        return f"is said by {_CLUSTERS if match[1] == 'bootstrap.servers' else 'mirror: clients'}"
    near = difflib.get_close_matches(bare, _BY_NAME, n=1)
    return "is no property of MirrorMaker" + (f"; did you mean {near[0]}?" if near else "")


def _may_choose(name: str) -> bool:
    known = _BY_NAME.get(name)
    return known is None or (known.reader is _S and not known.fixed)


def _wrong_value(known: Property, value: str) -> str:
    if known.instead:
        return f"is said by {known.instead}"
    if known.name == _POLICY and value.endswith("LegacyReplicationPolicy"):
        return f"LegacyReplicationPolicy is in no archive of Kafka; topics keep their names with {IDENTITY_POLICY}"
    if not _IS[known.kind](value):
        return f"must be {known.kind}, found {value!r}"
    if known.fixed:
        same = value.lower() == (known.ours or "").lower()
        return "" if same else f"must be {known.ours or 'absent'}: {known.why}"
    return ""
