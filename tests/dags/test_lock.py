"""The lock: whatever the order in which runs get to write and read, at most one holds, and not all are refused."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest
from tests.dags.conftest import AirflowHome, Ended, set_run_state

from airflow_kafka_migration.lock import Claim, Touched, hold, holds
from kafka_migration.errors import Locked

DAGS = ("a.migrate", "b.migrate", "c.migrate")


def claim(dag_id: str, topics: str = "orders", began: str = "2030-01-01") -> Claim:
    touched = Touched(frozenset(f"cluster/{topic}" for topic in topics.split()), frozenset())
    return Claim(dag_id, f"run-of-{dag_id}", began, held=False, touched=touched)


class Board:
    """Claims in memory, and the runs that are active."""

    def __init__(self) -> None:
        self.kept: dict[str, Claim] = {}
        self.active: set[str] = set()

    def read(self, dag_id: str, run_id: str) -> Claim | None:
        return self.kept.get(dag_id)

    def write(self, claim: Claim) -> None:
        self.kept[claim.dag_id] = claim

    def withdraw(self, claim: Claim) -> None:
        del self.kept[claim.dag_id]

    def active_runs(self, dag_id: str) -> list[str]:
        return [f"run-of-{dag_id}"] if dag_id in self.active else []


class Turns:
    """Lets threads go on one operation at a time, in an order drawn from a seed."""

    def __init__(self, seed: int, names: tuple[str, ...]) -> None:
        self._random = random.Random(seed)
        self._waiting: set[str] = set()
        self._alive = set(names)
        self._turn: str | None = None
        self._changed = threading.Condition()

    def wait(self, name: str) -> None:
        with self._changed:
            self._waiting.add(name)
            self._draw()
            assert self._changed.wait_for(lambda: self._turn == name, timeout=20)
            self._waiting.discard(name)
            self._turn = None

    def leave(self, name: str) -> None:
        with self._changed:
            self._alive.discard(name)
            self._draw()

    def _draw(self) -> None:
        if self._turn is None and self._waiting == self._alive and self._waiting:
            self._turn = self._random.choice(sorted(self._waiting))
            self._changed.notify_all()


class BoardInTurns(Board):
    """The same for threads, each of whose operations waits for its turn."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def of(self, name: str) -> Board:
        board = self

        class View(Board):
            def read(self, dag_id: str, run_id: str) -> Claim | None:
                board._turns.wait(name)
                return board.read(dag_id, run_id)

            def write(self, claim: Claim) -> None:
                board._turns.wait(name)
                board.write(claim)

            def withdraw(self, claim: Claim) -> None:
                board._turns.wait(name)
                board.withdraw(claim)

            def active_runs(self, dag_id: str) -> list[str]:
                return board.active_runs(dag_id)

        return View()


@pytest.mark.parametrize("seed", range(300))
def test_of_runs_that_begin_at_once_exactly_one_holds(seed: int) -> None:
    turns = Turns(seed, DAGS)
    board = BoardInTurns(turns)
    board.active = set(DAGS)
    outcome: dict[str, str] = {}

    def ask(dag_id: str) -> None:
        try:
            began = f"2030-01-0{random.Random(f'{seed}{dag_id}').randint(1, 2)}"
            hold(board.of(dag_id), claim(dag_id, began=began), DAGS, sleep=lambda _: turns.wait(dag_id), now=lambda: 0)
            outcome[dag_id] = "holds"
        except Locked as error:
            outcome[dag_id] = str(error)
        finally:
            turns.leave(dag_id)

    threads = [threading.Thread(target=ask, args=(dag_id,)) for dag_id in DAGS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    holder = [dag_id for dag_id, said in outcome.items() if said == "holds"]
    assert len(holder) == 1
    assert all(said == "holds" or "run-of-" in said for said in outcome.values())
    assert set(board.kept) == set(holder)


def test_the_refused_is_told_who_holds_what() -> None:
    board = Board()
    board.active = {"a.migrate", "b.migrate"}
    hold(board, claim("a.migrate", "orders payments"), DAGS)
    with pytest.raises(Locked, match=r"run-of-a\.migrate of a\.migrate.*topics orders\b"):
        hold(board, claim("b.migrate", "orders returns"), DAGS)


def test_runs_that_share_nothing_hold_side_by_side() -> None:
    board = Board()
    board.active = {"a.migrate", "b.migrate"}
    hold(board, claim("a.migrate", "orders"), DAGS)
    hold(board, claim("b.migrate", "payments"), DAGS)


def test_a_run_that_has_ended_holds_nothing() -> None:
    board = Board()
    board.active = {"a.migrate"}
    hold(board, claim("a.migrate"), DAGS)
    board.active = {"b.migrate"}
    hold(board, claim("b.migrate"), DAGS)


def test_a_run_that_was_cleared_after_its_end_must_ask_again() -> None:
    board = Board()
    board.active = {"a.migrate"}
    hold(board, claim("a.migrate", began="2030-01-01"), DAGS)
    assert holds(board, "a.migrate", "run-of-a.migrate", "2030-01-01")
    assert not holds(board, "a.migrate", "run-of-a.migrate", "2030-01-02")


def test_one_who_asks_and_never_decides_is_given_way_to_after_a_while() -> None:
    board = Board()
    board.active = {"a.migrate", "b.migrate"}
    board.write(claim("a.migrate", began="2029-12-31"))
    clock = iter(range(1000))
    with pytest.raises(Locked, match=r"run-of-a\.migrate"):
        hold(board, claim("b.migrate"), DAGS, sleep=lambda _: None, now=lambda: float(next(clock)))


def test_a_second_run_is_refused_with_the_first_ones_run_id(
    airflow_home: AirflowHome, run_dag: Callable[..., Ended]
) -> None:
    airflow_home.write_plan("acts")
    first = run_dag("acts.migrate")
    assert first.state == "success"
    set_run_state("acts.migrate", first.run_id, "running")

    second = run_dag("acts.migrate")
    assert second.tasks == {"preflight": "failed", "second": "upstream_failed"}
    assert f"Run {first.run_id} of acts.migrate" in second.log
    assert "topics orders" in second.log

    set_run_state("acts.migrate", first.run_id, "failed")
    assert run_dag("acts.migrate").state == "success"


def test_another_plan_that_shares_a_topic_is_refused(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts", topic="shared")
    airflow_home.write_plan("others", topic="shared")
    first = run_dag("acts.migrate")
    set_run_state("acts.migrate", first.run_id, "running")
    second = run_dag("others.migrate")
    assert second.state == "failed"
    assert f"Run {first.run_id} of acts.migrate" in second.log
    airflow_home.write_plan("others", topic="own")
    assert run_dag("others.migrate").state == "success"
    set_run_state("acts.migrate", first.run_id, "success")


def test_a_dry_run_holds_nothing_and_is_not_held_up(airflow_home: AirflowHome, run_dag: Callable[..., Ended]) -> None:
    airflow_home.write_plan("acts")
    first = run_dag("acts.migrate")
    set_run_state("acts.migrate", first.run_id, "running")
    assert run_dag("acts.migrate", dry_run=True).state == "success"
    set_run_state("acts.migrate", first.run_id, "success")
