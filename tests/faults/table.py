"""The table that people read: a row for each hit, grouped by cell. Tells what it is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.faults.cell import CellResult

HEAD = f"{'flow / victim':<34} {'hit at':<38} {'outcome':<9} {'lost':>5} {'repeated':>8} {'seconds':>8}"


def lines(result: CellResult) -> Iterator[str]:
    """A cell's rows, then what else is to be said of it."""
    name = f"{result.flow}/{result.victim}"
    for row in result.rows:
        outcome = "ok" if row.ok and not result.problems else "FAILED"
        seconds = "-" if row.seconds is None else f"{row.seconds:.1f}"
        yield f"{name:<34} {row.step:<38} {outcome:<9} {result.lost:>5} {result.repeated:>8} {seconds:>8}"
        if not row.ok:
            yield f"    {row.outcome}"
    yield from (f"    FAILED: {problem}" for problem in result.problems)
    yield from (f"    {note}" for note in result.notes)
    order = f", {result.out_of_order} out of order" if result.out_of_order else ""
    yield (
        f"    {result.produced:,} produced{order}; {result.retries} retries, cleared {result.clears} times;"
        f" {result.seconds:.0f} s in all"
    )


def verdict(results: Iterable[CellResult], expected: int) -> str:
    """The last line."""
    known = list(results)
    hits = sum(len(result.rows) for result in known)
    failed = [f"{result.flow}/{result.victim}" for result in known if not result.ok]
    told = f"faults {'FAIL' if failed else 'PASS' if len(known) == expected else 'INCOMPLETE'}"
    counts = f"cells={len(known)}/{expected} hits={hits} lost={sum(result.lost for result in known)}"
    return f"{told} {counts}" + (f" failed={','.join(failed)}" if failed else "")
