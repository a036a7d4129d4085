"""Which client of a cluster is used next: none that remembers coordinators which have moved, none that misled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from kafka_migration.clusters import admins
from kafka_migration.clusters.admins import Admins
from kafka_migration.clusters.client import offsets_partition


class Client:
    """Stands for a client: what is tested is which one is handed out, not what it does."""


def clients(kept: float = 60.0) -> tuple[Admins, list[tuple[str, ...]]]:
    """The clients, and with which known brokers each one was made."""
    made: list[tuple[str, ...]] = []

    def make(known: Sequence[str]) -> Any:
        made.append(tuple(known))
        return Client()

    return Admins(make, kept), made


def test_client_of_groups_is_kept_while_the_coordinators_stay() -> None:
    of, _ = clients()
    first, moved = of.of_groups({0: 1, 1: 2})
    assert not moved, "nobody knew any before"
    assert of.of_groups({0: 1, 1: 2}) == (first, False)
    second, moved = of.of_groups({0: 1, 1: 3})
    assert moved
    assert second is not first
    of.leave()
    third, moved = of.of_groups({0: 1, 1: 2})
    assert moved, "also where the client was left meanwhile"
    assert third is not second


def test_client_of_groups_is_not_used_for_long_where_coordinators_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of, _ = clients()
    first, _ = of.of_groups(None)
    assert of.of_groups(None) == (first, False)
    monkeypatch.setattr(admins, "_REMEMBERS_FOR", 0.0)
    second, moved = of.of_groups(None)
    assert second is not first
    assert not moved


def test_client_that_another_thread_has_made_meanwhile_is_not_left_again() -> None:
    of, _ = clients()
    first = of.general
    asked = time.monotonic()
    of.leave(asked)
    second = of.general
    assert second is not first
    of.leave(asked)
    assert of.general is second
    of.leave()
    assert of.general is not second


def test_client_that_was_left_lives_on_for_those_who_wait_for_it() -> None:
    of, _ = clients(kept=0.2)
    first = of.general
    of.leave()
    assert any(one.client is first for one in of._left)
    time.sleep(0.3)
    assert of.general
    of.leave()
    assert not any(one.client is first for one in of._left)


def test_new_client_knows_the_brokers_that_were_seen() -> None:
    of, made = clients()
    assert of.general
    of.know({1: ("two", 9092), 2: ("one", 9092)})
    of.know({})
    of.leave()
    assert of.general
    assert made == [(), ("one:9092", "two:9092")]


@pytest.mark.parametrize(
    ("group", "number"),
    [("", 0), ("billing", 9), ("group-1", 49), ("große Gruppe 🚚", 48), ("polygenelubricants", 0)],
)
def test_group_belongs_to_the_partition_that_kafka_computes(group: str, number: int) -> None:
    """Java's `"…".hashCode()`; that of the last is the least of all numbers, of which there is no absolute value."""
    assert offsets_partition(group, 50) == number
