"""What must stay true of a wait: it never fails by itself, ends in time, remembers, and loses nothing to a restart."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.dags import steps
from tests.dags.conftest import AirflowHome, Ended

from airflow_kafka_migration.progress import Progress
from airflow_kafka_migration.triggers import WaitTrigger
from kafka_migration.errors import ClusterUnreachable
from kafka_migration.sides import Side
from kafka_migration.waiting import Look, Outcome


def test_a_wait_that_is_over_is_settled_at_once_without_a_deferral(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("waits")
    steps.countdown.reset(left=0)
    ended = run_dag("waits.migrate")
    assert ended.state == "success"
    assert "DEFERRED" not in ended.log
    assert airflow_home.step_evidence("waits", "drained")["report"]["summary"] == "drained, prepared 1 times"


def test_a_patient_wait_goes_on_looking_in_the_worker(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("lingers")
    ended = run_dag("lingers.migrate")
    assert ended.state == "success"
    assert "DEFERRED" not in ended.log
    assert steps.countdown.looks == 4


def test_a_cluster_that_does_not_answer_the_worker_ends_no_wait(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("lingers")
    steps.countdown.outcomes = [ClusterUnreachable("no broker answered")] * 2
    ended = run_dag("lingers.migrate")
    assert ended.state == "success"
    assert "no broker answered" in ended.log
    assert steps.countdown.prepared == 1


def test_a_deferred_wait_goes_on_with_what_its_trigger_remembered(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("waits")
    monkeypatch.setattr(WaitTrigger, "dwell", 0.5)
    ended = run_dag("waits.migrate")
    assert ended.state == "success"
    assert "DEFERRED" in ended.log
    assert steps.countdown.prepared == 1
    assert "nothing left" in ended.log


def test_what_a_trigger_saw_is_looked_at_again_before_it_is_believed(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("waits")
    monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
    waiting = Look(Outcome.WAITING, ("1 left",), {"left": 1})
    # The worker, the trigger, the worker: it is not over after all; the trigger, the worker.
    steps.countdown.outcomes = [waiting, Look(Outcome.DONE, ("nothing left",)), waiting]
    ended = run_dag("waits.migrate")
    assert ended.state == "success"
    assert ended.log.count("looks again") == 2


def test_when_the_facts_have_changed_the_wait_is_prepared_anew(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("waits")
    monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
    steps.countdown.reset(left=0)
    steps.countdown.outcomes = [Look(Outcome.WAITING), Look(Outcome.AGAIN, (), {}, "the source has grown")]
    ended = run_dag("waits.migrate")
    assert ended.state == "success"
    assert steps.countdown.prepared == 2


def test_what_cannot_come_fails_with_its_reason(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("waits")
    steps.countdown.outcomes = [Look(Outcome.FAILED, (), {}, "retention has overtaken the drain")]
    ended = run_dag("waits.migrate")
    assert ended.tasks["drained"] == "failed"
    assert "retention has overtaken the drain" in ended.log
    assert "Traceback" not in ended.log


def test_a_time_out_says_what_was_still_missing(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_home.write_plan("waits")
    monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
    steps.countdown.reset(left=1000, seconds=1.0)
    ended = run_dag("waits.migrate")
    assert ended.tasks["drained"] == "failed"
    assert "has not come in time" in ended.log
    assert "left" in airflow_home.step_evidence("waits", "drained")["error"]


def test_a_dry_run_does_not_wait(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("waits")
    ended = run_dag("waits.migrate", dry_run=True)
    assert ended.state == "success"
    assert "dry run: would wait here (countdown)" in ended.log


@pytest.mark.usefixtures("connections")
class TestTrigger:
    def test_its_arguments_are_json_and_make_it_again(self) -> None:
        path, arguments = trigger().serialize()
        assert path == "airflow_kafka_migration.triggers.WaitTrigger"
        assert WaitTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)

    def test_it_never_fires_within_its_dwell(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WaitTrigger, "dwell", 0.8)
        steps.countdown.reset(left=0)
        began = time.monotonic()
        assert fired(trigger())["status"] == "done"
        assert time.monotonic() - began >= 0.8

    def test_a_cluster_that_does_not_answer_for_a_while_ends_no_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
        steps.countdown.reset(left=0)
        steps.countdown.outcomes = [ClusterUnreachable("no broker answered")] * 3
        assert fired(trigger())["status"] == "done"
        assert steps.countdown.looks == 4

    def test_what_it_cannot_do_is_left_to_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
        steps.countdown.reset()
        steps.countdown.outcomes = [ZeroDivisionError()]
        assert fired(trigger())["status"] == "failed"
        assert fired(trigger(connections={"source": "none", "target": "none"}))["status"] == "failed"

    def test_its_deadline_is_a_moment_and_no_restart_moves_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
        steps.countdown.reset(left=1_000_000)
        event = fired(trigger(deadline=time.time() + 0.5))
        assert event["status"] == "timeout"
        assert event["brief"] == {"left": 1_000_000}
        assert event["memory"]["left"] < 1_000_000

    def test_many_triggers_of_one_process_look_more_seldom(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Or they would take all the time of the one process that they run in."""
        monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
        monkeypatch.setattr(WaitTrigger, "looks", 20.0)
        steps.countdown.reset(left=1_000_000)

        async def together() -> None:
            deadline = time.time() + 1.5
            await asyncio.gather(*(anext(trigger(deadline=deadline).run()) for _ in range(10)))

        asyncio.run(asyncio.wait_for(together(), 30))
        assert steps.countdown.looks <= 20 * 1.5 + 2 * 10

    def test_many_triggers_that_start_at_once_look_one_after_the_other_within_their_dwell_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As after a restart of the triggerer: neither at their start nor when the dwell ends do all look at once."""
        monkeypatch.setattr(WaitTrigger, "dwell", 0.3)
        monkeypatch.setattr(WaitTrigger, "looks", 10.0)
        steps.countdown.reset(left=1_000_000)
        soon: list[int] = []

        async def together() -> None:
            deadline = time.time() + 0.5
            watching = [asyncio.ensure_future(anext(trigger(deadline=deadline).run())) for _ in range(10)]
            await asyncio.sleep(0.1)
            soon.append(steps.countdown.looks)
            await asyncio.gather(*watching)

        asyncio.run(asyncio.wait_for(together(), 30))
        assert soon[0] < 10
        assert steps.countdown.looks <= 2 * 10, "one within the dwell or behind it, and the one that is its last"

    def test_triggers_of_one_process_share_their_clients(self) -> None:
        (_, one), (_, other) = trigger()._open(), trigger()._open()
        assert one.source is other.source
        assert one.target is other.target
        assert one.source is not one.target

    def test_it_watches_the_way_that_its_step_goes_and_shares_clients_with_the_other_way(self) -> None:
        (_, there), (_, back) = trigger()._open(), trigger(heading="source")._open()
        assert (there.destination.side, back.destination.side) == (Side.TARGET, Side.SOURCE)
        assert there.origin is back.destination

    def test_cancelled_it_ends_without_an_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        steps.countdown.reset(left=1_000_000)

        async def cancelled() -> list[Any]:
            events: list[Any] = []

            async def collect() -> None:
                async for event in trigger().run():
                    events.append(event)

            task = asyncio.create_task(collect())
            while not steps.countdown.looks:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return events

        assert asyncio.run(asyncio.wait_for(cancelled(), 20)) == []


def test_progress_is_told_when_it_changes_and_never_floods() -> None:
    told: list[str] = []
    clock = [0.0]
    progress = Progress(told.append, now=lambda: clock[0])
    for second in range(61):
        clock[0] = float(second)
        progress.tell((f"{max(0, 10 - second)} left",))
    assert told == ["10 left", "6 left", "2 left", "0 left", "0 left"]


def trigger(
    deadline: float | None = None, connections: dict[str, str] | None = None, heading: str = "target"
) -> WaitTrigger:
    return WaitTrigger(
        step="tests.dags.steps:countdown",
        connections=connections or {"source": "kafka_source", "target": "kafka_target"},
        heading=heading,
        brief={"left": steps.countdown.left},
        memory={},
        deadline=deadline or time.time() + 60,
        poll=0.01,
        plan="shop",
    )


def fired(trigger: WaitTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("no event")

    return asyncio.run(asyncio.wait_for(first(), 30))


def test_what_looks_measure_is_a_metric_of_the_plan_and_never_ends_a_wait(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.observability import stats

    sent: list[tuple[str, float]] = []

    def gauge(name: str, value: float) -> None:
        sent.append((name, value))
        if len(sent) > 1:
            raise OSError("nobody listens")

    monkeypatch.setattr(stats, "gauge", gauge)
    monkeypatch.setattr(WaitTrigger, "dwell", 0.0)
    airflow_home.write_plan("waits")
    waiting = Look(Outcome.WAITING, ("7 left",), {"left": 0}, numbers={"mirror.behind": 7.0})
    steps.countdown.outcomes = [waiting, waiting]  # of the worker, and of the trigger
    ended = run_dag("waits.migrate")
    assert ended.state == "success"
    assert sent == [("kafka_migration.waits.mirror.behind", 7.0)] * 2
    assert ended.log.count("metrics could not be sent: OSError: nobody listens") == 1
