"""The suites on the real Great Expectations: what holds passes, and each broken promise names its row."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from kafka_migration.findings import Finding, Status, accept, verdict
from kafka_migration.offsets import TopicPartition
from kafka_migration.verification.content_expectations import CONTENT, judge_counts
from kafka_migration.verification.coverage import CoverageRow
from kafka_migration.verification.differences import ContentResult, Kind
from kafka_migration.verification.expectations import judge_coverage
from kafka_migration.verification.suite import data_docs_link

GOOD = CoverageRow(
    topic="orders",
    partition=0,
    group="billing",
    service="billing",
    begin=100,
    cutover=200,
    origin_log_start=0,
    origin_commit=200,
    origin_verdict="drained",
    origin_visible=90,
    origin_left=0,
    seed=10,
    destination_log_start=0,
    destination_commit=40,
    destination_end=50,
    destination_visible=35,
    destination_consumed=28,
    destination_left=7,
)
RULES = (
    "one-row",
    "counted",
    "origin-left",
    "origin-verdict",
    "no-hole",
    "destination-seed",
    "destination-kept",
    "destination-sum",
)


def judge(*rows: CoverageRow) -> list[Finding]:
    return judge_coverage(rows, run_name="manual__2030-01-31T10:00:00+00:00", docs_folder=None)


def stopping(*rows: CoverageRow) -> dict[str, Status]:
    return {f.id: f.status for f in judge(*rows) if f.stops}


def test_rows_that_are_whole_pass_every_expectation() -> None:
    rows = [replace(GOOD, partition=n, topic=t) for n in range(3) for t in ("orders", "shipments")]
    findings = judge(*rows)
    assert {f.id for f in findings} == {f"coverage-{rule}/all" for rule in RULES}
    assert {f.status for f in findings} == {Status.PASS}
    assert {f.seen for f in findings} == {"held for 6 of 6 rows"}


def test_group_ahead_of_its_cutover_point_passes() -> None:
    assert not stopping(replace(GOOD, origin_commit=210, origin_verdict="ahead"))


def test_group_that_never_read_an_empty_partition_passes() -> None:
    empty = replace(
        GOOD,
        begin=0,
        cutover=0,
        origin_commit=None,
        origin_visible=0,
        seed=0,
        destination_commit=0,
        destination_end=0,
        destination_visible=0,
        destination_consumed=0,
        destination_left=0,
    )
    assert not stopping(empty)


def test_no_rows_are_inconclusive_and_never_pass() -> None:
    findings = judge()
    assert [f.status for f in findings] == [Status.INCONCLUSIVE]
    assert verdict(findings) is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    ("rule", "status", "change"),
    [
        pytest.param("origin-left", Status.FAIL, {"origin_left": 3}, id="unread-before-the-cutover-point"),
        pytest.param("origin-verdict", Status.FAIL, {"origin_verdict": "behind"}, id="not-drained"),
        pytest.param("origin-verdict", Status.FAIL, {"origin_verdict": "open transaction"}, id="open-transaction"),
        pytest.param("origin-verdict", Status.FAIL, {"origin_verdict": "some new word"}, id="unknown-verdict"),
        pytest.param("no-hole", Status.INCONCLUSIVE, {"origin_log_start": 101}, id="deleted-since-or-between"),
        pytest.param("destination-seed", Status.FAIL, {"destination_commit": 9}, id="commit-below-the-seed"),
        pytest.param("destination-seed", Status.FAIL, {"destination_commit": None}, id="seed-gone"),
        pytest.param(
            "destination-kept", Status.INCONCLUSIVE, {"destination_log_start": 11}, id="target-deleted-below-the-commit"
        ),
        pytest.param("destination-kept", Status.FAIL, {"destination_log_start": 41}, id="target-deleted-unread"),
        pytest.param("destination-sum", Status.FAIL, {"destination_left": 6}, id="a-message-unaccounted"),
        pytest.param("destination-sum", Status.FAIL, {"destination_left": 8}, id="a-message-too-many"),
    ],
)
def test_a_broken_promise_names_its_row_and_only_that(rule: str, status: Status, change: dict[str, object]) -> None:
    good, bad = GOOD, replace(GOOD, partition=7, group="audit", **change)
    findings = judge(good, bad)
    assert {f.id: f.status for f in findings if f.stops} == {f"coverage-{rule}/orders/7/audit": status}
    assert {f.id for f in findings if not f.stops} == {f"coverage-{r}/all" for r in RULES if r != rule}
    told = next(f for f in findings if f.stops)
    assert told.seen
    assert told.expected
    assert told.advice


def test_messages_deleted_before_they_were_read_are_a_failure() -> None:
    lost = replace(GOOD, origin_log_start=150, origin_commit=120, origin_verdict="expired unread")
    assert stopping(lost) == {
        "coverage-no-hole/orders/0/billing": Status.FAIL,
        "coverage-origin-verdict/orders/0/billing": Status.FAIL,
    }


@pytest.mark.parametrize("count", ["origin_visible", "destination_visible", "destination_consumed"])
def test_a_count_that_is_missing_is_inconclusive_and_named(count: str) -> None:
    findings = judge(GOOD, replace(GOOD, partition=1, **{count: None}))
    told = [f for f in findings if f.stops]
    assert [(f.id, f.status) for f in told] == [("coverage-counted/orders/1/billing", Status.INCONCLUSIVE)]
    assert count in told[0].seen


def test_nothing_is_claimed_of_sums_when_no_row_was_counted() -> None:
    findings = judge(replace(GOOD, origin_visible=None, destination_visible=None, destination_consumed=None))
    assert verdict(findings) is Status.INCONCLUSIVE
    assert "coverage-destination-sum/all" not in {f.id for f in findings}


def test_two_rows_of_one_group_and_partition_are_a_failure() -> None:
    assert stopping(GOOD, replace(GOOD, service="billing-copy")) == {"coverage-one-row/orders/0/billing": Status.FAIL}


def test_offsets_beyond_what_a_float_can_hold_are_compared_exactly() -> None:
    huge = 2**60
    assert not stopping(replace(GOOD, seed=huge, destination_commit=huge, destination_end=huge + 9))
    assert stopping(replace(GOOD, seed=huge + 1, destination_commit=huge, destination_end=huge + 9)) == {
        "coverage-destination-seed/orders/0/billing": Status.FAIL
    }


def test_an_accepted_inconclusive_finding_lets_the_run_go_on() -> None:
    findings = judge(replace(GOOD, origin_log_start=101))
    accepted = accept(findings, {"coverage-no-hole/orders/0/billing": "retention ran after the drain"})
    assert verdict(accepted) is Status.PASS


def test_every_failing_row_of_many_is_named() -> None:
    rows = [replace(GOOD, partition=n, origin_left=n % 2) for n in range(500)]
    named = {f.id for f in judge(*rows) if f.stops}
    assert named == {f"coverage-origin-left/orders/{n}/billing" for n in range(1, 500, 2)}


def compared(number: int, origin: int = 90, destination: int = 90, equal: int = 90, **counts: int) -> ContentResult:
    return ContentResult(
        TopicPartition("orders", number),
        origin_visible=origin,
        destination_visible=destination,
        equal=equal,
        counts=Counter({Kind(kind): count for kind, count in counts.items()}),
    )


def judged(*results: ContentResult, at_least_once: bool = False) -> dict[str, Status]:
    """What is no PASS; every rule is told."""
    findings = judge_counts(results, at_least_once=at_least_once, run_name="run", docs_folder=None)
    assert {f.id.partition("/")[0] for f in findings} == {f"content-{rule.id}" for rule in CONTENT.rules}
    return {f.id: f.status for f in findings if f.status is not Status.PASS}


@pytest.mark.parametrize(
    ("broken", "rules"),
    [
        pytest.param({"destination": 89, "equal": 89, "missing": 1}, {"missing", "surplus"}, id="missing"),
        pytest.param({"destination": 91, "extra": 1}, {"extra", "surplus"}, id="extra"),
        pytest.param({"destination": 92, "repeated": 2}, {"repeated", "surplus"}, id="repeated"),
        pytest.param({"equal": 89, "altered": 1}, {"altered"}, id="altered"),
        pytest.param({"equal": 89, "misplaced": 1}, {"misplaced"}, id="misplaced"),
        pytest.param({"origin": 91, "destination": 91}, {"origin-sum", "destination-sum"}, id="neither"),
    ],
)
def test_copies_whose_counts_differ_name_their_partition_and_only_that(broken: dict[str, int], rules: set[str]) -> None:
    assert judged(compared(0), compared(1)) == {}
    assert judged(compared(0), compared(7, **broken)) == {f"content-{rule}/orders/7": Status.FAIL for rule in rules}


def test_repeats_alone_are_a_warning_where_the_plan_lets_messages_be_copied_again() -> None:
    twice = compared(7, destination=92, repeated=2)
    warned = {"content-repeated/orders/7": Status.WARN, "content-surplus/orders/7": Status.WARN}
    assert judged(twice, at_least_once=True) == warned
    lost_as_well = compared(7, destination=91, equal=89, repeated=2, missing=1)
    assert judged(lost_as_well, at_least_once=True)["content-surplus/orders/7"] is Status.FAIL


def test_nothing_is_claimed_of_a_partition_that_could_not_be_read_whole() -> None:
    def whole(*results: ContentResult) -> dict[str, str]:
        found = judge_counts(results, at_least_once=False, run_name="run", docs_folder=None)
        return {f.id: f.seen for f in found if f.status is Status.PASS}

    unread = [replace(compared(7, destination=40, equal=40), destination_complete=False), compared(8, 0, 0, 0)]
    unread[1].deleted = "offsets 0 to 10 of [0, 90) on the origin"
    told = whole(compared(0), *unread)
    assert told.pop("content-one-row/all") == "held for 3 of 3 rows"
    assert set(told.values()) == {"held for 1 of 3 rows"}
    assert set(whole(*unread)) == {"content-one-row/all"}
    certain = replace(compared(7, destination=40, equal=40, altered=1), destination_complete=False)
    assert judged(compared(0), certain) == {"content-altered/orders/7": Status.FAIL}


def test_of_a_compacted_topic_former_messages_of_a_key_are_not_counted_against_it() -> None:
    assert judged(compared(0), replace(compared(7, 80, 30, 20), by_key=True)) == {}


def test_data_docs_of_an_earlier_run_stay(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    assert data_docs_link(docs) is None
    links = []
    for run in ("manual__2030-01-31T10:00:00+00:00", "manual__2030-01-31T11:00:00+00:00"):
        judge_coverage([GOOD], run_name=run, docs_folder=docs)
        links.append(data_docs_link(docs))
    index = (docs / "index.html").read_text()
    assert len(set(links)) == 2
    for link in links:
        assert link is not None
        assert link in index
        assert (
            "no visible message is left unread before the cutover point of the cluster that is left"
            in (docs / unquote(link)).read_text()
        )


def test_judging_is_silent_and_calls_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the suite opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    caplog.set_level(logging.INFO)
    assert not [f for f in judge_coverage([GOOD], run_name="run", docs_folder=tmp_path) if f.stops]
    assert not [record for record in caplog.records if record.name.startswith("great_expectations")]
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_the_module_costs_nothing_until_rows_are_judged() -> None:
    heavy = "great_expectations", "pandas"
    code = (
        "import sys, kafka_migration.verification.expectations as e;"
        f" e.judge_coverage([], run_name='r', docs_folder=None); print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
