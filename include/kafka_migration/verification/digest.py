"""What makes a message the same message: a digest over its key, value, headers and timestamp.

Each field is framed by its length, so that no two different messages have the same text; null and empty differ, and so
do two headers in another order.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from xxhash import xxh3_128_digest, xxh3_128_hexdigest

_HEAD = struct.Struct("<iiq")
_LENGTH = struct.Struct("<i")
_NULL = -1

SIZE = 16
_SHORT = 16  # hexadecimal digits

Headers = Sequence[tuple[str, bytes | None]]


def digest(message: Any, timestamp: bool = True) -> bytes:
    """16 bytes that tell a consumed message from every other. `timestamp`: whether it counts.

    It counts whoever set it: a copy is written with the time that its original has, also where a broker had stamped it.
    """
    return digests((message,), timestamp)[0]


def digests(messages: Sequence[Any], timestamp: bool = True) -> list[bytes]:
    """The same of many, in their order. XXH3 of 128 bits: a difference that it does not see has a chance of 2^-128.

    It finds what went wrong, not what somebody made so that it is not found.
    """
    return [
        xxh3_128_digest(_text(m.key(), m.value(), m.timestamp()[1] if timestamp else 0, m.headers())) for m in messages
    ]


def key_digest(key: bytes | None) -> str | None:
    """By which a person tells keys apart that he may not read, or that are long. Of no key: none."""
    return None if key is None else xxh3_128_hexdigest(key)[:_SHORT]


def _text(key: bytes | None, value: bytes | None, time: int, headers: Headers | None) -> bytes:
    if key is None or value is None:
        text = _HEAD.pack(_NULL if key is None else len(key), _NULL if value is None else len(value), time)
        text += (key or b"") + (value or b"")
    else:
        text = _HEAD.pack(len(key), len(value), time) + key + value
    if headers:
        text += b"".join(_framed(part) for name, told in headers for part in (name.encode(), told))
    return text


def differing_fields(one: Any, other: Any, timestamp: bool = True) -> tuple[str, ...]:
    """In what two consumed messages differ, of what their digests are made of.

    Beside the value also `tombstone`: one of them has none. An empty value is one.
    """
    fields = {
        "key": one.key() != other.key(),
        "value": one.value() != other.value(),
        "tombstone": (one.value() is None) is not (other.value() is None),
        "headers": (one.headers() or []) != (other.headers() or []),
        "timestamp": timestamp and one.timestamp()[1] != other.timestamp()[1],
    }
    return tuple(name for name, differs in fields.items() if differs)


def _framed(data: bytes | None) -> bytes:
    return _LENGTH.pack(_NULL) if data is None else _LENGTH.pack(len(data)) + data
