"""The service `order-api`: an idempotent producer of orders, and of a customer's changes now and then."""

from __future__ import annotations

import random
import time

from confluent_kafka import Producer

from demo.shop.life import Life, say
from demo.shop.messages import Maker
from demo.shop.outbox import Outbox
from demo.shop.settings import Settings, required
from demo.witness_log import WitnessLog

_CUSTOMERS = 400
_TICK = 0.1
_ORDERS_FOR_ONE_CHANGE = 100
_TAKES_ORDERS_UP_TO = 5_000
_FINISH_WITHIN = 10.0


def main() -> None:
    life = Life()
    settings = Settings.from_environment()
    rate = float(required("SHOP_RATE"))
    producer = Producer(
        {
            "bootstrap.servers": settings.servers,
            "client.id": settings.service,
            "enable.idempotence": True,
            "linger.ms": 20,
            # Nothing is given up while the service lives: no message may be dropped by time.
            "message.timeout.ms": 0,
        }
    )
    outbox = Outbox(producer, WitnessLog(settings.witness, settings.servers), settings.service)
    maker = Maker(settings.service)
    say(f"{settings.service} takes {rate:.0f} orders a second to {settings.servers}")

    due = time.monotonic()
    made = 0
    while not life.over:
        due += _TICK
        for _ in range(round(rate * _TICK)):
            if len(outbox) >= _TAKES_ORDERS_UP_TO:
                break  # the cluster takes none: the shop's door is shut, and nobody is told "ordered"
            customer = f"customer-{random.randrange(_CUSTOMERS):04}"
            outbox.add(maker.message("orders", customer, amount=random.randrange(1, 500)))
            made += 1
            if made % _ORDERS_FOR_ONE_CHANGE == 0:
                outbox.add(maker.message("customers", customer, city=f"city-{random.randrange(50)}"))
        outbox.work(0)
        life.rest(due - time.monotonic())
        due = max(due, time.monotonic() - 1.0)  # after a standstill no burst to make up for it

    deadline = time.monotonic() + _FINISH_WITHIN
    while outbox and time.monotonic() < deadline:
        outbox.work(0.05)
    say(f"{settings.service} ends, {len(outbox)} not acknowledged")


if __name__ == "__main__":
    main()
