"""How a message is shown to a person: short, printable, and never taken for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.test_comparison import Said

from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.differences import Difference, Kind
from kafka_migration.verification.digest import differing_fields, key_digest
from kafka_migration.verification.located import _told, printable

TP = TopicPartition("orders", 3)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (None, "null"),
        (b"", "empty"),
        (b"null", "'null'"),
        (b"empty", "'empty'"),
        (b"a\nb\x00\xff", r"'a\nb\x00\xff'"),
        (b"\\xff", r"'\\xff'"),
        (b"it's", r"'it\'s'"),
        ("Grüße\u202e".encode(), r"'Grüße\u202e'"),
        (b"x" * 60, f"'{'x' * 60}'"),
        (b"x" * 61, f"'{'x' * 60}'… of 61 bytes"),
    ],
)
def test_bytes_are_shown_as_they_are(data: bytes | None, shown: str) -> None:
    assert printable(data) == shown


@given(st.binary(max_size=400), st.integers(0, 300))
def test_whatever_is_shown_is_one_short_line(data: bytes, begin: int) -> None:
    shown = printable(data, begin)
    assert shown.isprintable()
    assert len(shown) <= 60 + len("…''… of 400 bytes")


@given(st.binary(max_size=15), st.binary(max_size=15))
def test_short_bytes_that_differ_are_shown_differently(one: bytes, other: bytes) -> None:
    assert (printable(one) == printable(other)) is (one == other)


def told(one: Said | None, other: Said | None, timestamp: bool = True) -> Difference:
    return _told(Difference(Kind.ALTERED, TP, 3, 4), one, other, timestamp)


def test_long_values_are_shown_from_where_they_part() -> None:
    found = told(Said(3, "x" * 5_000 + "ne", b"k"), Said(4, "x" * 5_000 + "ther", b"k"))
    assert found.origin == f"key 'k', value …'{'x' * 20}ne' of 5,002 bytes"
    assert found.destination == f"key 'k', value …'{'x' * 20}ther' of 5,004 bytes"


def test_tombstone_is_told_from_a_value_and_from_an_empty_one() -> None:
    gone, empty, value = Said(3, "", b"k", gone=True), Said(3, "", b"k"), Said(3, "v", b"k")
    assert differing_fields(gone, empty) == differing_fields(value, gone) == ("value", "tombstone")
    assert differing_fields(empty, value) == ("value",)
    found = told(gone, empty)
    assert (found.origin, found.destination) == ("key 'k', value null", "key 'k', value empty")


def test_headers_and_timestamp_are_shown_where_they_differ() -> None:
    one = Said(3, "v", b"k", head=(("h", b"1"), ("n", None)))
    found = told(one, Said(3, "v", b"k", time=8))
    assert found.fields == ("headers", "timestamp")
    assert found.origin == "key 'k', value 'v', headers 'h'='1', 'n'=null, timestamp 7"
    assert found.destination == "key 'k', value 'v', headers none, timestamp 8"
    assert told(one, Said(3, "v", b"k", time=8, head=one.head), timestamp=False).fields == ()


def test_key_is_told_by_its_digest_and_no_key_by_none() -> None:
    assert key_digest(None) is None
    assert key_digest(b"") != key_digest(b"k")
    assert told(Said(3, "v", b"k"), None).key == key_digest(b"k") == told(None, Said(3, "v", b"k")).key
    assert told(Said(3, "v"), None).key is None
    only = told(Said(3, "v", b"k"), None)
    assert (only.origin, only.destination) == ("key 'k', value 'v'", None)


def test_what_cannot_be_read_any_more_stays_as_it_was() -> None:
    assert told(None, None) == Difference(Kind.ALTERED, TP, 3, 4)
