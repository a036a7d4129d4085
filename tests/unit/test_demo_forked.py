"""Commands that are forked from one process live and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from demo.forked import Command, Commands
from demo.waiting import wait_until

INCLUDE = Path(__file__).parents[2] / "include"
APPLICATION = """\
import os, sys, time
print(os.getpid(), os.getppid(), flush=True)
if sys.argv[1] == "ends":
    sys.exit(7)
if sys.argv[1] == "has a child" and os.fork() == 0:
    print(os.getpid(), os.getppid(), flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    (tmp_path / "application.py").write_text(APPLICATION, encoding="utf-8")
    return tmp_path


def start(folder: Path, program: str, **arguments: list[str]) -> tuple[subprocess.Popen[str], Commands]:
    one_each = tuple(Command(name, words, preload=["json"]) for name, words in arguments.items())
    commands = Commands("application", one_each, str(folder / "logs"))
    commands.write(folder / "commands.json")
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder / "commands.json")],
        env={**os.environ, "PYTHONPATH": f"{INCLUDE}:{folder}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, commands


RUN = "import sys, pathlib, demo.forked as f; sys.exit(f.main(f.Commands.read(pathlib.Path(sys.argv[1]))))"
RUN_WITHOUT_A_SHORTEST_LIFE = RUN.replace("; sys.exit", "; f._SHORTEST_LIFE = 0; sys.exit")


def log_of(commands: Commands, name: str) -> Path:
    return next(commands.log(command) for command in commands.commands if command.name == name)


def pids(commands: Commands, name: str) -> list[int]:
    log = log_of(commands, name)
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [int(line.split()[0]) for line in lines]


def started(commands: Commands, *names: str) -> None:
    wait_until(lambda: all(pids(commands, name) for name in names), timeout=20, what=f"{names} to start")


def test_a_signal_ends_every_command(application: Path) -> None:
    process, commands = start(application, RUN, one=["stays"], two=["stays"])
    started(commands, "one", "two")
    children = [psutil.Process(pids(commands, name)[0]) for name in ("one", "two")]

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 0
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_commands_end_with_a_parent_that_was_killed(application: Path) -> None:
    process, commands = start(application, RUN, one=["stays"])
    started(commands, "one")
    child = psutil.Process(pids(commands, "one")[0])

    process.kill()
    process.wait(20)

    assert not psutil.wait_procs([child], timeout=10)[1]


def test_a_command_that_ends_at_its_very_start_ends_them_all_and_is_named(application: Path) -> None:
    process, commands = start(application, RUN, one=["stays"], bad=["ends"])

    output, _ = process.communicate(timeout=30)

    assert process.returncode == 1
    assert f"bad ended with exit code 7; its log is {log_of(commands, 'bad')}" in output
    assert not any(psutil.pid_exists(pid) for pid in pids(commands, "one"))


@pytest.mark.parametrize(
    ("program", "number"),
    [(RUN_WITHOUT_A_SHORTEST_LIFE, signal.SIGTERM), (RUN, signal.SIGKILL)],
    ids=["later", "killed"],
)
def test_a_command_that_ends_later_or_was_killed_is_started_anew_and_the_others_go_on(
    application: Path, program: str, number: signal.Signals
) -> None:
    process, commands = start(application, program, one=["stays"], two=["stays"])
    started(commands, "one", "two")

    os.kill(pids(commands, "one")[0], number)

    wait_until(lambda: len(pids(commands, "one")) == 2, timeout=20, what="the command to be started anew")
    assert psutil.pid_exists(pids(commands, "two")[0])
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_nothing_of_a_killed_command_is_left_when_it_is_started_anew(application: Path) -> None:
    process, commands = start(application, RUN, one=["has a child"])
    wait_until(lambda: len(pids(commands, "one")) == 2, timeout=20, what="the command and its child to start")
    first, child = pids(commands, "one")

    os.kill(first, signal.SIGKILL)

    wait_until(lambda: len(pids(commands, "one")) == 4, timeout=20, what="the command to be started anew")
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
