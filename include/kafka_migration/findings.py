"""What a check found, as data. Printing, Great Expectations, the page and the evidence all render these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from kafka_migration.errors import FindingsFailed


class Status(StrEnum):
    """PASS and WARN let a run go on. FAIL stops it. INCONCLUSIVE stops it unless somebody accepts it by name."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


_SEVERITY = {Status.PASS: 0, Status.WARN: 1, Status.INCONCLUSIVE: 2, Status.FAIL: 3}


@dataclass(frozen=True)
class Finding:
    """One result of one check.

    `id` is `<check>/<subject>`, for example `topic-partitions/orders`: the name by which a plan accepts it.
    `accepted` is the reason somebody gave for going on in spite of an INCONCLUSIVE finding.
    """

    id: str
    status: Status
    seen: str
    expected: str = ""
    advice: str = ""
    accepted: str = ""

    def to_json(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Finding:
        return cls(**{**data, "status": Status(data["status"])})  # type: ignore[arg-type]

    @property
    def stops(self) -> bool:
        return self.status is Status.FAIL or (self.status is Status.INCONCLUSIVE and not self.accepted)


def accept(findings: Iterable[Finding], reasons: Mapping[str, str]) -> list[Finding]:
    """The same findings, each INCONCLUSIVE one that `reasons` (finding id to reason) names marked as accepted."""
    return [
        Finding(f.id, f.status, f.seen, f.expected, f.advice, reasons[f.id])
        if f.status is Status.INCONCLUSIVE and f.id in reasons
        else f
        for f in findings
    ]


def verdict(findings: Iterable[Finding]) -> Status:
    """FAIL if any finding failed, INCONCLUSIVE if any is unresolved and not accepted, else PASS."""
    stopping = [f.status for f in findings if f.stops]
    return max(stopping, key=_SEVERITY.__getitem__, default=Status.PASS)


def stop_on(findings: Sequence[Finding], doing: str) -> None:
    """Raise `FindingsFailed` when a finding stops the run; `doing` names the step for the message."""
    stopping = [f for f in findings if f.stops]
    if not stopping:
        return
    lines = [f"{doing}: {len(stopping)} finding(s) stop the run; nothing was changed by this step."]
    for f in stopping:
        lines.append(f"  {f.status} {f.id}: {f.seen}" + (f" (expected {f.expected})" if f.expected else ""))
        if f.advice:
            lines.append(f"      {f.advice}")
    if any(f.status is Status.INCONCLUSIVE for f in stopping):
        lines.append("  An INCONCLUSIVE finding can be accepted in the plan: accept: [{finding: <id>, reason: <why>}].")
    raise FindingsFailed("\n".join(lines), stopping)
