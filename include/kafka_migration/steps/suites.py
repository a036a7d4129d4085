"""Step of a verification: messages of the target, judged by the suites that the plan's own people wrote. It only reads.

What migrates is bytes; whether they mean what a topic's readers expect, only its owners can say.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from kafka_migration.findings import Finding, Status, accept
from kafka_migration.plan.model import TopicSuite
from kafka_migration.report import StepReport, Table
from kafka_migration.run import Run
from kafka_migration.steps.common import stop_with
from kafka_migration.steps.suite_files import read_suites
from kafka_migration.steps.verifying import nothing_yet
from kafka_migration.topics.describe import Topic, describe_topics
from kafka_migration.verification.judged_messages import judge_messages
from kafka_migration.verification.newest import Sample, newest
from kafka_migration.verification.suite import data_docs_link
from kafka_migration.verification.user_suite import UserSuite


def judge(run: Run) -> StepReport:
    """Sample each topic that has a suite, and judge the sample. Raises `FindingsFailed`."""
    why = nothing_yet(run)
    if why is not None:
        return StepReport(f"nothing to verify yet: {why}")
    topics = describe_topics(run.clusters.target, {entry.topic for entry in run.plan.suites})
    report = StepReport(data={"suites": []})
    for entry, suite in read_suites(run):
        if isinstance(suite, Finding):
            report.findings.append(suite)
        else:
            _sampled(run, entry, suite, topics.get(entry.topic), report)
    report.findings = accept(report.findings, run.plan.acceptances)
    told: list[dict[str, Any]] = report.data["suites"]
    report.tables.append(_table(told))
    report.summary = f"{sum(t['messages'] for t in told):,} messages of {len(told)} topics are as their suites say"
    stop_with(report, "judging messages of the target by the plan's suites")
    return report


def _sampled(run: Run, entry: TopicSuite, suite: UserSuite, topic: Topic | None, report: StepReport) -> None:
    """Judge one topic, and add to the report what was found."""
    sample = newest(run.clusters.target, topic.numbered(), entry.messages) if topic else Sample((), cut=False)
    told = {"topic": entry.topic, "suite": entry.suite, "sha256": suite.digest, "messages": len(sample.messages)}
    report.data["suites"].append({**told, "expectations": len(suite.expectations)})
    report.notes.append(f"the suite of {entry.topic}: {run.leave(f'suite-{entry.topic}.json', suite.text)}")
    if not sample.messages:
        report.findings.append(_nothing(entry, topic))
        return
    if sample.cut:
        few = f"{len(sample.messages):,} instead of {entry.messages:,}"
        report.notes.append(f"{entry.topic}: {few} messages are sampled, because they are large")
    docs = run.documents / "suites" / entry.topic if run.documents else None
    report.findings += judge_messages(suite, entry.topic, sample.messages, run_name=run.run_id, docs_folder=docs)
    if docs is not None and (link := data_docs_link(docs)):
        report.notes.append(f"Data Docs of {entry.topic}: {docs / unquote(link)}")


def _nothing(entry: TopicSuite, topic: Topic | None) -> Finding:
    return Finding(
        f"suite/{entry.topic}/sample",
        Status.INCONCLUSIVE,
        "no message is visible on the target" if topic else "the topic is not on the target",
        "messages that its suite can judge",
        "trigger a verification when something was written there",
    )


def _table(told: list[dict[str, Any]]) -> Table:
    return Table(
        "Messages judged by the plan's suites",
        ("topic", "suite", "messages sampled", "expectations"),
        tuple((t["topic"], t["suite"], t["messages"], t["expectations"]) for t in told),
    )
