"""One cluster as seen from here: its clients, built from a connection's configuration, and errors that tell the cause.

librdkafka reports why it cannot connect only through its error callback and its log, never in the exception: both are
collected here and put into the message.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition
from confluent_kafka.admin import AdminClient

from kafka_migration.clusters.admins import Admins
from kafka_migration.errors import ClusterError, ClusterUnreachable
from kafka_migration.sides import Addresses, Side
from kafka_migration.throttle import Throttle

if TYPE_CHECKING:
    from kafka_migration.mirror.rest import Connect

T = TypeVar("T")

REQUEST_TIMEOUT = 30.0
CONNECT_TIMEOUT = 10.0
COORDINATOR_TIMEOUT = 60.0
"""For what a group's coordinator answers, through `Cluster.group_admin`. librdkafka finds a new coordinator by itself
(measured: within 15 s), and ends the process some seconds after such a request has timed out."""

CLIENT_ID = "kafka-migration"
VERIFYING_ID = "kafka-migration-verify"
_COORDINATORS = "__consumer_offsets"  # the leader of a partition coordinates the groups that belong to it
_LONG = 2.0  # seconds
_SETTLES_WITHIN = 1.0  # seconds until a new coordinator tells all that was committed: see `coordinators_moved`
_LOOK_EVERY = 0.5  # seconds
_TCP_TIMEOUT = 5.0
_DENIED_FOR = 60.0  # seconds
_LEAST_QUEUED = 64  # KiB

_UNREACHABLE = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._SSL,
    KafkaError._AUTHENTICATION,
    KafkaError._DESTROY,  # another thread has left the client
}
# librdkafka's keys that say how an application consumes or produces. A connection shared with one may hold them; here
# they would do harm: a `transactional.id` fences the application, a `client.rack` reads from a replica that lags.
_OF_APPLICATIONS = re.compile(
    r"group\.|partition\.assignment|session\.|heartbeat\.|max\.poll|coordinator\.|auto\.|isolation\.|offset\.store"
    r"|queue|fetch\.|max\.partition|consume\.|check\.crcs|client\.rack|allow\.auto|on_commit"
    r"|transaction|acks|request\.|linger|message\.(send|timeout)|retries|compression|batch\.|delivery\.|sticky"
    r"|produce\.|partitioner|on_delivery|enable\.(auto|idempotence|gapless|partition)"
)
_CIRCUMSTANCE = re.compile(r" \(after \d+ms in state \w+[^)]*\)")


class Cluster:
    """A cluster by its side, its connection's id, and librdkafka's configuration for it.

    `throttle`: what all that is read of it is paced by.
    """

    def __init__(
        self,
        side: Side,
        connection: str,
        config: Mapping[str, Any],
        log: logging.Logger | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self.side = side
        self.connection = connection
        self.throttle = throttle
        self._config = {k: v for k, v in config.items() if not _OF_APPLICATIONS.match(k)}
        self._log = log or logging.getLogger("kafka_migration.librdkafka")
        self._causes: deque[str] = deque(maxlen=20)
        self._admins = Admins(self._make_admin, kept=COORDINATOR_TIMEOUT + CONNECT_TIMEOUT)
        self._denied_until = 0.0

    def __str__(self) -> str:
        return f"the {self.side.value} cluster ({self.bootstrap_servers})"

    @property
    def bootstrap_servers(self) -> str:
        return str(self._config["bootstrap.servers"])

    @property
    def config(self) -> dict[str, Any]:
        """librdkafka's configuration for a client of this cluster, its log routed to the logger."""
        former = self._config.get("error_cb")

        def heard(error: KafkaError) -> None:
            self._causes.append(error.str())
            if callable(former):
                former(error)

        return {
            "client.id": CLIENT_ID,
            **self._config,
            "error_cb": heard,
            "logger": _CauseLogger(self._log, self._causes),
        }

    def verified(self, bytes_per_second: float | None) -> Cluster:
        """The same for a verification, by whose client id brokers and operators can tell it from all else.

        `bytes_per_second`: how fast it may be read.
        """
        throttle = Throttle(bytes_per_second) if bytes_per_second else None
        config = {**self._config, "client.id": VERIFYING_ID}
        return Cluster(self.side, self.connection, config, self._log, throttle)

    @property
    def admin(self) -> AdminClient:
        """One admin client for as long as it finds brokers; safe for threads."""
        return self._admins.general

    def group_admin(self, groups: Collection[str]) -> AdminClient:
        """The admin client for what the coordinators of these groups answer; ask for it each time.

        librdkafka ends the whole process where a coordinator says that it is none, as after each restart of a broker of
        one that it remembers, and in the moments in which another takes over (confluentinc/librdkafka 5040; measured
        with 2.16.1: SIGSEGV); it also ends it after a request to one has timed out (4605; SIGABRT). The coordinators
        are the leaders of Kafka's own topic of offsets, so these are looked at first. Where one of these groups has
        none, or one that takes no connection, nothing is sent until it has; where others have taken over they get a
        moment, and a client is used that remembers none. What stays is a coordinator that moves within the milliseconds
        between; for a user who may not describe that topic, within the last five seconds.

        Raises `ClusterUnreachable`.
        """
        deadline = time.monotonic() + COORDINATOR_TIMEOUT
        waited = False
        while True:
            seen = self._coordinators()
            problem = None
            if seen:
                problem = self._without_coordinator(groups, seen)
            elif seen is not None and groups:
                problem = self._without_any(next(iter(groups)))
            if problem is None:
                break
            waited = True
            if time.monotonic() > deadline:
                raise ClusterUnreachable(f"{self} {problem}")
            time.sleep(_LOOK_EVERY)
        admin, moved = self._admins.of_groups(seen)
        if moved or waited:
            time.sleep(_SETTLES_WITHIN)
        return admin

    def _without_any(self, group: str) -> str | None:
        """Have the topic of offsets made on a cluster that no group has ever used, as whoever asks first does.

        Asked by a consumer: an admin client that was told that there is no coordinator yet may wait for one for ever
        (measured, of two brokers that had just started). None: this user may not ask, which is for others to tell.
        """
        with self._valid_settings():
            consumer = Consumer({**self.config, "group.id": group, "enable.auto.commit": False})
        try:
            consumer.committed([KafkaTopicPartition(_COORDINATORS, 0)], timeout=CONNECT_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                return None
        finally:
            consumer.close()
        return f"has no topic {_COORDINATORS}, and has not made it when it was asked for group {group}"

    def _without_coordinator(self, groups: Iterable[str], coordinators: Mapping[int, int]) -> str | None:
        """Which of these groups has nobody to ask, and why."""
        answers: dict[int, bool] = {}
        for group in groups:
            number = offsets_partition(group, len(coordinators))
            leader = coordinators.get(number, -1)
            if leader < 0:
                return (
                    f"has no leader for partition {number} of {_COORDINATORS}, so that group {group} has no"
                    " coordinator. Bring the broker back that kept it."
                )
            if leader not in answers:
                address = self._admins.addresses.get(leader)  # one that is not known is for the client to find
                answers[leader] = address is None or no_connection(*address) is None
            if not answers[leader]:
                return (
                    f"has lost broker {leader}, the coordinator of group {group}, and has chosen no other."
                    " Bring it back."
                )
        return None

    def coordinators_moved(self, began: float) -> bool:
        """Whether they have moved while groups were asked since that moment (`time.monotonic`).

        Where an answer took long the client may have found other coordinators than those that were seen before it was
        used, and remembers them: it must be known for what it is when the former ones return. And one that has just
        taken over tells of what was committed only as much as others are known to have (measured: a group of which it
        told nothing, whose offsets were all there a moment later). So what it has told is to be asked again.
        """
        if time.monotonic() - began <= _LONG:
            return False
        with contextlib.suppress(ClusterError):
            return self._admins.of_groups(self._coordinators())[1]
        return False

    def _coordinators(self) -> Mapping[int, int] | None:
        """The broker that leads each partition of the topic of offsets, -1: none; None: this user may not see it."""
        admin = self.admin
        doing = "looking whether it answers"
        if time.monotonic() < self._denied_until:  # brokers may log what they deny: it is not asked again and again
            self.wait(admin.describe_cluster(request_timeout=CONNECT_TIMEOUT), doing, CONNECT_TIMEOUT)
            return None
        try:
            told = admin.list_topics(_COORDINATORS, timeout=CONNECT_TIMEOUT)
        except KafkaException as error:
            raise self.error(error, doing) from None
        self._admins.know({number: (broker.host, broker.port) for number, broker in told.brokers.items()})
        topic = told.topics[_COORDINATORS]
        if topic.error is not None and topic.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            self._denied_until = time.monotonic() + _DENIED_FOR
            return None
        return {number: partition.leader for number, partition in topic.partitions.items()}

    @contextlib.contextmanager
    def reader(self, isolation: str = "read_committed") -> Iterator[Consumer]:
        """A consumer for `assign`: it joins no group, never commits, and does not reset its position by itself."""
        settings = {
            **self.config,
            "group.id": f"{CLIENT_ID}-reader",  # required by librdkafka; with assign() no broker hears of it
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 5,  # measured: 2.5 to 4 times the default's rate
            "allow.auto.create.topics": False,
        }
        if self.throttle is not None:
            # What is fetched ahead is not paced: no more of it than is read in a second.
            queued = max(_LEAST_QUEUED, int(self.throttle.bytes_per_second / 1024))
            settings |= {"queued.max.messages.kbytes": queued, "fetch.max.bytes": queued * 1024}
        with self._valid_settings():
            consumer = Consumer(settings)
        try:
            yield consumer
        finally:
            consumer.close()

    def wait(self, future: Future[T], doing: str, timeout: float = REQUEST_TIMEOUT) -> T:
        """The result of an admin call, or a `ClusterError` that names the cluster, the deed and the cause."""
        try:
            return future.result(timeout=timeout + 5)
        except KafkaException as error:
            raise self.error(error, doing) from None
        except TimeoutError:
            cause = self._cause()
            self.leave_client()
            raise ClusterUnreachable(f"{self} did not answer within {timeout:.0f} s: {doing}{cause}") from None

    def error(self, error: KafkaException | KafkaError, doing: str) -> ClusterError:
        """The same error with the cluster, the deed and what librdkafka said of the cause."""
        kafka_error = error.args[0] if isinstance(error, KafkaException) and error.args else error
        if isinstance(kafka_error, KafkaError) and kafka_error.code() in _UNREACHABLE:
            unreachable = ClusterUnreachable(
                f"{self} could not be reached: {doing}: {kafka_error.str()}{self._cause()}"
                f"\nCheck the connection {self.connection} and that its brokers can be reached from this host."
            )
            self.leave_client()
            return unreachable
        text = kafka_error.str() if isinstance(kafka_error, KafkaError) else str(error)
        name = f" ({kafka_error.name()})" if isinstance(kafka_error, KafkaError) else ""
        return ClusterError(f"{self} refused: {doing}: {text}{name}")

    def leave_client(self, made_before: float | None = None) -> None:
        """The next call gets a client that knows nothing yet; one made since `made_before` (`time.monotonic`) stays.

        One that has lost a group's coordinator may go on waiting for it for ever (confluentinc/librdkafka 3847): each
        request timed out for minutes after the broker was back, while a new client was answered at once. One that has
        asked nothing while its broker was restarted goes on with an old leader epoch (measured: FENCED_LEADER_EPOCH).
        """
        self._admins.leave(made_before)

    @property
    def causes(self) -> list[str]:
        """What librdkafka said of failures so far, oldest first, each once."""
        self._admins.poll()
        return list(dict.fromkeys(_CIRCUMSTANCE.sub("", cause) for cause in self._causes.copy()))

    def _make_admin(self, known: Sequence[str]) -> AdminClient:
        """Of the brokers that are known those that the connection does not name stand behind those that it does."""
        named = [part.strip().rpartition("://")[2] for part in self.bootstrap_servers.split(",")]
        servers = ",".join([self.bootstrap_servers, *(one for one in known if one not in named)])
        with self._valid_settings():
            return AdminClient({**self.config, "bootstrap.servers": servers})

    @contextlib.contextmanager
    def _valid_settings(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise ClusterError(
                f"the connection {self.connection} of {self} does not make a Kafka client: {error.args[0].str()}"
                "\nCorrect the connection's extra; its keys are those of librdkafka."
            ) from None

    def _cause(self) -> str:
        return "".join(f"\n    cause: {cause}" for cause in self.causes[-3:])


@dataclass(frozen=True)
class Clusters:
    """Source and target of a plan. `heading`: the side that services are moved to; back to the source in a rollback.

    `workers`: by the side that it copies to, the Kafka Connect cluster that copies, where the plan has one.
    """

    source: Cluster
    target: Cluster
    heading: Side = Side.TARGET
    workers: Mapping[Side, Connect] = field(default_factory=dict)

    def of(self, side: Side) -> Cluster:
        return self.source if side is Side.SOURCE else self.target

    @property
    def origin(self) -> Cluster:
        """The cluster that services leave."""
        return self.of(self.heading.other)

    @property
    def destination(self) -> Cluster:
        """The cluster that services go to."""
        return self.of(self.heading)

    @property
    def worker(self) -> Connect | None:
        """What copies to where services go."""
        return self.workers.get(self.heading)

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.source.bootstrap_servers, self.target.bootstrap_servers)


def no_connection(host: str, port: int) -> str | None:
    """Why nobody can be reached there; None where somebody listens."""
    try:
        with socket.create_connection((host, port), timeout=_TCP_TIMEOUT):
            return None
    except (OSError, ValueError) as error:
        return f"no TCP connection: {getattr(error, 'strerror', None) or error}"


def offsets_partition(group: str, partitions: int) -> int:
    """The partition of Kafka's topic of offsets that a group belongs to: its leader is the group's coordinator.

    As Kafka's `GroupMetadataManager.partitionFor` computes it, from Java's hash of the text.
    """
    hashed = 0
    encoded = group.encode("utf-16-be", errors="surrogatepass")
    for unit in range(0, len(encoded), 2):
        hashed = (31 * hashed + int.from_bytes(encoded[unit : unit + 2])) & 0xFFFFFFFF
    signed = hashed - (1 << 32) if hashed >= 1 << 31 else hashed
    return 0 if signed == -(1 << 31) else abs(signed) % partitions


class _CauseLogger(logging.LoggerAdapter[logging.Logger]):
    """librdkafka's log lines at debug level, as it repeats them for ever; what names a failure is kept as a cause."""

    def __init__(self, logger: logging.Logger, causes: deque[str]) -> None:
        super().__init__(logger)
        self._heard = causes

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        text = str(msg) % args if args else str(msg)
        if level >= logging.ERROR:
            self._heard.append(text.partition("]: ")[2] or text)
        self.logger.debug("librdkafka: %s", text)
