"""The shop's messages: each can be told from every other one, and carries its place in its producer's order."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message as KafkaMessage

from demo.shop.life import say
from demo.witness_log import Record

_SIZE = 170


@dataclass(frozen=True, slots=True)
class Message:
    """One to be sent."""

    topic: str
    key: str
    id: str
    seq: int
    value: bytes

    def at(self, delivered: KafkaMessage) -> Record:
        """Where the broker has put it."""
        partition, offset = delivered.partition(), delivered.offset()
        if partition is None or offset is None:
            raise ValueError(f"{self.id} was delivered without partition and offset")
        return Record(self.topic, partition, offset, self.key, self.id, self.seq)


class Maker:
    """Makes one producer's messages, numbered without end.

    A start continues above every earlier one because numbers count from the clock's microseconds, and no
    producer here makes a million messages a second.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._numbers = itertools.count(time.time_ns() // 1_000)

    def message(self, topic: str, key: str, **content: Any) -> Message:
        seq = next(self._numbers)
        id_ = f"{self._service}-{seq}"
        body = json.dumps({"id": id_, "seq": seq, **content})
        # One more member fills the value up to its size, as an address or a comment would.
        filler = "." * max(0, _SIZE - len(body) - len(', "note": ""'))
        return Message(topic, key, id_, seq, f'{body[:-1]}, "note": "{filler}"}}'.encode())


def read(message: KafkaMessage) -> Record | None:
    """None, and a line in the log, for what is none of the shop's messages."""
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if topic is None or partition is None or offset is None:
        raise ValueError("a message without topic, partition or offset was consumed")
    key = message.key() or b""
    try:
        body = json.loads(message.value() or b"")
        return Record(
            topic, partition, offset, key if isinstance(key, str) else key.decode(), str(body["id"]), int(body["seq"])
        )
    except (ValueError, KeyError, TypeError):
        say(f"{topic}/{partition}@{offset} is not one of the shop's messages; skipped")
        return None
