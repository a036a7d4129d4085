"""Asking a cluster of which a broker may have died for many things at once, until somebody answers for each.

The client keeps a request for as long as its broker is away, and does not look who leads instead (librdkafka; measured:
a read of offsets waited 26 s for a broker whose partitions others had led for 17 s). So the first attempts are short,
and what was not answered is asked again by a client that knows nothing yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

from kafka_migration.clusters.client import COORDINATOR_TIMEOUT, Cluster

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

SHORT_FIRST = (5.0, 10.0, 20.0)
"""Seconds for each attempt: of several brokers one that has died is missed by the others after nine."""

ONE_LONG = (COORDINATOR_TIMEOUT,)
"""For what a coordinator answers: there a time-out is worse than waiting."""

_PASSES_WITHIN = 15.0
_PAUSE = 0.1
_MOVING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
_UNANSWERED = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._DESTROY}


def ask_each(
    cluster: Cluster,
    wanted: Iterable[K],
    ask: Callable[[Sequence[K], float], Mapping[K, Future[T]]],
    passes: Callable[[K, KafkaError], bool] = lambda key, error: False,
    attempts: Sequence[float] = SHORT_FIRST,
) -> dict[K, T | KafkaError]:
    """What was answered for each. `ask` sends all requests at once, with so many seconds for each, and does not wait.

    An error of the cluster that `passes` is asked again for up to 15 s. What nobody has answered is asked again while
    any broker answers at all, with the seconds of the next of `attempts`; after the last it is a time-out.
    """
    found: dict[K, T | KafkaError] = {}
    further = iter(attempts)
    within = next(further)
    first_passing: float | None = None
    left = list(wanted)
    while left:
        again, unanswered = [], False
        for key, future in ask(left, within).items():
            error = _error(future, within)
            if error is None:
                found[key] = future.result()
                continue
            found[key] = error
            if error.code() in _UNANSWERED:
                unanswered = True
                again.append(key)
            elif passes(key, error):
                first_passing = first_passing or time.monotonic()
                if time.monotonic() - first_passing < _PASSES_WITHIN:
                    again.append(key)
        if unanswered:
            following = next(further, None)
            if following is None or not cluster.any_broker_answers():
                return found
            within = following
        left = again
        if left:
            cluster.leave_client()
            time.sleep(_PAUSE)
    return found


def coordinator_moves(group: str, error: KafkaError) -> bool:
    """Whether a group's coordinator is on its way to another broker, which that broker says until it has read all."""
    return error.code() in _MOVING


def _error(future: Future[T], within: float) -> KafkaError | None:
    try:
        future.result(timeout=within + 5)
    except KafkaException as error:
        known: KafkaError = error.args[0]
        return known
    except TimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)
    return None
