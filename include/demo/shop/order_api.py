"""The service `order-api`: an idempotent producer of orders, and of a customer's changes now and then."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from demo.shop.messages import Maker, Message
from demo.shop.writer import run_writer

_CUSTOMERS = 400
_ORDERS_FOR_ONE_CHANGE = 100
_made = itertools.count(1)


def order(maker: Maker) -> Iterator[Message]:
    customer = f"customer-{random.randrange(_CUSTOMERS):04}"
    yield maker.message("orders", customer, amount=random.randrange(1, 500))
    if next(_made) % _ORDERS_FOR_ONE_CHANGE == 0:
        yield maker.message("customers", customer, city=f"city-{random.randrange(50)}")


if __name__ == "__main__":
    run_writer(order, "orders")
