"""Waiting with a deadline, and with a look at what must stay alive meanwhile. Never waits without end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from demo.settings import UNKNOWN, BadSetting

_PAUSE = 0.05


class WaitedInVain(Exception):
    """What was waited for did not come in time."""


def patience() -> float:
    """How many times as long as usual is waited: `DEMO_PATIENCE`, for a machine that is slower than most.

    Raises `BadSetting`.
    """
    told = os.environ.get("DEMO_PATIENCE") or "1"
    try:
        times = float(told)
    except ValueError:
        times = 0.0
    if not 0 < times < 1_000:
        raise BadSetting(f"DEMO_PATIENCE={told} is unknown. Allowed: DEMO_PATIENCE=3, or another number.", UNKNOWN)
    return times


def wait_until(condition: Callable[[], bool], *, timeout: float, what: str) -> None:
    """Return as soon as the condition holds. What it raises ends the wait, so it may also watch a process."""
    timeout *= patience()
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise WaitedInVain(f"Waited {timeout:.0f} s in vain for {what}.")
        time.sleep(_PAUSE)
