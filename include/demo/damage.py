"""Damages one stored message of a stopped broker so that only a comparison of contents can find it.

One byte of its value is changed in the segment file, and the batch gets the right checksum for that: the broker serves
it as if nothing had happened. The format is KIP-98's (magic 2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kafka.record.util import calc_crc32c, decode_varint

if TYPE_CHECKING:
    from demo.follow import Policy
    from demo.stage import Stage

_HEAD = struct.Struct(">qi")  # base offset, length of what follows
_CRC_AT, _ATTRIBUTES_AT, _RECORDS_AT = 17, 21, 61
_COMPRESSION, _CONTROL = 0x07, 0x20


_TOPIC, _PARTITION, _FROM, _TRIES = "events", 0, 1_000, 50  # neither the next message of a group nor the last one


class DamageError(Exception):
    """There is no such message, or it cannot be changed."""


def damage(log_directory: Path, topic: str, partition: int, offset: int) -> str:
    """Change the last byte of a message's value; what was changed, for people. The broker must be stopped."""
    folder = log_directory / f"{topic}-{partition}"
    segments = [file for file in sorted(folder.glob("*.log")) if int(file.stem) <= offset]
    if not segments:
        raise DamageError(f"{folder} holds no offset {offset}")
    file = segments[-1]
    content = bytearray(file.read_bytes())
    at = 0
    while at + _HEAD.size <= len(content):
        base, length = _HEAD.unpack_from(content, at)
        end = at + _HEAD.size + length
        (last,) = struct.unpack_from(">i", content, at + 23)
        if base <= offset <= base + last:
            place = _end_of_value(content, at, end, offset - base)
            content[place] ^= 0x01
            crc = calc_crc32c(bytes(content[at + _ATTRIBUTES_AT : end]))
            struct.pack_into(">I", content, at + _CRC_AT, crc)
            file.write_bytes(content)
            return f"one bit of the message at {topic}/{partition}@{offset}"
        at = end
    raise DamageError(f"{file} holds no offset {offset}")


def _end_of_value(content: bytearray, at: int, end: int, wanted: int) -> int:
    """Where the last byte of the value lies, of the record with that offset within the batch."""
    (attributes,) = struct.unpack_from(">h", content, at + _ATTRIBUTES_AT)
    if attributes & (_COMPRESSION | _CONTROL):
        raise DamageError("its batch is compressed, or the marker of a transaction")
    place = at + _RECORDS_AT
    while place < end:
        length, place = decode_varint(content, place)
        after = place + length
        place += 1  # attributes
        _, place = decode_varint(content, place)  # timestamp, from the batch's
        delta, place = decode_varint(content, place)
        key, place = decode_varint(content, place)
        place += max(0, key)
        value, place = decode_varint(content, place)
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
