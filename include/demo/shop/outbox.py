"""Sends messages in order and keeps each until the broker has acknowledged it.

What the broker refuses is kept and sent again, before anything newer, so that the order of a key holds.
Only what was acknowledged is written to the witness log.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from demo.shop.life import say
from demo.shop.messages import Message
from demo.witness_log import WitnessLog


class Outbox:
    def __init__(self, producer: Producer, log: WitnessLog, service: str) -> None:
        self._producer = producer
        self._log = log
        self._service = service
        self._waiting: deque[Message] = deque()
        self._refused: list[Message] = []
        self._in_flight = 0

    def __len__(self) -> int:
        """Messages not yet acknowledged."""
        return len(self._waiting) + len(self._refused) + self._in_flight

    def add(self, message: Message) -> None:
        self._waiting.append(message)

    def work(self, seconds: float) -> None:
        """Send what may be sent, and take acknowledgements for at most that long."""
        if self._refused and not self._in_flight:
            self._refused.sort(key=lambda message: message.seq)
            self._waiting.extendleft(reversed(self._refused))
            self._refused.clear()
        while self._waiting and not self._refused and self._send(self._waiting[0]):
            self._waiting.popleft()
        self._producer.poll(seconds)

    def _send(self, message: Message) -> bool:
        try:
            self._producer.produce(
                message.topic, message.value, message.key, on_delivery=partial(self._answered, message)
            )
        except BufferError:
            return False
        except KafkaException as error:
            raise_if_fatal(error)
            return False
        self._in_flight += 1
        return True

    def _answered(self, message: Message, error: KafkaError | None, delivered: KafkaMessage) -> None:
        self._in_flight -= 1
        if error is not None:
            say(f"{message.id} was refused, kept to be sent again: {error}")
            self._refused.append(message)
            return
        self._log.produced(self._service, [message.at(delivered)])


def raise_if_fatal(error: KafkaException) -> None:
    """A fatal error leaves the client useless: the service ends, and its supervisor starts it anew."""
    if error.args[0].fatal():
        raise error
