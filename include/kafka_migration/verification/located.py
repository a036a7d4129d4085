"""Differences looked at once more: whose key each has, in what it differs, and what it looks like on either side.

Only the few that are kept are read, each from where it is. What cannot be read any more stays as it was. It judges
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from kafka_migration.errors import ClusterError
from kafka_migration.offsets import OffsetRange, TopicPartition
from kafka_migration.verification.comparison import DESTINATION, ORIGIN
from kafka_migration.verification.differences import SHOWN, ContentResult, Difference
from kafka_migration.verification.digest import differing_fields, key_digest
from kafka_migration.verification.side_by_side import NamedCluster

_MOST = 60  # characters of a key or a value that are shown
_ALIKE = 20  # of them, what both values have in common before they part, where that is long

Place = tuple[TopicPartition, int]


def look_again(
    clusters: Sequence[NamedCluster],
    stamped: Collection[TopicPartition],
    results: Mapping[TopicPartition, ContentResult],
    pool: ThreadPoolExecutor,
) -> None:
    """The differences of each result told in full: the first of each partition, then the second, and so on.

    `stamped`: where timestamps do not count.
    """
    for number in range(SHOWN):
        shown = {tp: r.differences[number] for tp, r in results.items() if number < len(r.differences)}
        if not shown:
            return
        places = [[at for d in shown.values() if (at := _place(d, side))] for side in (ORIGIN, DESTINATION)]
        try:
            one, other = pool.map(_messages_at, clusters, places)
        except ClusterError:  # they have been found, and are told without what they look like
            return
        for tp, difference in shown.items():
            mine, theirs = one.get(_place(difference, ORIGIN)), other.get(_place(difference, DESTINATION))
            results[tp].differences[number] = _told(difference, mine, theirs, tp not in stamped)


def printable(data: bytes | None, begin: int = 0) -> str:
    """Bytes as a person reads them: quoted, and shortened; what cannot be printed escaped by a backslash.

    Without quotes: `null`, what is not there, and `empty`. `begin`: what lies before is left out.
    """
    if data is None:
        return "null"
    if not data:
        return "empty"
    some = data[begin : begin + 4 * _MOST]
    shown, whole = "", begin + len(some) == len(data)
    for character in _characters(some):
        if len(shown) + len(character) > _MOST:
            whole = False
            break
        shown += character
    length = "" if whole and not begin else f" of {len(data):,} bytes"
    return f"{'…' if begin else ''}'{shown}'{'' if whole else '…'}{length}"


def _characters(data: bytes) -> Iterator[str]:
    for character in data.decode("utf-8", "surrogateescape"):
        if "\udc80" <= character <= "\udcff":  # a byte that is no part of a text
            yield f"\\x{ord(character) - 0xDC00:02x}"
        elif character in "\\'":
            yield f"\\{character}"
        elif character.isprintable():
            yield character
        else:
            yield character.encode("unicode_escape").decode()


def _told(difference: Difference, one: Any, other: Any, timestamp: bool) -> Difference:
    known = other if one is None else one
    if known is None:
        return difference
    both = one is not None and other is not None
    fields = differing_fields(one, other, timestamp) if both else ()
    begin = _parting(one.value(), other.value()) if "value" in fields else 0
    return replace(
        difference,
        fields=fields,
        key=key_digest(known.key()),
        origin=None if one is None else _looks(one, fields, begin),
        destination=None if other is None else _looks(other, fields, begin),
    )


def _looks(message: Any, fields: Collection[str], begin: int) -> str:
    told = [f"key {printable(message.key())}", f"value {printable(message.value(), begin)}"]
    if "headers" in fields:
        each = [f"{printable(name.encode())}={printable(value)}" for name, value in message.headers() or ()]
        told.append(f"headers {_shortened(', '.join(each)) or 'none'}")
    if "timestamp" in fields:
        told.append(f"timestamp {message.timestamp()[1]}")
    return ", ".join(told)


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * _MOST else f"{text[: 2 * _MOST]}…"


def _parting(one: bytes | None, other: bytes | None) -> int:
    """Where to begin showing two values, so that it is seen where they part."""
    if one is None or other is None:
        return 0
    alike = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    return alike - _ALIKE if alike > _MOST - _ALIKE else 0


def _place(difference: Difference, side: int) -> Place | None:
    """Where a side has it."""
    if side == ORIGIN:
        return None if difference.origin_offset is None else (difference.partition, difference.origin_offset)
    if difference.destination_offset is None:
        return None
    return difference.there or difference.partition, difference.destination_offset


def _messages_at(cluster: NamedCluster, places: Iterable[Place]) -> dict[Place | None, Any]:
    """The messages that are still there. A partition is read in one range at a time."""
    wanted: dict[TopicPartition, list[int]] = {}
    for tp, offset in places:
        wanted.setdefault(tp, []).append(offset)
    found: dict[Place | None, Any] = {}
    while any(wanted.values()):
        now = [OffsetRange(tp, at := offsets.pop(), at + 1) for tp, offsets in wanted.items() if offsets]
        cluster.each_visible(now, lambda tp, message: found.update({(tp, message.offset()): message}))
    return found
