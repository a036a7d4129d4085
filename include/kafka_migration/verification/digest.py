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
_CREATED = 1  # confluent_kafka.TIMESTAMP_CREATE_TIME; a stamp of the broker says nothing of the message

SIZE = 16


def digest(message: Any, timestamp: bool = True) -> bytes:
    """16 bytes that tell a consumed message from every other. `timestamp`: whether the producer's own counts."""
    parts = [_framed(message.key()), _framed(message.value())]
    kind, at = message.timestamp()
    if timestamp:
        parts.append(_TIME.pack(at if kind == _CREATED else -1))
    for name, value in message.headers() or ():
        parts += [_framed(name.encode()), _framed(value)]
    return blake2b(b"".join(parts), digest_size=SIZE).digest()


def _framed(data: bytes | None) -> bytes:
    return _NULL if data is None else _LENGTH.pack(len(data)) + data
