"""What a person is told at the end: how much came along, and how long nothing could be written for it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.telling import Evidence, tell_copied
from demo.witness import ProducerCount, Rhythm, WitnessCount

COMPARED = {"messages": 2_034_567, "partitions": 22, "differences": 0}


def producer(name: str, switch_pause: float | None) -> ProducerCount:
    return ProducerCount(name, 1_000, Rhythm({"one:1": 500, "two:2": 500}, 0.1, switch_pause, "two:2"))


def told(content: dict[str, Any], *producers: ProducerCount) -> str:
    output = StringIO()
    console = Console(file=output, width=300)
    tell_copied(console, Evidence(Path("evidence.json"), content), WitnessCount(producers, (), ()))
    return output.getvalue()


def test_what_came_along_is_told_with_the_longest_time_in_which_a_service_wrote_nothing() -> None:
    text = told(
        {"compared": COMPARED}, producer("payments", 7.25), producer("order-api", 6.5), producer("history", None)
    )

    assert "2,034,567 stored messages came along, 0 of them differ" in text
    assert "7.25 s, payments at its switch" in text


@pytest.mark.parametrize("content", [{}, {"compared": None}])
def test_nothing_is_told_of_a_run_that_compared_nothing(content: dict[str, Any]) -> None:
    assert told(content, producer("payments", 7.25)) == ""


def test_nothing_is_told_where_nobody_changed_his_cluster() -> None:
    assert told({"compared": COMPARED}, producer("payments", None)) == ""
