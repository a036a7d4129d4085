"""What a suite is given of a message: nothing is guessed, and nothing that a message may hold breaks the table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kafka_migration.verification.columns import columns_of, kind_of
from kafka_migration.verification.newest import Message, shares


def columns(value: bytes | None, key: bytes | None = None) -> dict[str, Any]:
    """The columns that key and value make."""
    found = columns_of(Message(2, 7, 1_900_000_000_000, key, value))
    assert [found.pop(name) for name in ("_partition", "_offset", "_timestamp")] == [2, 7, 1_900_000_000_000]
    return found


def test_fields_of_json_objects_are_columns_with_their_own_types() -> None:
    value = b'{"id": 5, "customer": {"id": "C-1", "vip": false, "note": null}, "lines": [{"sku": "x"}, 2], "none": {}}'
    assert columns(value, b'{"shop": {"no": 3}}') == {
        "key": '{"shop": {"no": 3}}',
        "key.shop.no": 3,
        "value": value.decode(),
        "value.id": 5,
        "value.customer.id": "C-1",
        "value.customer.vip": False,
        "value.customer.note": None,
        "value.lines": '[{"sku": "x"}, 2]',
    }


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, None),
        (b"", ""),
        (b"plain", "plain"),
        (b"17", "17"),  # keys that are digits would be numbers here and texts there
        (b'"quoted"', '"quoted"'),
        (b"[1, 2]", "[1, 2]"),
        (b"{broken", "{broken"),
        (b'{"a": NaN}', '{"a": NaN}'),
        ("Grüße".encode(), "Grüße"),
        (b"\x00\x00\xff", "0x0000ff"),
        (b'{"a": ' * 100_000, '{"a": ' * 100_000),
        (b'{"a": ' + b"9" * 10_000 + b"}", '{"a": ' + "9" * 10_000 + "}"),
    ],
    ids=lambda data: repr(data)[:20],
)
def test_what_is_no_json_object_is_text_and_what_is_no_text_is_shown_as_bytes(data: bytes, text: str) -> None:
    assert columns(data, data) == {"key": text, "value": text}


def test_object_that_is_nested_too_deep_to_take_apart_is_text() -> None:
    deep = b'{"a": ' * 900 + b"1" + b"}" * 900
    found = columns(deep)
    assert found["value"] == deep.decode()


def test_half_of_a_surrogate_pair_becomes_a_text_that_a_table_takes() -> None:
    found = columns(json.dumps({"\ud800": "\udfff"}).encode())
    for text in (*found, *found.values()):
        assert text is None or text.encode()
    assert found["value.\\ud800"] == "\\udfff"


def test_kind_of_a_value_tells_nothing_of_it() -> None:
    assert [kind_of(value) for value in (True, 1, 1.5, "x")] == ["true or false", "number", "number", "text"]


@pytest.mark.parametrize(
    ("most", "there", "taken"),
    [
        (10, [100, 100], [5, 5]),
        (10, [2, 100, 100], [2, 4, 4]),
        (10, [100, 2, 0], [8, 2, 0]),
        (10, [1, 2, 3], [1, 2, 3]),
        (2, [5, 5, 5, 5], [0, 0, 1, 1]),
        (7, [], []),
    ],
)
def test_sample_is_spread_as_evenly_as_the_partitions_allow(most: int, there: list[int], taken: list[int]) -> None:
    assert shares(most, there) == taken
