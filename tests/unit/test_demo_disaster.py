"""The act of a lost cluster: when its mirror counts as kept, and what is added up of what the runs told."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from demo import disaster
from demo.disaster import _mirrored, _Story, _tally
from demo.shop.catalogue import WITH_HISTORY
from demo.telling import Evidence
from demo.waiting import WaitedInVain
from demo.witness import GroupCount, ProducerCount, Rhythm, WitnessCount

QUIET = Console(quiet=True)


def stage(folder: Path, *runs: tuple[str, str], watch: str | None = "running") -> Any:
    """A stage whose Airflow knows those runs of the mirror, of which each has come to that state of its watch."""
    client = SimpleNamespace(
        wait_for_dag=lambda *_: None,
        runs=lambda dag_id: list(runs),
        tasks=lambda *_: [
            SimpleNamespace(task_id="preflight", state="running" if watch is None else "success"),
            SimpleNamespace(task_id="watch", state=watch),
        ],
        task_order=lambda dag_id: [],
    )
    return SimpleNamespace(
        client=client,
        airflow=SimpleNamespace(login=SimpleNamespace(url="there")),
        raise_if_dead=lambda: None,
        shop=SimpleNamespace(catalogue=WITH_HISTORY),
        workers={"target": SimpleNamespace(url="connect")},
        source=SimpleNamespace(bootstrap_servers="source:1"),
        evidence=folder,
    )


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disaster, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(disaster, "_CAUGHT_UP_WITHIN", 0.02)


def left_to_copy(monkeypatch: pytest.MonkeyPatch, left: int | None) -> None:
    monkeypatch.setattr(disaster, "behind", lambda url, source, topics: left)


@pytest.mark.parametrize("watch", ["running", "deferred", "up_for_reschedule"])
def test_mirror_is_kept_once_it_has_caught_up_and_a_run_watches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: str
) -> None:
    left_to_copy(monkeypatch, 400)
    assert _mirrored(stage(tmp_path, ("scheduled", "running"), ("demo", "success"), watch=watch), QUIET) is None


@pytest.mark.parametrize(
    ("left", "watch", "state"),
    [
        (None, "running", "running"),
        (2_000_000, "running", "running"),
        (400, None, "running"),
        (400, "success", "running"),
        (400, "running", "queued"),
    ],
)
def test_mirror_that_does_not_catch_up_or_is_not_watched_is_waited_for_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int | None, watch: str | None, state: str
) -> None:
    left_to_copy(monkeypatch, left)
    with pytest.raises(WaitedInVain, match="not watched and caught up"):
        _mirrored(stage(tmp_path, ("demo", state), watch=watch), QUIET)


def test_run_of_the_mirror_that_failed_ends_the_demo_with_its_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_to_copy(monkeypatch, 0)
    monkeypatch.setattr(disaster.Run, "failures", lambda self: [])
    folder = tmp_path / "orders" / "mirror" / "scheduled"
    folder.mkdir(parents=True)
    (folder / "evidence.json").write_text(json.dumps({"verdict": "FAIL"}))
    end = _mirrored(stage(tmp_path, ("scheduled", "failed"), ("demo", "running")), QUIET)
    assert end is not None
    assert end.problem is not None
    assert end.problem[1] == "mirror_failed_gate_FAIL"


def test_what_the_failover_and_the_tail_announced_is_added_up_and_the_tail_is_the_failbacks(tmp_path: Path) -> None:
    told = {
        "failover": {"announced": {"billing": 40, "audit": 3}},
        "failback": {"announced": {"billing": 5}, "tail": {"messages": 12}},
        "verification": {},
    }
    story = _Story()
    assert (story.announced, story.tail) == ({}, None)
    for name, data in told.items():
        steps = tmp_path / name / "steps"
        steps.mkdir(parents=True)
        (steps / "one.1.json").write_text(json.dumps({"task_id": "one", "attempt": 1, "report": {"data": data}}))
        story.evidence[name] = Evidence(tmp_path / name / "evidence.json", {})
    assert story.announced == {"billing": 45, "audit": 3}
    assert story.tail == 12


def test_disorder_and_repeats_are_counted_and_no_fault_by_themselves_and_a_lost_message_is() -> None:
    rhythm = Rhythm({}, 0.0, None, None)

    def counted(lost: int) -> WitnessCount:
        producers = (ProducerCount("order-api", 100, rhythm),)
        return WitnessCount(producers, (GroupCount("billing", 100, lost, 7, 5, 2, 0, rhythm),), ())

    tally = _tally(counted(0))
    assert (tally.produced, tally.repeated, tally.out_of_order, tally.faulty) == (100, 7, 5, False)
    assert _tally(counted(1)).faulty
