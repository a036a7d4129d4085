"""The service `payments`: a transactional producer of which one transaction in seven is withdrawn."""

from __future__ import annotations

import random
import time

from confluent_kafka import Producer

from demo.shop.life import Life, say
from demo.shop.messages import Maker
from demo.shop.settings import Settings, required
from demo.shop.transactions import Aborted, Transactions
from demo.witness_log import WitnessLog

_ACCOUNTS = 300
_IN_ONE_TRANSACTION = (10, 20)
_ONE_WITHDRAWN_OF = 7


def main() -> None:
    life = Life()
    settings = Settings.from_environment()
    rate = float(required("SHOP_RATE"))
    producer = Producer(
        {
            "bootstrap.servers": settings.servers,
            "client.id": settings.service,
            "transactional.id": settings.service,
            "linger.ms": 5,
        }
    )
    transactions = Transactions(producer, life)
    log = WitnessLog(settings.witness, settings.servers)
    maker = Maker(settings.service)
    transactions.prepare()
    say(f"{settings.service} books {rate:.0f} payments a second at {settings.servers}")

    due = time.monotonic()
    number = 0
    while not life.over:
        number += 1
        messages = [
            maker.message("payments", f"account-{random.randrange(_ACCOUNTS):04}", amount=random.randrange(1, 500))
            for _ in range(random.randint(*_IN_ONE_TRANSACTION))
        ]
        if number % _ONE_WITHDRAWN_OF == 0:
            transactions.withdraw(messages)
        else:
            while not life.over:
                try:
                    records = transactions.commit(messages)
                except Aborted:
                    continue
                log.produced(settings.service, records)
                break
        due = max(due, time.monotonic() - 1.0) + len(messages) / rate
        life.rest(due - time.monotonic())
    say(f"{settings.service} ends")


if __name__ == "__main__":
    main()
