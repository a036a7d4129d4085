"""The service `warehouse`: tells of each thing that is taken from its shelves or put there."""

from __future__ import annotations

import random
from collections.abc import Iterator

from demo.shop.messages import Maker, Message
from demo.shop.writer import run_writer

_ARTICLES = 100


def movement(maker: Maker) -> Iterator[Message]:
    yield maker.message("stock", f"article-{random.randrange(_ARTICLES):03}", pieces=random.randint(-5, 5))


if __name__ == "__main__":
    run_writer(movement, "movements of stock")
