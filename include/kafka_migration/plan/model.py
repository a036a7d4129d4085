"""The keys of a plan and what they may hold. Read only; it reaches no cluster and no service.

Keys whose part of the product does not exist yet are named here, so that a typing error and a key that comes later are
told apart: both are refused, these with "not yet".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from kafka_migration.sides import Side

NAME = r"[a-z0-9][a-z0-9_-]*"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
OWN_TOPICS = "kafka-migration."
"""What names of topics begin with that this product makes for itself: no plan moves them."""

Level = Literal["offsets", "counts", "content", "sample"]
"""How closely a verification looks."""

Scheme = Literal["producers_first", "producers_later", "mirror_first", "mirror"]
Order = Literal["strict", "relaxed"]
Approval = Literal["topics", "producers", "handover", "consumers", "close_originals", "rollback", "failover"]

# Approvals that only some schemes have a step for.
_APPROVALS_OF: Mapping[str, tuple[str, ...]] = {
    "topics": ("producers_first", "producers_later", "mirror_first"),
    "producers": ("producers_first", "producers_later"),
    "handover": ("mirror_first", "mirror"),
    "consumers": ("producers_first", "mirror_first"),
    "close_originals": ("producers_later",),
    "rollback": ("producers_first", "producers_later", "mirror_first"),
    "failover": ("mirror",),
}

# The names of steps: a service of such a name could not be told from them in a DAG.
RESERVED = frozenset(
    """
    preflight approve_topics create_topics seed_groups approve_producers compare_topics switch_producers cutover
    consumers coverage evidence gate first seconds keeping_up approve_rollback begin forth source_point
    hold_retention start_mirror caught_up rehearse approve_handover stop_writers stop_mirror handover
    verify_synchronisation compare_content lift_holds drift ranges compare proof suites stop_by_hand start_history
    stop_history history watch approve_failover stop_flow set_groups services tail past_failover drill compare_followed
    copied there_caught_up there_copied
    """.split()  # noqa: SIM905 - a list of words reads better
)
NOT_YET_KEYS: Mapping[str, tuple[str, ...]] = {
    "Plan": ("hold_retention",),
}


_SECRET_PROPERTY = re.compile(r"password|secret|jaas|ssl\.key|token", re.IGNORECASE)
_PROVIDED = re.compile(r"\$\{[^}]+\}")
_CRON_FIELDS = 5
_SIZE = r"\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)?\s*"
_DURATION = r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*"


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


def _number(value: Any, pattern: str, units: Mapping[str, float], needed: str) -> float:
    """A number, or a text with a number and perhaps a unit."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(needed)
    if not isinstance(value, str):
        return value
    match = re.fullmatch(pattern, value)
    if not match:
        raise ValueError(needed)
    return float(match[1]) * (units[match[2]] if match[2] else 1.0)


def seconds(value: Any) -> float:
    """A duration: a number of seconds, or a number with a unit: `500ms`, `30s`, `10m`, `2h`, `1d`."""
    found = _number(value, _DURATION, _SECONDS, f"a duration such as 30s, 10m or 2h is needed, not {value!r}")
    if not 0 <= found < float("inf"):
        raise ValueError(f"a duration cannot be negative or without end, found {found!r}")
    return float(found)


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION}$"}],
            "examples": ["30s", "10m", "2h"],
        }
    ),
]


def size(value: Any) -> int:
    """Bytes: a number, or a number with a unit: `500KiB`, `20MiB`, `1GiB`."""
    needed = f"a size such as 500KiB, 20MiB or 1GiB is needed, not {value!r}"
    found = _number(value, _SIZE, _BYTES, needed)
    if not 1 <= found < float("inf"):
        raise ValueError(needed)
    return int(found)


Size = Annotated[
    int,
    BeforeValidator(size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "number", "minimum": 1}, {"type": "string", "pattern": f"^{_SIZE}$"}],
            "examples": ["500KiB", "20MiB", "1GiB"],
        }
    ),
]
Name = Annotated[str, Field(pattern=f"^{NAME}$")]


def _cron(value: str) -> str:
    from croniter import CroniterError, croniter  # only plans that have one pay for the import

    wrong = f"{value!r} is not a cron expression, for example 0 3 * * * (every day at 3:00 UTC)"
    if len(value.split()) > _CRON_FIELDS or not croniter.is_valid(value):
        raise ValueError(wrong)
    try:
        croniter(value).get_next()
    except CroniterError:
        raise ValueError(f"{wrong}: its time never comes") from None
    return value


Cron = Annotated[str, AfterValidator(_cron)]


class Part(BaseModel):
    """What every part of a plan has in common: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ClusterRef(Part):
    """A cluster, by the Airflow connection (type Kafka) that reaches it."""

    connection: str = Field(min_length=1, description="The id of an Airflow connection of type Kafka.")


class Topics(Part):
    """The topics that move.

    An entry made only of letters, digits, `.`, `_` and `-` is a name; any other is a regular expression that must match
    a whole topic name.
    """

    include: tuple[str, ...] = Field(min_length=1, description="Topic names and regular expressions.")
    exclude: tuple[str, ...] = Field(default=(), description="Names and regular expressions to leave out.")

    @field_validator("include", "exclude")
    @classmethod
    def _compile(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            try:
                re.compile(entry)
            except re.error as error:
                raise ValueError(f"{entry!r} is not a regular expression: {error}") from None
        return entries


class Consumes(Part):
    """A consumer group of a service and the topics that it reads."""

    group: str = Field(min_length=1, description="The consumer group's id.")
    topics: tuple[str, ...] = Field(min_length=1, description="The topics it reads, by name.")
    auto_offset_reset: Literal["earliest", "latest", "none"] | None = Field(
        default=None, description="What the application uses where the group has never committed."
    )
    offsets: Literal["group", "external"] = Field(
        default="group", description="external: the application keeps its offsets itself, outside Kafka."
    )
    subscription: str | None = Field(
        default=None,
        min_length=1,
        description="The pattern by which the application chooses its topics, where it subscribes by one.",
    )

    @model_validator(mode="after")
    def _subscribed(self) -> Consumes:
        if self.subscription is not None:
            try:
                others = [topic for topic in self.topics if not re.fullmatch(self.subscription, topic)]
            except re.error as error:
                raise ValueError(f"subscription: {self.subscription!r} is not a regular expression: {error}") from None
            if others:
                raise ValueError(f"subscription: {self.subscription} does not match {', '.join(others)}")
        return self


class Secret(Part):
    """A value that lies in an Airflow connection."""

    id: str
    field: str = Field(description="login, password, or a key of the connection's extra.")


class FromConnection(Part):
    """`from_connection: {id, field}`: resolved inside the controller, never shown."""

    from_connection: Secret


def _kind_of_value(value: Any) -> str:
    return "<secret>" if isinstance(value, dict | FromConnection) else "<text>"


# The tags keep pydantic from reporting what each alternative lacks: only the one that was meant.
Value = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[FromConnection, Tag("<secret>")], Discriminator(_kind_of_value)
]
VariableName = Annotated[str, Field(pattern=VARIABLE)]


class SideSettings(Part):
    """The variables that a service needs for one side, beyond the address."""

    variables: dict[VariableName, Value] = Field(default_factory=dict)


class ControllerSpec(BaseModel):
    """How a service is observed, reconfigured, stopped and started. `kind` names the controller; it checks the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    source: SideSettings = SideSettings()
    target: SideSettings = SideSettings()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keys that belong to this kind of controller."""
        return self.model_extra or {}


class SecondSpec(BaseModel):
    """How a second instance of a service comes to be: `kind` names its controller, or `copy`; it checks the rest."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keys that belong to this kind."""
        return self.model_extra or {}


class Service(Part):
    """An application: what it writes, what it reads, and how it is controlled."""

    name: Name
    produces: tuple[str, ...] = Field(default=(), description="The topics it writes, by name.")
    consumes: tuple[Consumes, ...] = Field(default=(), description="Its consumer groups.")
    controller: ControllerSpec
    second: SecondSpec | None = Field(
        default=None,
        description="producers_later: how an instance on the target comes to be beside the one on the source.",
    )

    @model_validator(mode="after")
    def _does_something(self) -> Service:
        if not self.produces and not self.consumes:
            raise ValueError("it neither produces nor consumes anything")
        return self

    @property
    def reads(self) -> frozenset[str]:
        return frozenset(topic for c in self.consumes for topic in c.topics)

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(c.group for c in self.consumes)

    @property
    def external(self) -> tuple[Consumes, ...]:
        """What it reads with offsets that it keeps itself, outside Kafka."""
        return tuple(c for c in self.consumes if c.offsets == "external")


class IgnoredGroup(Part):
    """A group that reads the plan's topics and is left where it is, with the reason."""

    group: str
    reason: str = Field(min_length=1)


class Accepted(Part):
    """An INCONCLUSIVE finding that the plan's author accepts, with the reason."""

    finding: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class Window(Part):
    """The change window; every irreversible step is refused outside it. Times carry their UTC offset."""

    not_before: datetime | None = None
    not_after: datetime | None = None

    @field_validator("not_before", "not_after")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("the time needs a UTC offset, for example 2030-01-31T22:00:00+01:00")
        return value


class Cutover(Part):
    """When the end offsets of a topic count as final."""

    quiet: Duration = Field(default=3.0, description="No end offset may have moved for this long.")
    timeout: Duration = Field(default=600.0, description="How long to wait for that.")


class Drain(Part):
    """How long consumer groups may take to read the source to its end."""

    timeout: Duration = Field(default=86400.0, description="From the first attempt of the task.")


class Consuming(Part):
    """How long a switched service may take until its groups are stable and read the target."""

    timeout: Duration = Field(default=300.0)


def _refuse_secrets(properties: Mapping[str, str | int | bool]) -> None:
    for name, value in properties.items():
        if _SECRET_PROPERTY.search(name) and not _PROVIDED.search(str(value)):
            raise ValueError(
                f"{name} holds a secret: name it by a config provider of whoever runs MirrorMaker, for example"
                " ${file:/etc/kafka/secrets.properties:password}"
            )


class MirrorProgram(ControllerSpec):
    """How a MirrorMaker of its own is started and stopped: a person, or nobody, cannot be told to."""

    kind: Literal["supervisor"]

    @field_validator("source")
    @classmethod
    def _runs_for_the_target(cls, source: SideSettings) -> SideSettings:
        if source.variables:
            raise ValueError("has no effect: it always starts with the variables under target")
        return source


_DEDICATED = ("controller", "properties_file", "listener", "java", "archive", "sha512")


class MirrorClients(Part):
    """What Kafka Connect needs to reach the two clusters beyond their addresses: properties of the Java client.

    A secret is never written here: it is named as Connect's own config provider names it, `${file:/path:key}`.
    """

    source: dict[str, str] = Field(default_factory=dict)
    target: dict[str, str] = Field(default_factory=dict)

    @field_validator("source", "target")
    @classmethod
    def _no_secrets(cls, properties: dict[str, str]) -> dict[str, str]:
        _refuse_secrets(properties)
        return properties


_KEPT = frozenset(("ways", "schedule", "drill", "tail"))


class Mirror(Part):
    """MirrorMaker 2: where it runs and how it is set.

    `connection` copies what is stored to the target (mirror_first, mirror, `history`), `back` what must come home.
    """

    kind: Literal["connect", "dedicated"] = Field(
        default="connect",
        description="connect: on a Kafka Connect cluster, by its REST. dedicated: a process of its own.",
    )
    connection: str | None = Field(
        default=None,
        min_length=1,
        description="connect: the Airflow connection (type HTTP) of the Kafka Connect cluster whose own cluster is the"
        " target.",
    )
    controller: MirrorProgram | None = Field(
        default=None, description="dedicated: how its program is started and stopped."
    )
    properties_file: str | None = Field(
        default=None, pattern="^/", description="dedicated: the file that the program reads; it is written here."
    )
    listener: str = Field(
        default="http://127.0.0.1:8083",
        pattern="^https?://",
        description="dedicated: where its processes reach each other; nobody else needs to.",
    )
    java: str | None = Field(
        default=None, pattern="^/", description="dedicated: the Java that runs it, looked at first."
    )
    archive: str | None = Field(
        default=None, pattern="^/", description="dedicated: the archive of Kafka that it was unpacked from."
    )
    sha512: str | None = Field(
        default=None, pattern="^[0-9a-fA-F]{128}$", description="dedicated: what the archive's SHA-512 must be."
    )
    back: str | None = Field(
        default=None,
        min_length=1,
        description="The Airflow connection (type HTTP) of a Kafka Connect cluster whose own cluster is the source: it"
        " copies back what a rollback must bring home.",
    )
    properties: dict[str, str | int | bool] = Field(
        default_factory=dict, description="MirrorMaker's properties, by their Kafka names."
    )
    clients: MirrorClients = MirrorClients()
    timeout: Duration = Field(default=604800.0, description="How long the mirror may take to catch up.")
    canary: bool = Field(
        default=False,
        description="mirror_first, mirror: messages of this product's own are written to the source, in a topic of its"
        " own, and must arrive on the target.",
    )
    ways: Literal["one_way", "both_ways"] = Field(
        default="one_way",
        description="mirror: one_way copies to the target under the same names; both_ways copies each cluster's own"
        " topics to the other, under names that begin with source. and target.",
    )
    schedule: Cron = Field(
        default="*/5 * * * *",
        description="mirror: a cron expression, in UTC: when a new run looks after the mirror, and watches it.",
    )
    drill: Cron | None = Field(
        default=None, description="mirror: a cron expression, in UTC: when a failover is practised on copies of groups."
    )
    tail: Literal["keep", "copy"] = Field(
        default="keep",
        description="mirror, one_way: what a failback does with messages of the source that had not been copied when it"
        " was lost. keep: they stay there, reported. copy: they are copied to the target first.",
    )

    @field_validator("properties")
    @classmethod
    def _no_secrets(cls, properties: dict[str, str | int | bool]) -> dict[str, str | int | bool]:
        _refuse_secrets(properties)
        return properties

    @model_validator(mode="after")
    def _of_its_kind(self) -> Mirror:
        needed = ("controller", "properties_file") if self.kind == "dedicated" else ()
        own = {"connect": ("connection",), "dedicated": _DEDICATED}
        problems = [f"{key}: is needed by kind {self.kind}" for key in needed if getattr(self, key) is None]
        problems += [
            f"{key}: belongs to kind {kind}"
            for kind, keys in own.items()
            if kind != self.kind
            for key in keys
            if key in self.model_fields_set
        ]
        if (self.archive is None) is not (self.sha512 is None):
            problems.append("archive and sha512: the one is nothing without the other")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Evidence(Part):
    """Where the evidence is kept."""

    path: str | None = Field(
        default=None,
        description="A folder, or an object storage URL that Airflow knows. Default: beside Airflow.",
    )
    sign: str | None = Field(
        default=None,
        min_length=1,
        description="An Airflow connection whose password is a private key (PEM, Ed25519), by which it is signed.",
    )


class TopicSuite(Part):
    """What messages of a topic must be like: a suite of Great Expectations, judged on some of them."""

    topic: str = Field(min_length=1, description="One of the plan's topics, by name.")
    suite: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.json$",
        description="A file with the suite as JSON, in the folder suites/ beside the plan.",
    )
    messages: int = Field(
        default=1000, ge=1, le=100_000, description="How many of the topic's newest messages on the target are judged."
    )


class Verify(Part):
    """How `<plan>.verify` verifies, what it judges beside, and when it runs without being asked.

    It does after each migration and rollback that ended with PASS.
    """

    schedule: Cron | None = Field(
        default=None, description="A cron expression, in UTC; in addition to the end of a migration or a rollback."
    )
    level: Level = Field(default="content", description="How closely it looks; a run may be triggered with another.")
    share: float = Field(
        default=0.1, gt=0, le=1, description="sample: which share of what was copied is compared, 0.1 for a tenth."
    )
    rate: Size | None = Field(
        default=None, description="Bytes a second that are read of each cluster at most, such as 20MiB."
    )
    suites: tuple[TopicSuite, ...] = Field(
        default=(), description="Suites of the plan's own, each for what the messages of one topic hold."
    )


class Plan(Part):
    """One migration."""

    plan: Name = Field(description="The plan's name; its DAGs are <plan>.migrate and so on.")
    description: str = ""
    scheme: Scheme
    order: Order = Field(default="strict", description="strict: no two writers of a topic on two clusters at once.")
    source: ClusterRef
    target: ClusterRef
    topics: Topics
    services: tuple[Service, ...] = Field(min_length=1)
    ignore_groups: tuple[IgnoredGroup, ...] = ()
    approvals: tuple[Approval, ...] = Field(default=(), description="Where a person must approve before it goes on.")
    approvers: tuple[str, ...] = Field(default=(), description="Airflow user names that may answer; default: anyone.")
    window: Window = Window()
    cutover: Cutover = Cutover()
    drain: Drain = Drain()
    consuming: Consuming = Consuming()
    mirror: Mirror | None = Field(
        default=None, description="The MirrorMaker that copies what is stored, or what a rollback must bring home."
    )
    history: Literal["prefixed"] | None = Field(
        default=None,
        description="prefixed: beside a move that copies nothing the stored messages are copied under prefixed names.",
    )
    accept: tuple[Accepted, ...] = ()
    verify: Verify | None = Field(default=None, description="How and when what was moved is verified again.")
    decommissioned: bool = Field(
        default=False, description="The source has been given up: nothing is compared with it or moved any more."
    )
    evidence: Evidence = Evidence()

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        problems = []
        names = [s.name for s in self.services]
        for name in sorted({n for n in names if names.count(n) > 1}):
            problems.append(f"services: two services are called {name}")
        for name in sorted(RESERVED & set(names)):
            problems.append(f"services: {name}: a step has this name; give the service another")
        if self.source.connection == self.target.connection:
            problems.append(f"source and target are the same connection: {self.source.connection}")
        ignored = {g.group for g in self.ignore_groups}
        for service in self.services:
            for topic in (*service.produces, *sorted(service.reads)):
                if not LEGAL_TOPIC.fullmatch(topic):
                    problems.append(f"services: {service.name}: {topic!r} is not a topic name")
                elif not self.includes(topic) and not self.is_copy(topic):
                    problems.append(
                        f"services: {service.name}: topic {topic} is not among the plan's topics (topics.include)"
                    )
            groups = list(service.groups)
            for group in sorted({g for g in groups if groups.count(g) > 1}):
                problems.append(f"services: {service.name}: group {group} is listed twice")
            for group in sorted(ignored & set(groups)):
                problems.append(f"ignore_groups: {group} is a group of service {service.name}")
        problems += [
            f"approvals: {name}: scheme {self.scheme} has no such step (it belongs to {' and '.join(schemes)})"
            for name, schemes in _APPROVALS_OF.items()
            if name in self.approvals and self.scheme not in schemes
        ]
        problems += self._mirror()
        problems += self._seconds()
        problems += self._suites()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _mirror(self) -> list[str]:
        """What does not fit between the scheme and what copies."""
        mirror = self.mirror
        if self.keeps_mirror:
            return self._kept_mirror()
        if mirror is not None and (alone := sorted(_KEPT & mirror.model_fields_set)):
            return [f"mirror: {key}: belongs to scheme mirror, which keeps a mirror" for key in alone]
        if self.scheme == "mirror_first":
            if mirror is None:
                return ["mirror: is needed by scheme mirror_first: the MirrorMaker that copies"]
            problems = []
            if mirror.kind == "connect" and mirror.connection is None:
                problems.append("mirror: connection: is needed by kind connect")
            if self.history:
                problems.append("history: scheme mirror_first brings the stored messages along under their own names")
            return problems
        if self.history and (mirror is None or mirror.connection is None):
            return ["history: prefixed is copied by a mirror; name it: mirror: {connection: ...}, of kind connect"]
        if mirror is None:
            return []
        if mirror.canary:
            return [f"mirror: canary: scheme {self.scheme} copies nothing to the target under its own name"]
        if self.scheme == "producers_later" and (mirror.back or not self.history):
            return [
                "mirror: has no use in scheme producers_later: on the way back the"
                " second instances read what the target has; a copy of it would be read twice"
            ]
        problems = []
        if mirror.kind == "dedicated":
            problems.append("mirror: kind: dedicated: what brings home runs on Kafka Connect; say back alone")
        if mirror.connection and not self.history:
            problems.append(
                f"mirror: connection: scheme {self.scheme} copies nothing to the target; say back alone, or"
                " history: prefixed"
            )
        if not mirror.back and not self.history:
            problems.append(f"mirror: back: is needed: scheme {self.scheme} copies only what a rollback brings home")
        return problems

    def _kept_mirror(self) -> list[str]:
        """What does not fit between a mirror that is kept and the rest of the plan."""
        mirror = self.mirror
        if mirror is None:
            return ["mirror: is needed by scheme mirror: the MirrorMaker that copies"]
        problems = []
        if mirror.kind == "dedicated":
            problems.append("mirror: kind: dedicated: scheme mirror runs on Kafka Connect")
        elif mirror.connection is None:
            problems.append("mirror: connection: is needed by scheme mirror")
        if self.history:
            problems.append("history: scheme mirror copies the stored messages by itself")
        if self.verify is not None and self.verify.level not in ("content", "offsets"):
            problems.append(
                f"verify: level: {self.verify.level} needs a mirror that has ended; scheme mirror is verified by"
                " content or offsets"
            )
        if not self.prefixed:
            return problems
        if mirror.back is None:
            problems.append("mirror: back: is needed by both_ways: the Kafka Connect cluster that copies to the source")
        if "tail" in mirror.model_fields_set:
            problems.append(
                "mirror: tail: has no use with both_ways: what had not been copied is copied under its own name when"
                " the mirror runs again, and mixed into nothing"
            )
        told = "with both_ways this is the name of a copy, and no copy is copied on: name the topic that it is of"
        problems += [f"topics: include: {entry}: {told}" for entry in self.topics.include if self.is_copy(entry)]
        for service in self.services:
            problems += [
                f"services: {service.name}: {topic}: {told}"
                for topic in (*service.produces, *sorted(service.reads))
                if self.is_copy(topic)
            ]
            for c in service.consumes:
                names = [
                    name for topic in c.topics for name in (topic, *(self.copy_name(topic, side) for side in Side))
                ]
                others = [name for name in names if not re.fullmatch(c.subscription or "", name)]
                if others:
                    problems.append(
                        f"services: {service.name}: consumes: {c.group}: subscription: must match {', '.join(others)}"
                        " as well: with both_ways copies have names of their own, and it would not read them"
                    )
        return problems

    def _seconds(self) -> list[str]:
        """What does not fit between the scheme and second instances."""
        if self.scheme != "producers_later":
            return [
                f"services: {s.name}: second: only scheme producers_later runs a service twice"
                for s in self.services
                if s.second is not None
            ]
        problems = [
            f"services: {s.name}: second: is needed, since it reads: a program, a copy, or a person that starts one"
            for s in self.services
            if s.consumes and s.second is None
        ]
        problems += [
            f"services: {s.name}: second: only a service that reads runs twice"
            for s in self.services
            if not s.consumes and s.second is not None
        ]
        if self.order == "strict":
            problems.append(
                "order: strict cannot be kept by scheme producers_later: consumers read both clusters at once, so that"
                " a key's messages of the target can be read before its last ones of the source. Say order: relaxed,"
                " or use scheme producers_first"
            )
        return problems

    def _suites(self) -> list[str]:
        """What does not fit between the topics and their suites."""
        names = [entry.topic for entry in self.suites]
        return [
            *(f"verify: suites: {name} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})),
            *(
                f"verify: suites: topic {name} is not among the plan's topics (topics.include)"
                for name in names
                if not (LEGAL_TOPIC.fullmatch(name) and self.includes(name))
            ),
        ]

    def includes(self, topic: str) -> bool:
        """Whether the plan's `topics` choose this topic. They never choose one of this product's own, nor a copy."""
        return self.names(topic) and not topic.startswith(OWN_TOPICS) and not self.is_copy(topic)

    def names(self, topic: str) -> bool:
        """Whether the entries of the plan's `topics` match this topic."""
        entries = self.topics
        return any(_matches(e, topic) for e in entries.include) and not any(_matches(e, topic) for e in entries.exclude)

    def copy_name(self, topic: str, side: Side) -> str:
        """What a topic of that side is called on the other, where copies have names of their own (KIP-382)."""
        separator = self.mirror.properties.get("replication.policy.separator", ".") if self.mirror else "."
        return f"{side}{separator}{topic}"

    def read_on(self, side: Side, topics: Iterable[str]) -> list[str]:
        """By which names a group reads these topics there: their own, and those of copies where they have one."""
        return [
            name
            for topic in topics
            for name in (topic, *((self.copy_name(topic, side.other),) if self.prefixed else ()))
        ]

    def is_copy(self, topic: str) -> bool:
        """Whether a topic of that name counts as a copy on both sides: copied on, it would be copied without end."""
        return self.prefixed and topic.startswith(tuple(self.copy_name("", side) for side in Side))

    @property
    def copies(self) -> bool:
        """Whether the stored messages come along: groups then go on behind what they have read, not at a seed."""
        return self.scheme in ("mirror_first", "mirror")

    @property
    def keeps_mirror(self) -> bool:
        """Whether nothing moves: the mirror is kept, and services follow it only when the source is lost."""
        return self.scheme == "mirror"

    @property
    def prefixed(self) -> bool:
        """Whether a kept mirror copies both ways, so that copies lie under names of their own."""
        return self.keeps_mirror and self.mirror is not None and self.mirror.ways == "both_ways"

    @property
    def ways(self) -> tuple[Side, ...]:
        """The sides that are copied to by mirrors that run at the same time, or by the one that does."""
        return (Side.TARGET, Side.SOURCE) if self.prefixed else (Side.TARGET,)

    @property
    def copied_back(self) -> bool:
        """Whether a rollback copies what was produced on the target to the source, instead of its being read there."""
        return self.copies or (self.mirror is not None and self.mirror.back is not None)

    def service(self, name: str) -> Service:
        return next(s for s in self.services if s.name == name)

    @cached_property
    def groups(self) -> Mapping[str, Consumes]:
        """Every group of the plan; where several services share one, their topics together."""
        found: dict[str, Consumes] = {}
        for service in self.services:
            for c in service.consumes:
                if c.group in found:
                    together = tuple(dict.fromkeys((*found[c.group].topics, *c.topics)))
                    found[c.group] = found[c.group].model_copy(update={"topics": together})
                else:
                    found[c.group] = c
        return found

    def writers(self, topic: str) -> list[Service]:
        return [s for s in self.services if topic in s.produces]

    def readers(self, topic: str) -> list[Service]:
        return [s for s in self.services if topic in s.reads]

    @property
    def suites(self) -> tuple[TopicSuite, ...]:
        """Those that a verification judges messages by."""
        return self.verify.suites if self.verify else ()

    @property
    def acceptances(self) -> dict[str, str]:
        return {a.finding: a.reason for a in self.accept}


def is_name(entry: str) -> bool:
    """Whether an entry of `topics` is a topic's name rather than a regular expression."""
    return LEGAL_TOPIC.fullmatch(entry) is not None


def _matches(entry: str, topic: str) -> bool:
    return entry == topic if is_name(entry) else re.fullmatch(entry, topic) is not None
