"""A producing service: so many pieces of business a second, each message kept until the cluster has taken it.

Idempotent, and never done with a message by time. What it could not deliver before its end was acknowledged to nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from confluent_kafka import Producer

from demo.shop.life import Life, say
from demo.shop.messages import Maker, Message
from demo.shop.outbox import Outbox
from demo.shop.settings import Settings, required
from demo.witness_log import WitnessLog

Business = Callable[[Maker], Iterable[Message]]
"""The messages of one piece of business, an order for example."""

_TICK = 0.1
_KEEPS_UP_TO = 5_000
_FINISH_WITHIN = 10.0


def run_writer(business: Business, what: str) -> None:
    """Live as a service that only writes, at the rate of its env file. `what` it writes, for its log."""
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
    say(f"{settings.service} takes {rate:.0f} {what} a second to {settings.servers}")

    due = time.monotonic()
    while not life.over:
        due += _TICK
        for _ in range(round(rate * _TICK)):
            if len(outbox) >= _KEEPS_UP_TO:
                break  # the cluster takes none: the shop's door is shut, and nobody is told "ordered"
            for message in business(maker):
                outbox.add(message)
        outbox.work(0)
        life.rest(due - time.monotonic())
        due = max(due, time.monotonic() - 1.0)  # after a standstill no burst to make up for it

    deadline = time.monotonic() + _FINISH_WITHIN
    while outbox and time.monotonic() < deadline:
        outbox.work(0.05)
    say(f"{settings.service} ends, {len(outbox)} not acknowledged")
