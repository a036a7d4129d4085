"""Damages one stored message of a stopped broker so that only a comparison of contents can find it.

One byte of its value is changed in the segment file, and the batch gets the right checksum for that: the broker serves
it as if nothing had happened. The format is KIP-98's (magic 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kafka.record.util import calc_crc32c, decode_varint

if TYPE_CHECKING:
    from demo.follow import Policy
    from demo.stage import Stage

_HEAD = struct.Struct(">qi")  # base offset, length of what follows
_CRC_AT, _ATTRIBUTES_AT, _LAST_DELTA_AT, _RECORDS_AT = 17, 21, 23, 61
_COMPRESSION, _CONTROL = 0x07, 0x20


_TOPIC, _PARTITION, _FROM, _TRIES = "events", 0, 1_000, 50  # neither the next message of a group nor the last one


class DamageError(Exception):
    """There is no such message, or it cannot be changed."""


def damage(log_directory: Path, topic: str, partition: int, offset: int) -> str:
    """Change the last byte of a message's value; what was changed, for people. The broker must be stopped.

    Only that byte and the batch's checksum are written. Raises `DamageError` where there is no such message, where its
    value is empty or null, where its batch is compressed, or where it is the marker of a transaction.
    """
    name = f"{topic}/{partition}@{offset}"
    folder = log_directory / f"{topic}-{partition}"
    segments = [file for file in sorted(folder.glob("*.log")) if int(file.stem) <= offset]
    if not segments:
        raise DamageError(f"{folder} holds no offset {offset}")
    with segments[-1].open("r+b") as file:
        found = _batch_with(file, offset)
        if found is None:
            raise DamageError(f"{file.name} holds no offset {offset}")
        at, batch = found
        (base,) = struct.unpack_from(">q", batch)
        try:
            place = _end_of_value(batch, offset - base)
        except DamageError as error:
            raise DamageError(f"{name} cannot be changed: {error}") from None
        batch[place] ^= 0x01
        file.seek(at + place)
        file.write(batch[place : place + 1])
        file.seek(at + _CRC_AT)
        file.write(struct.pack(">I", calc_crc32c(bytes(batch[_ATTRIBUTES_AT:]))))
    return f"one bit of the message at {name}"


def _batch_with(file: BinaryIO, offset: int) -> tuple[int, bytearray] | None:
    """Where in the segment the batch with that offset begins, and the batch."""
    at = 0
    while len(head := file.read(_RECORDS_AT)) == _RECORDS_AT:
        base, length = _HEAD.unpack_from(head)
        (last,) = struct.unpack_from(">i", head, _LAST_DELTA_AT)
        if base <= offset <= base + last:
            return at, bytearray(head + file.read(_HEAD.size + length - _RECORDS_AT))
        at += _HEAD.size + length
        file.seek(at)
    return None


def _end_of_value(batch: bytearray, wanted: int) -> int:
    """Where the last byte of the value lies, of the record with that offset within the batch."""
    (attributes,) = struct.unpack_from(">h", batch, _ATTRIBUTES_AT)
    if attributes & _COMPRESSION:
        raise DamageError("its batch is compressed")
    if attributes & _CONTROL:
        raise DamageError("it is the marker of a transaction")
    place = _RECORDS_AT
    while place < len(batch):
        length, place = decode_varint(batch, place)
        after = place + length
        place += 1  # attributes
        _, place = decode_varint(batch, place)  # timestamp, from the batch's
        delta, place = decode_varint(batch, place)
        key, place = decode_varint(batch, place)
        place += max(0, key)
        value, place = decode_varint(batch, place)
        if delta == wanted:
            if value <= 0:
                raise DamageError("it has no value")
            return int(place + value - 1)
        place = after
    raise DamageError("its batch does not hold it any more")


def damaging(stage: Stage, answers: Policy, say: Callable[[str], None]) -> Policy:
    """The same answers; before the first approval of a reading service one copy on the target is damaged.

    By then everything has been copied, and nothing has been compared.
    """
    done = False

    def answer(task_id: str) -> str:
        nonlocal done
        if not done and task_id.endswith(".approve"):
            done = True
            say(f"damaged on the target: {_damage_one(stage)}")
        return answers(task_id)

    return answer


def _damage_one(stage: Stage) -> str:
    stage.target.stop()
    try:
        for offset in range(_FROM, _FROM + _TRIES):
            try:
                return damage(stage.target.log_directory(1), _TOPIC, _PARTITION, offset)
            except DamageError:
                continue  # the marker of a transaction
        raise DamageError(f"{_TOPIC}/{_PARTITION} holds no message behind offset {_FROM}")
    finally:
        stage.target.start()
        stage.target.wait_ready()
