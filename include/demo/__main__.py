"""`python -m demo COMMAND`: what the Makefile calls. Chooses the command and prints the demo's last line.

`check` runs on any Python, before anything is installed; the others need the project's environment.
"""

from __future__ import annotations

import sys

from demo.settings import BadSetting, Settings, read
from demo.verdict import unknown
from demo.waiting import patience

_PLAIN_WIDTH = 140  # where no terminal says how wide it is


def main(arguments: list[str]) -> int:
    command, *assignments = arguments or ["help"]
    settings = Settings()
    judged = command in ("check", "demo")
    try:
        patience()
        if judged:
            settings = read(assignments)
    except BadSetting as error:
        print(error, flush=True)
        if judged:
            print(unknown(error.reason).line, flush=True)
        return 2
    if command == "check":
        return 0
    return _run(command, settings)


def _run(command: str, settings: Settings) -> int:
    from rich.console import Console  # not needed, and perhaps not there, to refuse a setting

    from demo import commands
    from demo.interrupts import raise_on_signals
    from demo.view import last_line

    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    raise_on_signals()
    match command:
        case "demo":
            verdict = commands.demo(console, settings)
            last_line(verdict.line)
            return verdict.exit_code
        case "up":
            return commands.up(console)
        case "hold":
            return commands.hold(console)
        case "down":
            return commands.down(console)
        case "clean":
            return commands.clean(console)
    print(f"There is no command {command!r}: demo, up, down, clean.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
