"""A message as columns that a suite can judge: what its key and value hold, as far as that is seen without a schema.

Nothing is guessed: what is JSON by its syntax is taken apart, what is UTF-8 is text, everything else is shown as the
bytes that it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kafka_migration.verification.newest import Message

FIXED = ("_partition", "_offset", "_timestamp", "key", "value")
"""The columns that every message has."""


def columns_of(message: Message) -> dict[str, Any]:
    """Where it lies, `key` and `value` as text, and a column for each field of a JSON object: `value.customer.id`."""
    found: dict[str, Any] = dict(zip(FIXED, (message.partition, message.offset, message.timestamp), strict=False))
    for name, data in (("key", message.key), ("value", message.value)):
        text = None if data is None else as_text(data)
        found[name] = text
        found.update(_fields(name, text))
    return found


def as_text(data: bytes) -> str:
    """UTF-8 as the text that it is; other bytes as `0x` and their digits."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"


def kind_of(value: Any) -> str:
    """What a column holds there, in a word that tells nothing of the value."""
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "number"


def _fields(name: str, text: str | None) -> dict[str, Any]:
    if text is None or not text.lstrip().startswith("{"):
        return {}
    try:
        # RecursionError: nested deeper than anybody means it
        return dict(_leaves(name, json.loads(text, parse_constant=_not_json)))
    except (ValueError, RecursionError):
        return {}


def _leaves(above: str, value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        column = _storable(f"{above}.{name}")
        if isinstance(inner, dict):
            yield from _leaves(column, inner)
        elif isinstance(inner, list):
            yield column, json.dumps(inner)
        else:
            yield column, _storable(inner) if isinstance(inner, str) else inner


def _storable(text: str) -> str:
    """JSON can hold half of a surrogate pair, which no table of texts takes."""
    return text.encode(errors="backslashreplace").decode()


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
