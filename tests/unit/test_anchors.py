"""What offset syncs say of a partition, and what they are not believed."""

from __future__ import annotations

import random

from kafka_migration.mirror.anchors import Anchors, Pair


def pairs(start: Pair, syncs: list[Pair], end: Pair | None = None) -> tuple[Pair, ...]:
    return Anchors.build(start, syncs, end).pairs


def test_start_syncs_and_end_are_neighbours_of_what_lies_between() -> None:
    anchors = Anchors.build((10, 0), [(110, 101), (210, 203)], (250, 244))
    assert anchors.around(10) == ((10, 0), (110, 101))
    assert anchors.around(109) == ((10, 0), (110, 101))
    assert anchors.around(110) == ((110, 101), (210, 203))
    assert anchors.around(249) == ((210, 203), (250, 244))


def test_end_and_what_lies_behind_it_have_the_end_above_them() -> None:
    anchors = Anchors.build((0, 0), [(100, 100)], (150, 151))
    assert anchors.around(150) == anchors.around(9_999) == ((100, 100), (150, 151))


def test_behind_the_last_sync_nothing_is_known_while_the_mirror_runs() -> None:
    anchors = Anchors.build((0, 0), [(100, 100)], None)
    assert anchors.around(100) == ((100, 100), None)
    assert anchors.around(99) == ((0, 0), (100, 100))


def test_before_the_start_nothing_is_known() -> None:
    assert Anchors.build((50, 0), [], (90, 40)).around(49) == (None, (50, 0))


def test_where_nothing_was_copied_what_lies_before_the_range_does_not_count() -> None:
    """Else the last message before it would be compared with what the other side has got since."""
    nothing = Anchors.build((50, 70), [], (50, 70))
    assert nothing.around(50) == ((50, 70), (50, 70))
    assert nothing.around(49) == (None, (50, 70))
    only_markers = Anchors.build((50, 70), [], (53, 70))
    assert only_markers.around(53) == ((50, 70), (53, 70))


def test_of_what_was_copied_again_the_later_copy_counts() -> None:
    syncs = [(0, 0), (100, 100), (200, 200), (120, 250), (220, 350)]
    assert pairs((0, 0), syncs) == ((0, 0), (100, 100), (120, 250), (220, 350))
    assert pairs((0, 0), [(0, 0), (24_947, 24_947), (0, 24_999)]) == ((0, 24_999),), "as seen after a SIGKILL"


def test_of_two_syncs_of_one_message_the_later_copy_counts() -> None:
    assert pairs((0, 0), [(100, 100), (100, 140)]) == ((0, 0), (100, 140))


def test_sync_of_a_late_zombie_moves_nothing_back() -> None:
    assert pairs((0, 0), [(100, 500), (130, 130)]) == ((0, 0), (100, 500))


def test_sync_for_another_range_is_left_out() -> None:
    syncs = [(20, 140), (60, 130), (60, 20), (95, 165), (100, 170), (130, 160)]
    assert pairs((50, 120), syncs, (100, 170)) == ((50, 120), (60, 130), (95, 165), (100, 170))


def test_range_in_which_nothing_was_copied_has_its_end_only() -> None:
    assert pairs((50, 120), [], (80, 120)) == ((80, 120),)
    assert pairs((50, 120), [], (50, 120)) == ((50, 120),)


def test_anchors_rise_strictly_whatever_the_syncs_are() -> None:
    chance = random.Random(3)
    for _ in range(2_000):
        syncs = [(chance.randint(0, 60), chance.randint(0, 60)) for _ in range(chance.randint(0, 30))]
        end = (50, 50) if chance.random() < 0.5 else None
        anchors = Anchors.build((5, 5), syncs, end)
        ups, downs = zip(*anchors.pairs, strict=True)
        assert list(ups) == sorted(set(ups)), syncs
        assert list(downs) == sorted(set(downs)), syncs
        for offset in range(5, 61):
            low, high = anchors.around(offset)
            assert low is None or low[0] <= offset or anchors.ended
            assert high is None or offset < high[0] or high == anchors.pairs[-1]
