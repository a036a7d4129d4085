"""`make faults`: kills anything at any time, and shows what became of it. Cells that have passed are not run again.

`ONLY=` picks cells by a part of `flow/victim` or a pattern, several by commas; `FRESH=1` runs all of them anew.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from tests.faults.cell import CellResult, run_cell
from tests.faults.flows import FLOWS, Flow
from tests.faults.results import Results
from tests.faults.stage import FaultStage
from tests.faults.table import HEAD, lines, verdict
from tests.faults.victims import VICTIMS, Victim

from demo import paths
from demo.claim import Claimed
from demo.interrupts import Interrupted, not_interrupted, raise_on_signals
from demo.view import last_line, say

Cell = tuple[Flow, Victim]

_USUAL = 100.0
_START = 40.0
_SETTINGS = ("ONLY", "FRESH")


def main(arguments: Sequence[str]) -> int:
    settings = dict(argument.split("=", 1) for argument in arguments)
    unknown = [name for name, value in settings.items() if value and name not in _SETTINGS]
    cells = _chosen(settings.get("ONLY", ""))
    if unknown or not cells:
        print(f"What can be set: {', '.join(_SETTINGS)}. The cells: {' '.join(map(_name, _chosen('')))}")
        return 2
    console = Console(width=200, highlight=False)
    raise_on_signals()
    results = Results(_folder() / "results")
    if settings.get("FRESH"):
        results.forget()
    known = {_name(cell): kept for cell in cells if (kept := results.passed(cell[0].name, cell[1].name))}
    try:
        _run(console, [cell for cell in cells if _name(cell) not in known], results, known)
        code = 0
    except Interrupted as interruption:
        say(console, f"interrupted by {interruption}; what has been run is kept")
        code = 130
    except Claimed as error:
        say(console, str(error))
        code = 3
    console.print(f"\n{HEAD}", markup=False)
    for cell in cells:
        if _name(cell) in known:
            _print(console, known[_name(cell)])
    last_line(verdict(known.values(), len(cells)))
    return code or int(len(known) < len(cells) or not all(result.ok for result in known.values()))


def _run(console: Console, cells: Sequence[Cell], results: Results, known: dict[str, CellResult]) -> None:
    """Every cell on one stage; what is known of them grows."""
    if known:
        say(console, f"{len(known)} cells have passed with this code already")
    if not cells:
        return
    stage = FaultStage(_folder() / "stage", lambda text: say(console, text))
    try:
        stage.start()
        for number, cell in enumerate(cells):
            left = sum(results.seconds(flow.name, victim.name) or _USUAL for flow, victim in cells[number:])
            say(console, f"{_name(cell)}: cell {number + 1} of {len(cells)}, about {left / 60:.0f} min left")
            result = _one(stage, cell)
            results.keep(result)
            known[_name(cell)] = result
            _print(console, result)
            if not result.ok:
                say(console, f"its logs: {stage.keep_logs(_folder() / 'logs' / _name(cell).replace('/', '.'))}")
    finally:
        with not_interrupted():
            stage.stop()


def _one(stage: FaultStage, cell: Cell) -> CellResult:
    """A cell that cannot be brought to its end is a failed one, not the end of the others."""
    flow, victim = cell
    try:
        return run_cell(stage, flow, victim)
    except Exception:
        return CellResult(flow.name, victim.name, (), 0, 0, 0, 0, 0, 0, 0.0, (traceback.format_exc(),), ())


def _print(console: Console, result: CellResult) -> None:
    for line in lines(result):
        console.print(line, markup=False, soft_wrap=True)


def _chosen(only: str) -> list[Cell]:
    wanted = [part for part in only.split(",") if part]
    return [
        (flow, victim)
        for flow in FLOWS
        for victim in VICTIMS
        if not wanted or any(fnmatchcase(_name((flow, victim)), f"*{part}*") for part in wanted)
    ]


def _name(cell: Cell) -> str:
    return f"{cell[0].name}/{cell[1].name}"


def _folder() -> Path:
    return paths.state_folder() / "faults"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
