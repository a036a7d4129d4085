"""FAIL stops; INCONCLUSIVE stops unless somebody accepted it by name, and is never shown as PASS."""

from __future__ import annotations

import pytest

from kafka_migration.errors import FindingsFailed
from kafka_migration.findings import Finding, Status, accept, stop_on, verdict

PASS = Finding("a/x", Status.PASS, "fine")
WARN = Finding("b/x", Status.WARN, "hm")
FAIL = Finding("c/x", Status.FAIL, "bad", "good", "mend it")
UNSURE = Finding("d/x", Status.INCONCLUSIVE, "not seen")


@pytest.mark.parametrize(
    ("findings", "wanted"),
    [
        ([], Status.PASS),
        ([PASS, WARN], Status.PASS),
        ([PASS, UNSURE], Status.INCONCLUSIVE),
        ([UNSURE, FAIL, PASS], Status.FAIL),
        (accept([UNSURE], {"d/x": "known"}), Status.PASS),
        (accept([UNSURE, FAIL], {"d/x": "known"}), Status.FAIL),
    ],
)
def test_verdict_is_the_worst_that_nobody_accepted(findings: list[Finding], wanted: Status) -> None:
    assert verdict(findings) is wanted


def test_failure_cannot_be_accepted() -> None:
    [found] = accept([FAIL], {"c/x": "we want it anyway"})
    assert found.stops
    assert found.accepted == ""


def test_acceptance_is_for_the_named_finding_only() -> None:
    other = Finding("d/y", Status.INCONCLUSIVE, "not seen")
    one, two = accept([UNSURE, other], {"d/x": "known"})
    assert (one.stops, one.accepted, one.status) == (False, "known", Status.INCONCLUSIVE)
    assert two.stops


def test_nothing_that_stops_means_nothing_happens() -> None:
    stop_on([PASS, WARN, *accept([UNSURE], {"d/x": "known"})], "checking")


def test_stop_names_each_finding_what_was_expected_and_what_to_do() -> None:
    with pytest.raises(FindingsFailed) as told:
        stop_on([PASS, FAIL, UNSURE], "creating topics")
    text = str(told.value)
    assert text.startswith("creating topics: 2 finding(s) stop the run")
    assert "FAIL c/x: bad (expected good)" in text
    assert "mend it" in text
    assert "accept: [{finding: <id>, reason: <why>}]" in text
    assert "a/x" not in text
    assert told.value.findings == (FAIL, UNSURE)


def test_acceptance_is_not_offered_for_failures() -> None:
    with pytest.raises(FindingsFailed) as told:
        stop_on([FAIL], "checking")
    assert "accept" not in str(told.value)


@pytest.mark.parametrize("finding", [PASS, FAIL, *accept([UNSURE], {"d/x": "known"})])
def test_finding_survives_json(finding: Finding) -> None:
    assert Finding.from_json(finding.to_json()) == finding
