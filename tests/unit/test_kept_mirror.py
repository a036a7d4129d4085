"""What is pure in keeping a mirror: when a watch ends, how failures are told, and what is no secret."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.evidence_samples import RUN_ID, facts, write_run

from kafka_migration.clusters.client import Cluster, Clusters
from kafka_migration.evidence.bundle import EVIDENCE_HTML, Bundle
from kafka_migration.evidence.publish import publish
from kafka_migration.plan.model import Plan
from kafka_migration.purposes import MIRROR
from kafka_migration.records import MemoryRecords
from kafka_migration.report import StepReport
from kafka_migration.run import Run
from kafka_migration.sides import Side
from kafka_migration.steps import closing, keeping, watched, watching
from kafka_migration.steps.common import check_window

_TRACE = """\
org.apache.kafka.connect.errors.ConnectException: Unrecoverable exception from producer send callback
\tat org.apache.kafka.connect.runtime.AbstractWorkerSourceTask.maybeThrowProducerSendException(X.java:341)
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: org.apache.kafka.common.errors.RecordTooLargeException: The message is 5088 bytes
\t... 12 more
"""


def plan_of(**keys: object) -> Plan:
    return Plan.model_validate(
        {
            "plan": "shop",
            "scheme": "mirror",
            "source": {"connection": "a"},
            "target": {"connection": "b"},
            "topics": {"include": ["orders"]},
            "services": [{"name": "one", "produces": ["orders"], "controller": {"kind": "idle"}}],
            "mirror": {"connection": "connect", "schedule": "*/5 * * * *"},
            **keys,
        }
    )


def run_at(now: float, **keys: object) -> Run:
    log = logging.getLogger("tests.kept")
    clusters = Clusters(*(Cluster(side, side.value, {"bootstrap.servers": "nowhere:1"}, log) for side in Side))
    return Run(plan_of(**keys), MIRROR, "r", clusters, {}, MemoryRecords(), now=lambda: now)


@pytest.mark.parametrize(
    ("minute", "second", "until"),
    [(0, 5, "00:07:00"), (3, 0, "00:07:00"), (4, 40, "00:12:00"), (4, 59, "00:12:00")],
)
def test_watch_ends_where_the_next_run_is_late_and_is_never_over_at_once(minute: int, second: int, until: str) -> None:
    now = datetime(2030, 1, 1, 0, minute, second, tzinfo=UTC).timestamp()
    run = run_at(now)
    ends = watching._ends(run)
    assert datetime.fromtimestamp(ends, UTC).strftime("%H:%M:%S") == until
    assert ends < now + watching.watch.timeout(run), "its time is not out before"


def test_pauses_between_restarts_grow_and_have_an_end() -> None:
    assert [watched._pause(n) for n in (1, 2, 3, 4, 5, 9)] == [5, 10, 20, 40, 60, 60]


def test_reason_of_a_failed_task_is_told_without_the_places_in_the_code() -> None:
    told = keeping.reason(_TRACE)
    assert "Unrecoverable exception from producer send callback" in told
    assert "RecordTooLargeException: The message is 5088 bytes" in told
    assert ".java" not in told


def test_drift_shows_values_of_the_plan_and_no_secret() -> None:
    applied = {"tasks.max": "2", "source.cluster.ssl.keystore.password": "${file:/x:y}", "topics": "a"}
    found = {"tasks.max": "9", "source.cluster.ssl.keystore.password": "hunter2", "my.own": "hunter3"}
    known = keeping._digests(applied)
    told = {f.id: f for f in keeping._drift(known, found, applied)}
    assert set(told) == {f"mirror-drift/{key}" for key in {*applied, *found}}
    assert told["mirror-drift/tasks.max"].seen.startswith("was 9 in Kafka Connect")
    assert told["mirror-drift/topics"].seen.startswith("was not set")
    assert not any("hunter" in str(f.to_json()) for f in told.values())
    assert not any(value in str(known) for value in applied.values() if len(value) > 1)
    assert keeping._drift(known, applied, applied) == []
    assert keeping._drift({}, found, applied) == [], "what it was before this product made it is nobody's doing"


def test_change_window_does_not_bind_a_mirror_and_nothing_is_finished_by_it() -> None:
    run = run_at(0.0, window={"not_before": "2031-01-01T00:00:00Z"})
    check_window(run, "starting the mirror")
    closing.finish(run)
    assert run.current.finished is None


def test_what_a_run_has_failed_of_is_the_plans_state_until_the_next(tmp_path: Path) -> None:
    run = run_at(5.0)
    run.records.set(watching.STATE, {"at": 1.0, "state": "RUNNING", "behind": 7, "latency": 0.2, "tasks": 2})
    watching.last_word(run, ["watch: the source cluster has not answered"], whole=False)
    assert run.records.get(watching.STATE) == {
        "at": 5.0,
        "state": "not watched",
        "behind": 7,
        "latency": 0.2,
        "tasks": 2,
        "problems": ["watch: the source cluster has not answered"],
    }


def test_lines_are_told_now_and_then_and_news_at_once() -> None:
    told = watched._line(None, ["1"], False, 0.0)
    for now in (3.0, 29.0):
        assert watched._line(told, ["2"], False, now) == [0.0, ["1"], False]
    assert watched._line(told, ["2"], False, 30.0) == [30.0, ["2"], False]
    assert watched._line(told, ["gone"], True, 3.0) == [3.0, ["gone"], True]


@pytest.mark.parametrize("latency", [0.25, None])
def test_evidence_of_a_kept_mirror_tells_how_it_was(tmp_path: Path, latency: float | None) -> None:
    told = {"behind": 3, "worst": 1200, "latency": latency, "slowest": latency, "tasks": 2, "restarted": 1}
    reports = {"watch": StepReport("watched", data={"watched": {**told, "noted_at": 5.0}})}
    bundle = write_run(Bundle(tmp_path, "orders", MIRROR, RUN_ID), reports)
    evidence = publish(bundle, facts(steps=dict.fromkeys(reports, "success"), points={}, approvals=()))
    assert evidence.summary["behind"] == "3 offsets, at most 1,200 offsets"
    assert evidence.summary["latency"] == ("not measured" if latency is None else "0.2 s, at most 0.2 s")
    assert evidence.summary["tasks restarted"] == "1"
    assert not any("drain" in label or "moved" in label or "pause" in label for label in evidence.summary)
    page = (bundle.folder / EVIDENCE_HTML).read_text()
    assert "The mirror was kept and watched" in page
    assert "longest drain" not in page


def test_evidence_of_a_mirror_that_was_left_alone_says_so(tmp_path: Path) -> None:
    reports = {"watch": StepReport("stands back: a run is active")}
    bundle = write_run(Bundle(tmp_path, "orders", MIRROR, RUN_ID), reports)
    evidence = publish(bundle, facts(steps=dict.fromkeys(reports, "success"), points={}, approvals=()))
    assert evidence.summary["behind"] == "not watched"
    assert "The mirror was left alone" in (bundle.folder / EVIDENCE_HTML).read_text()
