"""Every error that a step can end with. One tree; each message says what happened, to what, and what to do next.

MigrationError
├── PlanError                 the plan file does not load, or contradicts itself
├── ClusterError              a cluster did not do what was asked
│   ├── ClusterUnreachable    no broker answered: the cause that librdkafka gave is in the message
│   └── OffsetsRefused        a group's offsets could not be set: it is active, or a partition is unknown
├── ServiceError              a service could not be observed or changed
│   ├── ControllerUnavailable its controller does not answer
│   ├── SettingMissing        its configuration has no such variable
│   └── ServiceNotBack        it did not come back after its restart
├── MirrorError               a mirror, or what runs it, did not do what was asked
│   └── MirrorUnreachable     what runs it does not answer
├── Refused                   a check said no before anything was changed
│   ├── FindingsFailed        findings that stop: FAIL, or INCONCLUSIVE that nobody accepted
│   ├── PlanChanged           the plan is not the one that the run started with
│   ├── Locked                another active run touches the same topics or services
│   └── OutsideWindow         an irreversible step outside the plan's change window
├── StragglerFound            visible messages past the cutover point that some group will miss
├── WaitTimedOut              what was waited for did not come in time
└── EvidenceError             the evidence could not be written or read, or would have held a secret
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka_migration.findings import Finding
    from kafka_migration.report import StepReport


class MigrationError(Exception):
    """What every error here is; catching it catches nothing else.

    `report` is what the step had seen and done until then, for the evidence; None where there is nothing to tell.
    """

    report: StepReport | None = None


class PlanError(MigrationError):
    """The plan file does not load or contradicts itself.

    `problems` holds one line each: the key, what was found and what is allowed.
    """

    def __init__(self, file: str, problems: Sequence[str]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__(f"{file} is not a valid plan:\n" + "\n".join(f"  - {problem}" for problem in problems))


class ClusterError(MigrationError):
    """A cluster refused or failed a request."""


class ClusterUnreachable(ClusterError):
    """No broker of the cluster answered in time."""


class OffsetsRefused(ClusterError):
    """A group's offsets could not be set."""


class MirrorError(MigrationError):
    """A mirror, or what runs it, refused or failed a request."""


class MirrorUnreachable(MirrorError):
    """What runs the mirror did not answer in time."""


class ServiceError(MigrationError):
    """A service could not be observed or changed."""


class ControllerUnavailable(ServiceError):
    """The controller of a service does not answer."""


class SettingMissing(ServiceError):
    """The configuration of a service does not hold the variable that should be changed."""


class ServiceNotBack(ServiceError):
    """A service did not come back after it was restarted."""


class Refused(MigrationError):
    """A check said no before anything was changed."""


class FindingsFailed(Refused):
    """Findings that stop the run; `findings` holds them."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__(message)


class PlanChanged(Refused):
    """The plan on disk is not the one that this run started with."""


class Locked(Refused):
    """Another active run touches the same topics or services."""


class OutsideWindow(Refused):
    """An irreversible step was reached outside the plan's change window."""


class StragglerFound(MigrationError):
    """Visible messages lie past the cutover point and at least one group will not read them."""


class WaitTimedOut(MigrationError):
    """What was waited for did not come in time; the message says what holds and what does not."""


class EvidenceError(MigrationError):
    """The evidence of a run could not be written or read, or would have held a secret."""
