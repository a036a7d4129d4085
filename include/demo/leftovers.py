"""Finds and ends every process of one demo, whoever its parent is now.

Each process that a demo starts inherits a mark in its environment that names the demo's state folder.
Only processes with that very mark are touched, never one by its name.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_MARK = "KAFKA_MIGRATION_STAGE"
_END_WITHIN = 6.0


def mark(state: Path) -> None:
    """From now on the processes that this one starts belong to the demo of that state folder."""
    os.environ[_MARK] = str(state)


def end_all(state: Path) -> list[str]:
    """End what is left of the demo of that state folder, this process and its parents apart. What was ended."""
    found = _find(state)
    named = [f"{process.info['name']} ({process.pid})" for process in found]
    for process in found:
        _signal(process, hard=False)
    _, alive = psutil.wait_procs(found, timeout=_END_WITHIN)
    # What was being started while the rest was ended is found by a second look.
    left = [*alive, *_find(state)]
    for process in left:
        _signal(process, hard=True)
    psutil.wait_procs(left, timeout=_END_WITHIN)
    return named


def _find(state: Path) -> list[psutil.Process]:
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process for process in psutil.process_iter(["name"]) if process.pid not in spared and _marked(process, state)
    ]


def _marked(process: psutil.Process, state: Path) -> bool:
    try:
        return process.environ().get(_MARK) == str(state)
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, *, hard: bool) -> None:
    try:
        if hard:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:
        pass
