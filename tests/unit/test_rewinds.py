"""Where a mirror has copied again, as its offset syncs tell it."""

from __future__ import annotations

from kafka_migration.mirror.rewinds import Rewind, rewinds


def test_syncs_that_rise_are_no_rewind() -> None:
    assert rewinds((10, 5), [(10, 5), (110, 101), (210, 201)]) == []


def test_mirror_that_was_killed_before_it_stored_anything_begins_again_at_the_start() -> None:
    assert rewinds((0, 0), [(0, 0), (24_947, 24_947), (0, 24_999)]) == [Rewind(0, 24_999, 24_999)], "seen after SIGKILL"


def test_what_was_repeated_is_counted_from_the_last_sync_before_it() -> None:
    syncs = [(0, 0), (100, 100), (200, 200), (120, 250), (220, 350), (150, 400), (320, 570)]
    assert rewinds((0, 0), syncs) == [Rewind(120, 250, 150), Rewind(150, 400, 150)]


def test_message_that_was_told_twice_was_repeated_with_all_behind_it() -> None:
    assert rewinds((0, 0), [(100, 100), (100, 140)]) == [Rewind(100, 140, 40)]


def test_life_that_told_nothing_shows_by_copies_that_the_origin_has_no_offsets_for() -> None:
    assert rewinds((0, 0), [(0, 0), (90, 80), (100, 440), (200, 540)]) == [Rewind(100, 440, 360)]


def test_syncs_of_another_range_and_of_a_late_zombie_are_none() -> None:
    assert rewinds((50, 120), [(20, 140), (60, 130), (60, 20), (130, 200), (160, 190)]) == []
