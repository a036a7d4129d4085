"""Legs of a mirror: where the next one begins, and what their ends tell."""

from __future__ import annotations

from dataclasses import replace

from kafka_migration.mirror.legs import Leg, Legs, rising
from kafka_migration.offsets import TopicPartition
from kafka_migration.records import MemoryRecords
from kafka_migration.sides import Side

A, B = TopicPartition("a", 0), TopicPartition("a", 1)
THERE = Leg(0, Side.TARGET, {A: 10}, {A: 0}, end={A: 100}, image={A: 95})


def test_way_back_begins_at_the_image_and_the_next_way_there_behind_what_came_home() -> None:
    begin, onto = THERE.starts_next(Side.SOURCE)
    assert (begin, onto) == ({A: 95}, {A: 100})
    back = Leg(1, Side.SOURCE, begin, onto, end={A: 120}, image={A: 126})
    assert back.starts_next(Side.TARGET) == ({A: 126}, {A: 120})


def test_second_way_there_without_a_way_back_begins_where_the_first_ended() -> None:
    assert THERE.starts_next(Side.TARGET) == ({A: 100}, {A: 95})


def test_pairs_name_the_source_first_whichever_way_was_copied() -> None:
    assert THERE.pairs() == {A: [(10, 0), (100, 95)]}
    assert Leg(1, Side.SOURCE, {A: 95}, {A: 100}, {A: 120}, {A: 126}).pairs() == {A: [(100, 95), (126, 120)]}


def test_what_is_kept_is_found_again_and_partitions_that_come_later_are_added() -> None:
    records = MemoryRecords()
    legs = Legs(records)
    begun = legs.keep(replace(THERE, end=None, image=None, ids={"source": {"a": "1"}, "target": {"a": "2"}}))
    assert not begun.ended
    legs.add(begun, {B: 0, A: 99}, {B: 0, A: 99}, {"source": {"a": "8", "b": "3"}, "target": {"a": "9", "b": "4"}})
    ids = {"source": {"a": "1", "b": "3"}, "target": {"a": "2", "b": "4"}}
    assert Legs(records).all() == [Leg(0, Side.TARGET, {A: 10, B: 0}, {A: 0, B: 0}, ids=ids)]
    legs.keep(THERE)
    assert Legs(records).last() == THERE


def test_of_a_rewind_the_later_copies_count() -> None:
    assert rising([(0, 0), (10, 11), (20, 22), (5, 30), (15, 41)]) == [(0, 0), (5, 30), (15, 41)]
