"""A producing service inside this process: its controller, and when which cluster has acknowledged its messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from confluent_kafka import Producer

from benchmarks.failed import BenchmarkFailed
from kafka_migration.offsets import TopicPartition
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import Observation, State
from kafka_migration.sides import Addresses, Side

_PAUSE = 0.005
_WITHIN = 30.0


class Writer:
    """Writes a message of 100 bytes each 5 ms, and waits for its acknowledgement. A `Controller`."""

    manual = False

    def __init__(self, service: Service, addresses: Addresses, partitions: Sequence[TopicPartition]) -> None:
        self.service = service
        self.written = 0
        self._addresses = addresses
        self._partitions = partitions
        self._configured = Side.SOURCE
        self._runs_on: Side | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._first: dict[Side, float] = {}
        self._last: dict[Side, float] = {}
        self._arrived = {side: threading.Event() for side in Side}

    @property
    def stood_still(self) -> float:
        """Seconds between its last message on the source and its first on the target."""
        return self._first[Side.TARGET] - self._last[Side.SOURCE]

    def await_written_to(self, side: Side) -> None:
        """Return when that side has acknowledged a message."""
        if not self._arrived[side].wait(_WITHIN):
            raise BenchmarkFailed(f"the writer has written nothing to the {side} within {_WITHIN:.0f} s")

    def identity(self) -> str:
        return f"writer:{self.service.name}"

    def check(self) -> list[str]:
        return []

    def observe(self) -> Observation:
        configured = self._addresses.of(self._configured)
        if self._runs_on is None:
            return Observation(State.STOPPED, configured=configured)
        return Observation(State.RUNNING, self._runs_on, self._addresses.of(self._runs_on), configured)

    def configured_for(self, side: Side) -> list[str]:
        return [] if side is self._configured else [f"address: {self._addresses.of(side)}"]

    def configure(self, side: Side) -> list[str]:
        changed = self.configured_for(side)
        self._configured = side
        return changed

    def stop(self) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread, self._runs_on = None, None

    def start(self) -> None:
        if self._thread is None:
            self._stop.clear()
            self._runs_on = self._configured
            self._thread = threading.Thread(target=self._write, args=(self._configured,), daemon=True)
            self._thread.start()
            self.await_running()

    def await_running(self) -> None:
        self.await_written_to(self._configured)

    def start_at_boot(self, start: bool) -> list[str]:
        return []

    def instructions(self, side: Side) -> str:
        return f"Set its address to {self._addresses.of(side)}."

    def _write(self, side: Side) -> None:
        producer = Producer({"bootstrap.servers": self._addresses.of(side), "linger.ms": 0})
        while not self._stop.wait(_PAUSE):
            tp = self._partitions[self.written % len(self._partitions)]
            producer.produce(tp.topic, b"x" * 100, partition=tp.partition)
            if producer.flush(_WITHIN):
                return
            self.written += 1
            self._last[side] = time.monotonic()
            self._first.setdefault(side, self._last[side])
            self._arrived[side].set()
