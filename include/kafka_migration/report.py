"""What a step did and saw, as data: tables, changes, findings, notes. It is logged and kept as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from kafka_migration.findings import Finding


@dataclass(frozen=True)
class Table:
    """Rows under named columns; cells are text or numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def lines(self) -> list[str]:
        """The table as aligned text: numbers to the right with thousands marked, everything else to the left.

        A cell of several lines takes several lines of the table.
        """
        shown = [printed for row in self.rows for printed in _lines_of(row)]
        widths = [max([len(c), *(len(row[i]) for row in shown)]) for i, c in enumerate(self.columns)]
        right = [
            bool(self.rows) and all(isinstance(row[i], int | float) or row[i] is None for row in self.rows)
            for i in range(len(self.columns))
        ]

        def line(cells: Sequence[str]) -> str:
            return "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(cells, widths, right, strict=True)
            ).rstrip()

        return [
            self.title,
            line(self.columns),
            line(["-" * w for w in widths]),
            *(line(row) for row in shown),
        ]


@dataclass(frozen=True)
class Change:
    """One thing that was changed, or in a dry run would be: from which value to which."""

    what: str
    before: str
    after: str
    done: bool = True


@dataclass
class StepReport:
    """The audit record of one step.

    `summary` is one line for a person; `data` is for machines (JSON) and ends up in the evidence as it is.
    """

    summary: str = ""
    tables: list[Table] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "summary": self.summary,
            "tables": [asdict(table) for table in self.tables],
            "changes": [asdict(change) for change in self.changes],
            "findings": [finding.to_json() for finding in self.findings],
            "notes": self.notes,
            "data": self.data,
        }

    def lines(self) -> list[str]:
        """The whole report as the lines of an audit log."""
        out: list[str] = []
        for table in self.tables:
            out += ["", *table.lines()]
        if self.changes:
            out.append("")
            out += [
                f"{'changed' if c.done else 'would change'} {c.what}: {c.before} -> {c.after}" for c in self.changes
            ]
        if self.findings:
            out += ["", *findings_table(self.findings).lines()]
            for f in self.findings:
                if f.stops and f.advice:
                    out.append(f"{f.id}: {f.advice}")
        out += self.notes
        if self.summary:
            out += ["", self.summary]
        return out


def findings_table(findings: Sequence[Finding]) -> Table:
    """The findings as one table, those that stop first."""
    ordered = sorted(findings, key=lambda f: (not f.stops, f.status.value == "PASS", f.id))
    rows = tuple(
        (f.status.value, f.id, f.seen, f.expected, f"accepted: {f.accepted}" if f.accepted else "") for f in ordered
    )
    return Table("Findings", ("status", "finding", "seen", "expected", "note"), rows)


def _lines_of(row: Sequence[Any]) -> Iterator[tuple[str, ...]]:
    return zip_longest(*(_cell(cell).splitlines() or [""] for cell in row), fillvalue="")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value)
