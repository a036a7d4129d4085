"""The suites that a plan names, read from their files. It judges no message and reaches no cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kafka_migration.findings import Finding, Status
from kafka_migration.plan.model import TopicSuite
from kafka_migration.run import Run
from kafka_migration.verification.context import quiet
from kafka_migration.verification.user_suite import UserSuite, read_suite


def suite_files(run: Run) -> list[Finding]:
    """For each suite of the plan whether it can be judged by; a suite that cannot is a FAIL that says why."""
    return [
        found
        if isinstance(found, Finding)
        else Finding(f"suite-file/{entry.topic}", Status.PASS, f"{entry.suite}: {len(found.expectations)} expectations")
        for entry, found in read_suites(run)
    ]


def read_suites(run: Run) -> Iterator[tuple[TopicSuite, UserSuite | Finding]]:
    """Each suite of the plan, or the finding that it cannot be read."""
    for entry in run.plan.suites:
        file = run.suites / entry.suite
        try:
            with quiet():
                suite = read_suite(file)
        except ValueError as error:
            yield entry, _no_suite(entry, file, str(error))
        else:
            yield entry, suite


def _no_suite(entry: TopicSuite, file: Path, why: str) -> Finding:
    return Finding(
        f"suite-file/{entry.topic}",
        Status.FAIL,
        f"verify: suites: {entry.topic}: suite: {file}: {why}",
        "a suite of Great Expectations, as json.dumps(suite.to_json_dict()) writes it",
        "correct the file, or its name in the plan; then clear this task, or trigger a new run where the plan changed",
    )
