"""Ctrl-C, a closed terminal and a polite kill, all as one exception; and quiet while things are put away.

Works in the main thread only, as signals do in Python.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked this process to stop. Not an `Exception`: nothing that handles errors may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_on_signals() -> None:
    """From now on the first such signal raises `Interrupted`; later ones change nothing."""

    def interrupt(number: int, frame: object) -> None:
        _ignore()
        raise Interrupted(number)

    for one in _SIGNALS:
        signal.signal(one, interrupt)


@contextmanager
def not_interrupted() -> Iterator[None]:
    """What is done here is done to its end."""
    before = [signal.getsignal(one) for one in _SIGNALS]
    _ignore()
    try:
        yield
    finally:
        for one, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(one, handler)


def _ignore() -> None:
    # A function, not SIG_IGN: that would be inherited by the processes started meanwhile.
    for one in _SIGNALS:
        signal.signal(one, lambda number, frame: None)
