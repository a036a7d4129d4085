"""What tests ask of processes that may end meanwhile."""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> str:
    """How it calls itself; empty where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
