"""Carries a transaction to a known end: committed, or aborted. It never leaves one open on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from demo.shop.life import Life, say
from demo.shop.messages import Message
from demo.shop.outbox import raise_if_fatal
from demo.witness_log import Record

_EACH_TRY = 10.0
_PAUSE = 0.2


class Aborted(Exception):
    """The transaction was ended without effect: its work may be done again."""


class Transactions:
    """The transactions of one service.

    A call is tried again while the cluster does not answer, but no longer than the service is to live.
    """

    def __init__(self, producer: Producer, life: Life) -> None:
        self._producer = producer
        self._life = life

    def prepare(self) -> None:
        self._until_done("init_transactions", lambda: self._producer.init_transactions(_EACH_TRY))

    def commit(self, messages: Iterable[Message], before_commit: Callable[[], None] = lambda: None) -> list[Record]:
        """Send the messages in one transaction and commit it. Where they lie; `Aborted` when it could not be."""
        records: list[Record] = []
        try:
            self._send(messages, records)
            before_commit()
            self._until_done("commit_transaction", lambda: self._producer.commit_transaction(_EACH_TRY))
        except (KafkaException, BufferError) as error:
            if isinstance(error, KafkaException):
                raise_if_fatal(error)
            say(f"transaction is aborted: {error}")
            self._abort()
            raise Aborted from error
        return records

    def withdraw(self, messages: Iterable[Message]) -> None:
        """Send the messages and abort: they lie in the log, and nobody may read them."""
        try:
            self._send(messages, [])
            self._producer.flush(_EACH_TRY)
        except (KafkaException, BufferError) as error:
            if isinstance(error, KafkaException):
                raise_if_fatal(error)
            say(f"not all messages of a transaction to be withdrawn were sent: {error}")
        self._abort()

    def _send(self, messages: Iterable[Message], records: list[Record]) -> None:
        self._producer.begin_transaction()
        for message in messages:
            self._producer.produce(
                message.topic, message.value, message.key, on_delivery=partial(_answered, message, records)
            )

    def _abort(self) -> None:
        self._until_done("abort_transaction", lambda: self._producer.abort_transaction(_EACH_TRY))

    def _until_done(self, what: str, call: Callable[[], None]) -> None:
        while True:
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable() or self._life.over:
                    raise
                say(f"{what} is tried again: {error}")
                self._life.rest(_PAUSE)


def _answered(message: Message, records: list[Record], error: KafkaError | None, delivered: KafkaMessage) -> None:
    # A message that failed makes its transaction's commit fail: nothing is to be done about it here.
    if error is None:
        records.append(message.at(delivered))
