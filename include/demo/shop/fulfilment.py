"""The service `fulfilment`: a processor that turns each order into a shipment, exactly once.

Shipments and the offsets of the orders are committed in one transaction. What it consumed and produced is
written down right after that: a process killed between the two has done both and witnessed neither, and the
count then names a loss that is none. Stopped with SIGTERM it never is in between.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from demo.shop.life import Life, say
from demo.shop.messages import Maker, read
from demo.shop.reader import Batches, consumer_of, next_offsets
from demo.shop.settings import Settings
from demo.shop.transactions import Aborted, Transactions
from demo.witness_log import WitnessLog

_GROUP = "fulfilment"


def main() -> None:
    life = Life()
    settings = Settings.from_environment()
    log = WitnessLog(settings.witness, settings.servers)
    maker = Maker(settings.service)
    producer = Producer(
        {
            "bootstrap.servers": settings.servers,
            "client.id": settings.service,
            "transactional.id": settings.service,
            "linger.ms": 5,
        }
    )
    transactions = Transactions(producer, life)
    transactions.prepare()
    consumer = consumer_of(settings, _GROUP, {"auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    batches = Batches(consumer, ["orders"])
    say(f"{settings.service} turns orders into shipments at {settings.servers}")
    try:
        while not life.over:
            messages = batches.next()
            if messages:
                _ship(messages, consumer, producer, transactions, maker, log, settings.service)
    finally:
        consumer.close()
    say(f"{settings.service} ends")


def _ship(
    messages: Sequence[KafkaMessage],
    consumer: Consumer,
    producer: Producer,
    transactions: Transactions,
    maker: Maker,
    log: WitnessLog,
    service: str,
) -> None:
    orders = [order for order in map(read, messages) if order is not None]
    shipments = [maker.message("shipments", order.key, order=order.id) for order in orders]
    offsets = next_offsets(messages)
    try:
        placed = transactions.commit(
            shipments,
            before_commit=lambda: producer.send_offsets_to_transaction(
                offsets, consumer.consumer_group_metadata(), 10.0
            ),
        )
    except Aborted:
        _read_again(messages, consumer)
        return
    # In this order: nobody may find all orders processed while shipments are still to be named.
    log.produced(service, placed)
    log.processed(_GROUP, orders)


def _read_again(messages: Sequence[KafkaMessage], consumer: Consumer) -> None:
    """Go back to the first of these messages in each partition that is still this service's own."""
    owned = {(one.topic, one.partition) for one in consumer.assignment()}
    first: dict[tuple[str, int], int] = {}
    for message in messages:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None and offset is not None:
            first.setdefault((topic, partition), offset)
    for (topic, partition), offset in first.items():
        if (topic, partition) in owned:
            consumer.seek(TopicPartition(topic, partition, offset))


if __name__ == "__main__":
    main()
