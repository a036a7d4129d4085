"""The service `fulfilment`: a processor that turns each order into a shipment, exactly once.

Shipments and the offsets of the orders are committed in one transaction. What it consumed and produced is
written down right after that: a process killed between the two has done both and witnessed neither, and the
count then names a loss that is none. Stopped with SIGTERM it never is in between.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from demo.shop.life import Life, say
from demo.shop.messages import Maker, read
from demo.shop.reader import CLASSIC, Batches, consumer_of, next_offsets
from demo.shop.settings import Settings
from demo.shop.transactions import Aborted, Transactions
from demo.witness_log import WitnessLog

_NAME = _GROUP = "fulfilment"
_ANSWER_WITHIN = 10.0
_HANGS_AFTER = 12.0
_EXIT_HANGING = 70


def main() -> None:
    life = Life()
    settings = Settings.from_environment()
    fulfilment = Fulfilment(settings, life)
    say(f"{settings.service} turns orders into shipments at {settings.servers}")
    try:
        while not life.over:
            fulfilment.work()
    finally:
        fulfilment.close()
    say(f"{settings.service} ends")


class Fulfilment:
    def __init__(self, settings: Settings, life: Life) -> None:
        self._log = WitnessLog(settings.witness, settings.servers)
        self._maker = Maker(settings.service)
        self._producer = Producer(
            {
                "bootstrap.servers": settings.servers,
                "client.id": settings.service,
                # Of every instance: there is one in each cluster at most, and each cluster has its own.
                "transactional.id": _NAME,
                "linger.ms": 5,
            }
        )
        self._transactions = Transactions(self._producer, life)
        self._transactions.prepare()
        self._consumer: Consumer = consumer_of(
            settings, _GROUP, {**CLASSIC, "auto.offset.reset": "earliest", "isolation.level": "read_committed"}
        )
        self._batches = Batches(self._consumer, ["orders"])

    def work(self) -> None:
        """Take the next orders, if there are any, and commit their shipments."""
        messages = self._batches.next()
        if not messages:
            return
        orders = [order for order in map(read, messages) if order is not None]
        shipments = [self._maker.message("shipments", order.key, order=order.id) for order in orders]
        try:
            placed = self._transactions.commit(shipments, before_commit=lambda: self._send_offsets(messages))
        except Aborted:
            self._read_again(messages)
            return
        # In this order: nobody may find all orders processed while shipments are still to be named.
        self._log.produced(_NAME, placed)
        self._log.processed(_GROUP, orders)

    def close(self) -> None:
        self._consumer.close()

    def _send_offsets(self, messages: Sequence[KafkaMessage]) -> None:
        # This call may never return once the group's coordinator was away, whatever its timeout
        # (confluentinc/librdkafka 5456). Nothing is committed yet, so the process may end and be started anew.
        guard = threading.Timer(_HANGS_AFTER, _end_hanging)
        guard.daemon = True
        guard.start()
        try:
            self._producer.send_offsets_to_transaction(
                next_offsets(messages), self._consumer.consumer_group_metadata(), _ANSWER_WITHIN
            )
        finally:
            guard.cancel()

    def _read_again(self, messages: Sequence[KafkaMessage]) -> None:
        """Go back to the first of these messages in each partition that is still this service's own."""
        owned = {(one.topic, one.partition) for one in self._consumer.assignment()}
        first: dict[tuple[str, int], int] = {}
        for message in messages:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            if topic is not None and partition is not None and offset is not None:
                first.setdefault((topic, partition), offset)
        for (topic, partition), offset in first.items():
            if (topic, partition) in owned:
                self._consumer.seek(TopicPartition(topic, partition, offset))


def _end_hanging() -> None:
    say(f"sending offsets hangs since {_HANGS_AFTER:.0f} s: ends, to be started anew")
    os._exit(_EXIT_HANGING)


if __name__ == "__main__":
    main()
