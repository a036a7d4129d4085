"""Which cluster an address belongs to; when in doubt, neither."""

from __future__ import annotations

import pytest

from kafka_migration.sides import Addresses, Side

ADDRESSES = Addresses("a1:9092,a2:9092", "b1:9092, b2:9092")


@pytest.mark.parametrize(
    ("address", "side"),
    [
        ("a1:9092,a2:9092", Side.SOURCE),
        ("a2:9092", Side.SOURCE),
        (" B2:9092 ,b1:9092", Side.TARGET),
        ("PLAINTEXT://b1:9092", Side.TARGET),
        ("b1:9092,b3:9092", Side.TARGET),
        ("a1:9093", None),
        ("a1:9092,b1:9092", None),  # of both: nobody can say where it writes
        ("", None),
        (None, None),
        (",", None),
    ],
)
def test_side_is_told_by_the_servers(address: str | None, side: Side | None) -> None:
    assert ADDRESSES.side_of(address) is side
