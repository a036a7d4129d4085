"""What makes a message the same message: a digest over its key, value, headers and timestamp.

Each field is framed by its length, so that no two different messages have the same text; null and empty differ, and so
do two headers in another order.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any

_LENGTH = struct.Struct(">q")
_NULL = _LENGTH.pack(-1)
_TIME = struct.Struct(">q")

SIZE = 16


def digest(message: Any, timestamp: bool = True) -> bytes:
    """16 bytes that tell a consumed message from every other. `timestamp`: whether it counts.

    It counts whoever set it: a copy is written with the time that its original has, also where a broker had stamped it.
    """
    parts = [_framed(message.key()), _framed(message.value())]
    if timestamp:
        parts.append(_TIME.pack(message.timestamp()[1]))
    for name, value in message.headers() or ():
        parts += [_framed(name.encode()), _framed(value)]
    return blake2b(b"".join(parts), digest_size=SIZE).digest()


def differing_fields(one: Any, other: Any, timestamp: bool = True) -> tuple[str, ...]:
    """In what two consumed messages differ, of what their digests are made of."""
    fields = {
        "key": one.key() != other.key(),
        "value": one.value() != other.value(),
        "headers": (one.headers() or []) != (other.headers() or []),
        "timestamp": timestamp and one.timestamp()[1] != other.timestamp()[1],
    }
    return tuple(name for name, differs in fields.items() if differs)


def _framed(data: bytes | None) -> bytes:
    return _NULL if data is None else _LENGTH.pack(len(data)) + data
