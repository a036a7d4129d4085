"""The admin clients of one cluster: made when they are needed, left when they mislead, kept while somebody may wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_REMEMBERS_FOR = 5.0  # seconds, where it cannot be seen whether coordinators have moved


@dataclass(frozen=True)
class _Made:
    client: AdminClient
    at: float = field(default_factory=time.monotonic)


class Admins:
    """Two clients, one of them for what coordinators of groups answer. Safe for threads.

    `make` gets addresses of brokers that are known besides those that were configured: a client that knows nothing yet
    would find nobody where just these have died. With a client that is collected the requests of other threads that are
    under way fail, so one that was left is kept for `kept` seconds, longer than any request takes.
    """

    def __init__(self, make: Callable[[Sequence[str]], AdminClient], kept: float) -> None:
        self._make = make
        self._kept = kept
        self._lock = threading.Lock()
        self._general: _Made | None = None
        self._of_groups: _Made | None = None
        self._coordinators: Mapping[int, int] | None = None
        self._left: list[_Made] = []
        self.addresses: Mapping[int, tuple[str, int]] = {}

    @property
    def general(self) -> AdminClient:
        with self._lock:
            if self._general is None:
                self._general = _Made(self._make(self._known))
            return self._general.client

    def of_groups(self, coordinators: Mapping[int, int] | None) -> tuple[AdminClient, bool]:
        """A client that remembers no other coordinators than these, and whether there were others when last asked.

        None: they cannot be seen.
        """
        over: list[_Made] = []  # to end clients takes a while: not while others wait for the lock
        with self._lock:
            now, used = time.monotonic(), self._of_groups
            moved = None not in (coordinators, self._coordinators) and coordinators != self._coordinators
            if used is None or moved or (coordinators is None and now - used.at > _REMEMBERS_FOR):
                over = self._put_away(now, used)
                used = self._of_groups = _Made(self._make(self._known))
            self._coordinators = coordinators
        del over
        return used.client, moved

    def leave(self, made_before: float | None = None) -> None:
        """The next call gets clients that know nothing yet. Those made since that moment stay: another has left before.

        `made_before`: as `time.monotonic` tells; None: all are left.
        """
        with self._lock:
            now = time.monotonic()
            leaving = [
                one for one in (self._general, self._of_groups) if one and (made_before is None or one.at < made_before)
            ]
            self._general = None if self._general in leaving else self._general
            self._of_groups = None if self._of_groups in leaving else self._of_groups
            over = self._put_away(now, *leaving)
        del over

    def know(self, brokers: Mapping[int, tuple[str, int]]) -> None:
        """Host and port that each broker advertises. An empty answer tells nothing."""
        if brokers:
            self.addresses = dict(brokers)

    @property
    def _known(self) -> list[str]:
        return [f"{host}:{port}" for host, port in sorted(self.addresses.values())]

    def poll(self) -> None:
        """Let the clients tell what they have to tell: they do so only when they are polled."""
        for one in (self._general, self._of_groups):
            with contextlib.suppress(KafkaException):
                if one is not None:
                    one.client.poll(0)

    def _put_away(self, now: float, *leaving: _Made | None) -> list[_Made]:
        """Keep these for a while; those that have been kept for long enough. A client's time begins anew here."""
        over = [one for one in self._left if now - one.at > self._kept]
        self._left = [one for one in self._left if now - one.at <= self._kept]
        self._left += [_Made(one.client, now) for one in leaving if one is not None]
        return over
