"""Telling in a log how far long work has come: how much of it, how fast, and how long it will still take."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from kafka_migration.evidence.words import duration


class ProgressLog:
    """Called with what is done and what there is in all, however often; a line comes each `every` seconds at most.

    `what`: what is counted, as "offsets compared". Nothing is told of work that is done sooner.
    """

    def __init__(
        self, log: logging.Logger, what: str, every: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._what = what
        self._every = every
        self._now = now
        self._began = self._told = now()

    def __call__(self, done: int, total: int) -> None:
        now = self._now()
        if now - self._told < self._every:
            return
        self._told = now
        rate = done / (now - self._began)
        left = f"about {duration((total - done) / rate)} left" if rate else "none yet"
        share = f"{done / total:.0%}" if total else "all"
        told = f"{done:,} of {total:,} {self._what} ({share}), {rate:,.0f}/s, {left}"
        self._log.info("%s", told)
