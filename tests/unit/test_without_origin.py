"""What must stay true where the origin cannot be read: a group skips nothing, and how much it repeats is told."""

from __future__ import annotations

import random

from kafka_migration.mirror.without_origin import Place, place

START = (0, 0)


def test_where_every_offset_was_a_message_it_goes_on_at_exactly_its_next() -> None:
    copies = list(range(500, 600))
    assert place((100, 500), (200, 600), START, 130, copies) == Place(530, 0)
    assert place((100, 500), (200, 600), START, 100, copies) == Place(500, 0)
    assert place((100, 500), (200, 600), START, 200, copies) == Place(600, 0)


def test_what_was_read_past_the_last_copy_goes_on_where_the_copies_end() -> None:
    assert place((100, 500), (200, 600), START, 350, list(range(500, 600))) == Place(600, 0)


def test_what_lies_before_the_mirrors_beginning_goes_on_there() -> None:
    assert place(None, (200, 600), (150, 40), 100, []) == Place(40, 0)


def test_where_the_upper_end_is_not_known_it_goes_on_at_the_last_pair_that_was_told() -> None:
    assert place((100, 500), None, START, 130, list(range(500, 560))) == Place(500, 30)


def test_more_copies_than_there_can_be_decide_nothing() -> None:
    """Somebody else wrote to the topic, or the mirror has copied again."""
    assert place((100, 500), (110, 530), START, 105, list(range(500, 530))) == Place(500, 30)


def test_nothing_is_ever_skipped_and_no_more_is_repeated_than_was_told() -> None:
    """Any origin with holes (markers, aborted messages, compaction), any copies with holes, any position."""
    rng = random.Random(7)
    for _ in range(3000):
        offsets = range(100, 100 + rng.randint(1, 40))
        visible = [o for o in offsets if rng.random() < rng.choice((0.3, 0.8, 1.0))]
        there, at = [], 500
        for _o in visible:
            at += rng.choice((0, 0, 0, 1, 2))
            there.append(at)
            at += 1
        low, high = (offsets.start, 500), (offsets.stop, at + rng.randint(0, 2))
        kept = there[rng.randint(0, len(there)) if rng.random() < 0.2 else 0 :]  # what the destination still has
        known = rng.randint(offsets.start, offsets.stop + 3)
        found = place(low, high, START, known, kept)
        next_copies = [copy for o, copy in zip(visible, there, strict=True) if o >= known and copy in kept]
        assert all(copy >= found.offset for copy in next_copies), "a message would be skipped"
        again = [copy for o, copy in zip(visible, there, strict=True) if o < known and copy in kept]
        assert sum(copy >= found.offset for copy in again) <= found.near
