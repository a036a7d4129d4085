"""What a person is told at the end: how much came along, and how long nothing could be written for it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo.telling import Evidence, Loss, tell_copied, tell_loss
from demo.verdict import Recovery
from demo.witness import ProducerCount, Rhythm, WitnessCount
from demo.witness_log import Entry, Kind, Record

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


def run_with_steps(folder: Path, *steps: tuple[str, int, dict[str, Any]]) -> Evidence:
    (folder / "steps").mkdir()
    for task, attempt, data in steps:
        record = {"task_id": task, "attempt": attempt, "report": {"data": data}}
        (folder / "steps" / f"{task}.{attempt}.json").write_text(json.dumps(record))
    return Evidence(folder / "evidence.json", {})


def test_what_was_announced_is_the_most_that_a_step_told_in_its_last_attempt(tmp_path: Path) -> None:
    evidence = run_with_steps(
        tmp_path,
        ("look", 1, {"announced": {"billing": 900}}),
        ("look", 2, {"announced": {"billing": 30, "audit": 5}}),
        ("set_groups", 1, {"announced": {"billing": 40}}),
        ("gate", 1, {}),
    )
    assert evidence.announced == {"billing": 40, "audit": 5}
    assert evidence.told("tail") == []
    assert Evidence(None, {}).announced == {}


def entry(moment: float, group: str) -> Entry:
    return Entry(moment, Kind.PROCESSED, group, Record("orders", 3, 42, "key", "id", 1), "target:1")


def told_of(loss: Loss, recovery: Recovery) -> str:
    output = StringIO()
    tell_loss(Console(file=output, width=200), loss, recovery)
    return output.getvalue()


def test_loss_is_told_with_its_times_what_was_not_mirrored_and_what_was_repeated_of_what_was_announced() -> None:
    loss = Loss(killed=1_000.0, failed_over=1_000.5, first=entry(1_041.25, "audit"), returned=1_070.0)
    text = told_of(loss, Recovery(12, 11, loss.seconds, {"billing": 40}, {"billing": 7, "audit": 0}))

    assert "0.5 s later" in text
    assert "41.2 s later (rto), orders/3@42 by group audit" in text
    assert "12 messages (rpo), as the failback found; of those acknowledged, as the demo counted: 11" in text
    assert "7 repeated, at most 40 were announced" in text
    assert "0 repeated, at most 0 were announced" in text


def test_loss_after_which_nobody_went_on_is_told_too_and_none_where_none_was_lost() -> None:
    assert told_of(Loss(), Recovery()) == ""
    text = told_of(Loss(killed=1_000.0), Recovery())
    assert "nobody processed anything on the target" in text
    assert "not known" in text
