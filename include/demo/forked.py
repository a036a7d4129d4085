"""Runs several commands of one Python application as forks of a process that has imported it once.

Airflow's four components spend most of their start on the same imports: forked, all are up in half the
time. A command that ends is started anew, once nothing of it is left; one that ends at its very start ends
them all, since it will not do better the second time; one that was killed would. Knows no application by
name: what to import and to run comes in a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

_STOP_WITHIN = 3.0
_SHORTEST_LIFE = 15.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Command:
    """One command of the application: its arguments, and what is imported right before it is forked."""

    name: str
    arguments: list[str]
    preload: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Commands:
    """The application and its commands, in the order in which they are forked."""

    module: str
    commands: tuple[Command, ...]
    logs: str

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Commands:
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(content["module"], tuple(Command(**one) for one in content["commands"]), content["logs"])

    def log(self, command: Command) -> Path:
        return Path(self.logs) / f"{command.name}.log"


def main(commands: Commands) -> int:
    """Import and fork, then stay until told to stop (0) or a command cannot be kept running (1)."""
    Path(commands.logs).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)  # ignored by default, and then not waited for either
    running: dict[int, _Run] = {}
    for command in commands.commands:
        for module in command.preload:
            importlib.import_module(module)
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)  # until the first fork a signal simply ends this process
        running[_fork(commands, command)] = _Run(command, time.monotonic())
    kept = True
    while kept and signal.sigwait(_AWAITED) == signal.SIGCHLD:
        kept = all(_replace(pid, status, commands, running) for pid, status in _ended())
    _end(running)
    return 0 if kept else 1


_AWAITED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class _Run:
    command: Command
    started: float


def _ended() -> Iterator[tuple[int, int]]:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield found


def _replace(pid: int, status: int, commands: Commands, running: dict[int, _Run]) -> bool:
    """Start the ended command anew, unless it ended by itself at its very start."""
    ended = running.pop(pid)
    code = os.waitstatus_to_exitcode(status)
    print(f"{ended.command.name} ended with exit code {code}; its log is {commands.log(ended.command)}", flush=True)
    if code != -signal.SIGKILL and time.monotonic() - ended.started < _SHORTEST_LIFE:
        return False
    # As a service manager does: what it had started still holds its database connections, and so its locks.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    running[_fork(commands, ended.command)] = _Run(ended.command, time.monotonic())
    return True


def _fork(commands: Commands, command: Command) -> int:
    sys.stdout.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
    os.setpgid(0, 0)
    _die_with(parent)
    with commands.log(command).open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.argv = [commands.module, *command.arguments]
    code = 1
    try:
        runpy.run_module(commands.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else int(done.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the parent's exit handlers are not this child's


def _end(running: dict[int, _Run]) -> None:
    """Ask all to stop; what has not within seconds goes with its whole group."""
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN
    left = set(running)
    while left and time.monotonic() < deadline:
        left -= {pid for pid, _ in _ended()}
        time.sleep(0.05)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _die_with(parent: int) -> None:
    """Where the system can (Linux): end with the parent, even with one that was killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Commands.read(Path(sys.argv[1]))))
