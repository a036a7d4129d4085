"""What a person sees of a run: a live table in a terminal, short plain lines elsewhere.

Shows what it is given. Never asks Airflow or the shop anything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from demo.rest import TaskRow

_PLAIN_PROGRESS_EVERY = 5.0
_HEAD_AND_FOOT = 8
_ACTIVE = {"running", "deferred", "awaiting_input", "queued", "up_for_retry", "restarting"}
_NOT_RUN = {"upstream_failed", "skipped", "removed"}
_STYLES = {
    "success": ("✔", "green"),
    "failed": ("✘", "bold red"),
    "upstream_failed": ("✘", "red"),
    "skipped": ("–", "dim"),
    "running": ("▶", "cyan"),
    "deferred": ("◔", "cyan"),
    "awaiting_input": ("?", "yellow"),
    "up_for_retry": ("↻", "yellow"),
}


@dataclass(frozen=True)
class RunPicture:
    """One look at a run: its tasks in the order of the run, and the last log line of each active one."""

    title: str
    state: str
    rows: Sequence[TaskRow]
    lines: Mapping[str, str]
    taken: datetime

    def line(self, row: TaskRow) -> str:
        return self.lines.get(row.name, "")


class View(Protocol):
    """Where a run is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, picture: RunPicture) -> None: ...

    def say(self, text: str) -> None: ...


def view_for(console: Console) -> View:
    """A live table where the output is a terminal, plain lines where it is not."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class LiveView:
    """A table that is drawn anew with each picture."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._last: RunPicture | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._last is not None:
            self._live.update(_table(self._last, rows=None), refresh=True)
        self._live.stop()

    def show(self, picture: RunPicture) -> None:
        self._last = picture
        self._live.update(_table(picture, rows=max(self._console.height - _HEAD_AND_FOOT, 5)), refresh=True)

    def say(self, text: str) -> None:
        say(self._console, text)


class PlainView:
    """A line when a task starts, ends or waits, and now and then the progress of one that takes long."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, str | None] = {}
        self._lines: dict[str, str] = {}
        self._progress_said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, picture: RunPicture) -> None:
        ended = [row for row in picture.rows if row.finished and row.state != self._states.get(row.name)]
        self._states = {row.name: row.state for row in picture.rows}
        for row in ended:
            if row.state not in _NOT_RUN:
                self.say(f"{row.name}: {row.state}{_after(row, picture)}")
        not_run = sum(row.state in _NOT_RUN for row in ended)
        if not_run:
            self.say(f"tasks that will not run any more: {not_run}")
        if time.monotonic() - self._progress_said >= _PLAIN_PROGRESS_EVERY:
            self._progress_said = time.monotonic()
            for row in picture.rows:
                line = picture.line(row)
                if row.state in _ACTIVE and line and line != self._lines.get(row.name):
                    self._lines[row.name] = line
                    self.say(f"{row.name}: {line}")

    def say(self, text: str) -> None:
        say(self._console, text)


def _table(picture: RunPicture, rows: int | None) -> Group:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    shown = picture.rows if rows is None else _window(picture.rows, rows)
    for row in shown:
        sign, style = _STYLES.get(row.state or "", ("·", "dim"))
        seconds = row.seconds(picture.taken)
        told = picture.line(row) or ("" if row.state in (None, "success") else (row.state or "").replace("_", " "))
        table.add_row(
            Text(sign, style), Text(row.name, style), "" if seconds is None else f"{seconds:.1f} s", Text(told, "dim")
        )
    done = sum(row.finished for row in picture.rows)
    head = Text.assemble((picture.title, "bold"), f"  {picture.state}, {done} of {len(picture.rows)} tasks done")
    return Group(Text(), head, table)


def _window(rows: Sequence[TaskRow], count: int) -> Sequence[TaskRow]:
    """As many rows as fit, around the first that is not finished."""
    first = next((index for index, row in enumerate(rows) if not row.finished), len(rows))
    start = max(0, min(first - count // 3, len(rows) - count))
    return rows[start : start + count]


def _after(row: TaskRow, picture: RunPicture) -> str:
    seconds = row.seconds(picture.taken)
    return "" if seconds is None else f" after {seconds:.1f} s"


def clock(moment: float) -> str:
    """Seconds since the epoch, as a clock on the wall shows them."""
    return datetime.fromtimestamp(moment, UTC).astimezone().strftime("%H:%M:%S")


def say(console: Console, text: str) -> None:
    """One line with the time; nothing where the terminal has gone away."""
    with suppress(OSError, ValueError):
        console.print(f"{clock(time.time())} {text}", markup=False, highlight=False, soft_wrap=True)


def print_table(console: Console, title: str, entries: Mapping[str, str]) -> None:
    """Labels and texts, aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, text in entries.items():
        table.add_row(Text(label), Text(text))
    console.print()
    console.print(table)


def last_line(text: str) -> None:
    """The very last line on the standard output, even where the terminal has gone away."""
    with suppress(OSError, ValueError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
