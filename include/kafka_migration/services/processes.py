"""What a running process was started with: a variable of its environment, from /proc. It sees this host only."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_ACKS = ("0", "1", "all")
_SAME_ACKS = {"-1": "all", "leader": "1", "none": "0"}
_ACKS_VARIABLE = re.compile(r"(?:^|_)ACKS$", re.IGNORECASE)
_ACKS_OPTION = re.compile(r"(?<![a-z])acks[=\s]\s*(-1|0|1|all)(?![\w.])", re.IGNORECASE)


@dataclass(frozen=True)
class InUse:
    """The value that the process really has, None where it cannot be told. `how` says where it was seen, or why not."""

    value: str | None
    how: str


def variable_in_use(pid: int, variable: str) -> InUse:
    """The variable in the environment of a process and its descendants.

    Where a process and one of its descendants differ, the descendant counts: a shell that reads an env file keeps its
    own first environment in /proc, and hands the file's values to what it starts.
    """
    children = _descendants(pid)
    environments = {process: _environment(process) for process in children}
    values = {p: e[variable] for p, e in environments.items() if e is not None and variable in e}
    deciding = {p: v for p, v in values.items() if not any(d in values for d in _below(p, children))}
    if len(set(deciding.values())) == 1:
        process, value = max(deciding.items())
        return InUse(value, f"environment of process {process}")
    if deciding:
        told = ", ".join(f"{process} has {value}" for process, value in sorted(deciding.items()))
        return InUse(None, f"its processes differ in {variable}: {told}")
    if all(environment is None for environment in environments.values()):
        return InUse(None, f"the environment of process {pid} may not be read from here")
    return InUse(None, f"process {pid} has no {variable} in its environment")


def acks_in_use(pid: int) -> str | None:
    """What the environment or the command line of a process and its descendants says of acks; None where nothing does.

    Where they differ, the weakest counts: `0` before `1` before `all`.
    """
    processes = _descendants(pid)
    environments = [_environment(process) or {} for process in processes]
    commands = [_command_line(process) for process in processes]
    return weakest_acks(environments, commands)


def weakest_acks(environments: Iterable[Mapping[str, str]], commands: Iterable[str] = ()) -> str | None:
    """The weakest that variables such as `KAFKA_ACKS` and options such as `acks=1` say; None where none does."""
    said = [value for one in environments for name, value in one.items() if _ACKS_VARIABLE.search(name)]
    said += [found for command in commands for found in _ACKS_OPTION.findall(command)]
    known = {_SAME_ACKS.get(value.strip().lower(), value.strip().lower()) for value in said}
    return min(known & set(_ACKS), default=None)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _environment(pid: int) -> dict[str, str] | None:
    """All variables of a process; None when this user may not see them, or it has just ended."""
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    entries = (entry.decode(errors="replace").partition("=") for entry in content.split(b"\0") if entry)
    return {name: value for name, _, value in entries}


def _descendants(pid: int) -> dict[int, list[int]]:
    """The process and all below it, each with its children."""
    found: dict[int, list[int]] = {}
    front = [pid]
    while front:
        process = front.pop()
        if process in found:
            continue
        found[process] = []
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError, ValueError):
                found[process] += [int(child) for child in task.read_text().split()]
        front += found[process]
    return found


def _below(pid: int, children: dict[int, list[int]]) -> list[int]:
    below = list(children.get(pid, ()))
    for process in below:
        below += children.get(process, ())
    return below
