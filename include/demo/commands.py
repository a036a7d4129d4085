"""What `make demo`, `make up` and `make down` do, from the first process to the last line.

Each function is one command and returns its result; what is said goes to the console it is given.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from demo import paths
from demo.airflow import Login
from demo.claim import Claimed, Holder, holder_of
from demo.disaster import survive
from demo.interrupts import Interrupted, not_interrupted
from demo.legs import MIGRATE, plan_of
from demo.migration import migrate
from demo.settings import DISASTER, Settings
from demo.stage import Stage, clear, end
from demo.verdict import INTERRUPTED, Verdict, unknown
from demo.view import say
from demo.waiting import WaitedInVain, patience, wait_until

_UP_WITHIN = 600.0
_DOWN_WITHIN = 60.0


def demo(console: Console, settings: Settings) -> Verdict:
    """Build the stage, migrate the shop or lose a cluster of it, count, put everything away."""
    state = paths.state_folder()
    stage: Stage | None = None
    try:
        stage = _stage(state, "demo", console, plan_of(settings), history=settings.history, brokers=settings.brokers)
        stage.start()
        return survive(stage, console) if settings.scheme == DISASTER else migrate(stage, settings, console)
    except Interrupted as interruption:
        say(console, f"interrupted by {interruption}")
        return unknown(INTERRUPTED)
    except Claimed as error:
        say(console, f"{error} Stop it first: make down")
        return unknown("already_running")
    except Exception as error:
        _explain(console, error, state)
        return unknown("failed_while_running" if stage is not None and stage.ready else "start_failed")
    finally:
        with not_interrupted():
            if stage is not None:
                say(console, "stopping everything")
                stage.stop()


def up(console: Console) -> int:
    """Start a process that holds the stage, follow it until all is ready, and leave it running."""
    state = paths.state_folder()
    holder = holder_of(state)
    if holder is not None:
        return _already_up(console, state, holder)
    log = state / "up.log"
    log.write_text("", encoding="utf-8")
    _Instance.remove(state)  # of a holder that was killed
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "hold"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _follow_start(console, state, log, process)
    except Interrupted:
        say(console, "interrupted: stopping what has been started")
        with not_interrupted():
            process.terminate()
            process.wait(_DOWN_WITHIN * patience())
        return 130
    instance = _Instance.read(state)
    if instance is None:
        say(console, f"It did not start; {log} says why.")
        return 1
    _welcome(console, instance)
    return 0


def hold(console: Console) -> int:
    """Own the stage until told to stop; what `up` leaves behind."""
    state = paths.state_folder()
    stage: Stage | None = None
    try:
        stage = _stage(state, "up", console, practises=True)
        stage.start()
        _Instance(stage.airflow.login).write(state)
        while True:
            signal.pause()
    except Interrupted:
        return 0
    except Exception as error:
        _explain(console, error, state)
        return 1
    finally:
        with not_interrupted():
            if stage is not None:
                _Instance.remove(state)
                stage.stop()


def down(console: Console) -> int:
    """Stop whatever runs for this checkout, and what a killed start has left."""
    state = paths.state_folder()
    holder = holder_of(state)
    if holder is None:
        ended = end(state)
        say(console, f"Ended {len(ended)} processes that were left." if ended else "Nothing is running.")
        return 0
    say(console, f"Stopping `make {holder.command}` (process {holder.pid}).")
    with suppress(ProcessLookupError):
        os.kill(holder.pid, signal.SIGTERM)
    try:
        wait_until(lambda: holder_of(state) is None, timeout=_DOWN_WITHIN, what=f"process {holder.pid} to end")
    except WaitedInVain as error:
        say(console, f"{error} Killing it.")
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)
    end(state)
    say(console, "Stopped.")
    return 0


def clean(console: Console) -> int:
    """Stop everything and remove what was written, evidence included."""
    code = down(console)
    state = paths.state_folder()
    clear(state, keep=())
    shutil.rmtree(paths.socket_folder(state), ignore_errors=True)
    return code


@dataclass(frozen=True)
class _Instance:
    """What `make up` left running, for the next `make up` to tell."""

    login: Login

    def write(self, state: Path) -> None:
        file = _instance_file(state)
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self.login)), encoding="utf-8")

    @classmethod
    def read(cls, state: Path) -> _Instance | None:
        try:
            return cls(Login(**json.loads(_instance_file(state).read_text(encoding="utf-8"))))
        except (FileNotFoundError, ValueError):
            return None

    @staticmethod
    def remove(state: Path) -> None:
        _instance_file(state).unlink(missing_ok=True)


def _instance_file(state: Path) -> Path:
    return state / "instance.json"


def _stage(
    state: Path,
    command: str,
    console: Console,
    plan: Path | None = None,
    *,
    history: bool = False,
    practises: bool = False,
    brokers: int = 1,
) -> Stage:
    root = paths.checkout()
    return Stage(
        state,
        dags=root / "dags",
        plugins=root / "plugins",
        say=lambda text: say(console, text),
        command=command,
        plan=plan,
        history=history,
        practises=practises,
        brokers=brokers,
    )


def _already_up(console: Console, state: Path, holder: Holder) -> int:
    instance = _Instance.read(state)
    if instance is None:
        say(console, f"`make {holder.command}` of this checkout is running (process {holder.pid}). Stop it: make down")
        return 1
    say(console, "It is running already.")
    _welcome(console, instance)
    return 0


def _follow_start(console: Console, state: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
    """Show what the holder says until it is ready or has ended."""
    deadline = time.monotonic() + _UP_WITHIN * patience()
    with log.open(encoding="utf-8", errors="replace") as lines:
        while process.poll() is None and _Instance.read(state) is None and time.monotonic() < deadline:
            console.print(lines.read(), end="", markup=False, highlight=False)
            time.sleep(0.1)
        console.print(lines.read(), end="", markup=False, highlight=False)


def _welcome(console: Console, instance: _Instance) -> None:
    login = instance.login
    console.print(
        f"\nAirflow   {login.url}\nuser      {login.user}\npassword  {login.password}\n\n"
        f"Open it, choose the DAG {MIGRATE} and press Trigger. The shop is running. Beside it stock.mirror keeps a\n"
        "copy of a small second shop, and stock.drill practises its loss, both by their schedules.\n"
        "Stop all of it with: make down",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _explain(console: Console, error: Exception, state: Path) -> None:
    """The demo's own errors say what to do; of any other the place where it arose is what helps."""
    if type(error).__module__.startswith("demo."):
        say(console, f"{error}")
    else:
        say(console, "".join(traceback.format_exception(error)))
    say(console, f"The logs are in {state}.")
