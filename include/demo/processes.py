"""Child processes that cannot outlive the process that started them.

Each runs in a session of its own, so that Ctrl-C reaches the owner alone and the owner decides the order
of stopping. Should the owner die first, even by SIGKILL, a small watcher ends the child. Never restarts
anything and never touches a process it has not started.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# The read returns when the owner's end of the pipe closes, which the kernel does however the owner ends.
# (PR_SET_PDEATHSIG would fire already when the *thread* that started the child ends.)
_WATCHER = """
read -r _
kill -TERM "$1" 2>/dev/null || exit 0
left=20
while [ "$left" -gt 0 ] && kill -0 "$1" 2>/dev/null; do sleep 1; left=$((left - 1)); done
kill -KILL "$1" 2>/dev/null
"""


class OwnedProcess:
    """A running child with its output in a file."""

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.command = list(command)
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCHER, "watcher", str(self._child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def terminate(self) -> None:
        """Ask it to end; does not wait."""
        self._child.terminate()

    def kill(self) -> None:
        """End it at once, as a machine that loses its power would, and wait until it is gone."""
        self._child.kill()
        self._child.wait()
        self._dismiss_watcher()

    def stop(self, timeout: float = 20.0) -> int:
        """Ask it to end, wait, and kill it when it has not ended in time. Its exit code."""
        self._child.terminate()
        try:
            self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
        code = self._child.wait()
        self._dismiss_watcher()
        return code

    def log_tail(self, lines: int = 20) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""

    def _dismiss_watcher(self) -> None:
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
