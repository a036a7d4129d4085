"""The whole stage, real: it starts, is found running, survives nothing, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.processes import command_line

from demo.airflow import Login
from demo.claim import holder_of
from demo.commands import _Instance
from demo.leftovers import end_all
from demo.shop.catalogue import PLAIN
from demo.waiting import wait_until

INCLUDE = Path(__file__).parents[2] / "include"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    folder.mkdir()
    yield folder
    command(folder, "down")
    end_all(folder)


def command(state: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", name],
        env=environment(state),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def start(state: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *words], env=environment(state), stdout=subprocess.PIPE, text=True
    )


def environment(state: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(INCLUDE), "KAFKA_MIGRATION_STATE": str(state)}


def processes(state: Path) -> list[psutil.Process]:
    """Every process that was started for that state folder, whoever its parent is."""
    return [process for process in psutil.process_iter() if mark(process) == str(state)]


def under_way(state: Path) -> bool:
    """The source, the database and the whole shop run, and a component of Airflow has been forked."""
    commands = [command_line(process) for process in processes(state)]
    services = sum("-m demo.shop." in one and not one.startswith("sh ") for one in commands)
    return services >= len(PLAIN.services) and sum("demo.forked" in one for one in commands) >= 2


def mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("KAFKA_MIGRATION_STAGE")
    except (psutil.Error, OSError):
        return None


@pytest.mark.timeout(1600)
def test_up_and_down_leave_no_process_even_after_a_kill(state: Path) -> None:
    killed = start(state, "hold")
    wait_until(lambda: under_way(state), timeout=90, what="something of every part to have been started")
    assert killed.pid == getattr(holder_of(state), "pid", None)
    killed.kill()
    killed.wait(60)
    wait_until(lambda: holder_of(state) is None, timeout=10, what="the killed holder to be gone")
    # What one that is killed later leaves as well.
    _Instance(Login("http://127.0.0.1:1", "admin", "of-the-killed")).write(state)

    first = command(state, "up")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "that an earlier start had left" in first.stdout
    assert "It is running already." not in first.stdout
    assert "password  " in first.stdout
    assert "of-the-killed" not in first.stdout
    assert processes(state)

    again = command(state, "up")
    assert again.returncode == 0
    assert "It is running already." in again.stdout

    refused = command(state, "demo")
    assert refused.returncode == 3
    assert refused.stdout.splitlines()[-1].endswith(" reason=already_running")
    assert processes(state), "a refused demo must not end what runs"

    down = command(state, "down")
    assert down.returncode == 0
    assert processes(state) == []
    assert not list((state / "sockets").glob("*"))


@pytest.mark.timeout(480)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_start_says_so_and_leaves_no_process(state: Path, number: signal.Signals) -> None:
    demo = start(state, "demo")
    wait_until(lambda: len(processes(state)) > 3, timeout=60, what="the demo to start some processes")

    demo.send_signal(number)
    output, _ = demo.communicate(timeout=240)

    assert demo.returncode == 130
    assert output.splitlines()[-1] == (
        "verdict INCONCLUSIVE produced=0 lost=0 repeated=0 out_of_order=0 reason=interrupted"
    )
    assert processes(state) == []


@pytest.mark.timeout(720)
def test_interrupted_while_it_stores_messages_it_says_so_and_leaves_no_process(state: Path) -> None:
    demo = start(state, "demo", "SCHEME=mirror_first")
    wait_until(lambda: _stores(state), timeout=90, what="the demo to store messages")

    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=240)

    assert demo.returncode == 130
    assert "what was stored before is up" not in output
    assert output.splitlines()[-1].endswith(" reason=interrupted")
    assert processes(state) == []


def _stores(state: Path) -> bool:
    return any(log.stat().st_size for log in state.glob("source/**/events-0/*.log"))
