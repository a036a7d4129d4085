"""The live shop whose services and supervisor can be killed; the supervisor comes back as an init system does it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

from demo.processes import OwnedProcess
from demo.shop import Shop
from demo.waiting import wait_until

_WITHIN = 60.0


class FaultShop(Shop):
    """A shop in one folder."""

    _left: list[psutil.Process]
    _ran: list[str]

    def kill_service(self, name: str) -> None:
        """Where it runs; its supervisor starts it again."""
        pid = self.status()[name].pid
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @contextmanager
    def held_still(self, names: Iterable[str]) -> Iterator[None]:
        """For a moment they do nothing; what they have asked of others goes on."""
        processes = [psutil.Process(pid) for name in names if (pid := self.status()[name].pid) is not None]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def kill_supervisor(self) -> None:
        """Its services see that it has gone, and end."""
        assert self._supervisord is not None
        self._ran = [name for name, one in self.status().items() if one.pid is not None]
        self._left = psutil.Process(self._supervisord.pid).children()
        self._supervisord.kill()

    def start_supervisor(self) -> None:
        """Once nothing of the former one is left. What ran before starts with it, as `autostart` would have it."""
        psutil.wait_procs(self._left, timeout=_WITHIN)
        self._supervisord = OwnedProcess(self.command, log=self.log_directory / "supervisor-output.log")
        wait_until(self._has_come_up, timeout=_WITHIN, what="the supervisor to come back")
        self._start(self._ran)
