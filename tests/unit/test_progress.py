"""A long work's log: seldom a line, and what it says is right."""

from __future__ import annotations

import logging

import pytest

from kafka_migration.progress import ProgressLog


def test_a_line_now_and_then_tells_how_much_how_fast_and_how_long_still(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = [100.0]
    tell = ProgressLog(logging.getLogger("test"), "offsets compared", every=10.0, now=lambda: clock[0])
    for second in range(1, 26):
        clock[0] = 100.0 + second
        tell(second * 1_000, 40_000)
    assert [record.getMessage() for record in caplog.records] == [
        "10,000 of 40,000 offsets compared (25%), 1,000/s, about 30.0 s left",
        "20,000 of 40,000 offsets compared (50%), 1,000/s, about 20.0 s left",
    ]


def test_work_that_has_not_begun_or_is_empty_divides_by_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = [0.0]
    tell = ProgressLog(logging.getLogger("test"), "offsets compared", every=1.0, now=lambda: clock[0])
    clock[0] = 2.0
    tell(0, 10)
    clock[0] = 4.0
    tell(0, 0)
    assert [record.getMessage().rpartition(", ")[2] for record in caplog.records] == ["none yet", "none yet"]
