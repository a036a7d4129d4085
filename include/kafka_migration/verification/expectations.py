"""Coverage judged by a Great Expectations suite over one row per topic, partition and group.

It counts nothing and reaches no cluster: the rows are given. Great Expectations is imported only when rows are judged
(about five seconds and 230 MB), sends nothing anywhere, and leaves its Data Docs in a folder when it is given one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kafka_migration.findings import Finding, Status
from kafka_migration.groups.drain import Drain
from kafka_migration.verification.coverage import CoverageRow

_COUNTS = ("origin_visible", "destination_visible", "destination_consumed")
_READ = (Drain.DRAINED.value, Drain.AHEAD.value)
_NO_COMMIT = -1  # stands for a commit that is not there: below every offset, so that it fails where one is needed


def judge_coverage(rows: Sequence[CoverageRow], *, run_name: str, docs_folder: Path | None) -> list[Finding]:
    """One finding for each expectation that held, and one for each row on which one did not.

    No rows prove nothing: INCONCLUSIVE. The Data Docs of earlier runs in `docs_folder` stay beside this one's.
    """
    if not rows:
        return [
            Finding(
                "coverage-rows/all",
                Status.INCONCLUSIVE,
                "there is no topic, partition and group to prove anything of",
                "at least one row",
                "Name the consumer groups of the services in the plan: only their reading can prove it.",
            )
        ]
    with _quiet():
        outcomes = _validate(rows, run_name, docs_folder)
    return [finding for rule in _RULES for finding in _findings(rule, outcomes.get(rule.id), rows)]


def data_docs_link(docs_folder: Path) -> str | None:
    """The newest run's page, relative to `docs_folder` and quoted as a link.

    `index.html` is no use without the network: a script from elsewhere fills its table.
    """
    pages = (docs_folder / "validations").rglob("*.html")
    newest = max(pages, key=lambda page: page.parent.name, default=None)  # a folder is named by the time of its run
    return quote(newest.relative_to(docs_folder).as_posix()) if newest else None


@dataclass(frozen=True)
class _Rule:
    """One expectation: its class in Great Expectations with arguments, and how a failing row is told."""

    id: str
    promise: str
    expectation: str
    arguments: Mapping[str, Any]
    seen: Callable[[CoverageRow], str]
    advice: str
    status: Callable[[CoverageRow], Status] = lambda row: Status.FAIL


def _hole(row: CoverageRow) -> Status:
    """Deleted before it was read is a loss. Deleted since, or in between unseen, can no longer be told apart."""
    return Status.INCONCLUSIVE if row.origin_verdict in _READ else Status.FAIL


def _deleted(row: CoverageRow) -> Status:
    """The same at the destination: what lies below the log start and above the commit is gone unread for certain."""
    read = row.destination_commit is not None and row.destination_commit >= row.destination_log_start
    return Status.INCONCLUSIVE if read else Status.FAIL


_RULES = (
    _Rule(
        "one-row",
        "one row for each topic, partition and group",
        "ExpectCompoundColumnsToBeUnique",
        {"column_list": ["topic", "partition", "group"]},
        lambda r: "more than one row",
        "Two services of the plan seem to share the group: the rows hide one another.",
    ),
    _Rule(
        "counted",
        "every visible message was counted, on both clusters",
        "ExpectColumnValuesToBeInSet",
        {"column": "uncounted", "value_set": [""]},
        lambda r: f"{_uncounted(r)} could not be counted",
        "An open transaction ends the reading before the range does. Clear this task when it has ended.",
        lambda row: Status.INCONCLUSIVE,
    ),
    _Rule(
        "origin-left",
        "no visible message is left unread before the cutover point of the cluster that is left",
        "ExpectColumnValuesToBeBetween",
        {"column": "origin_left", "min_value": 0, "max_value": 0},
        lambda r: (
            f"{r.origin_left:,} visible messages before the cutover point {r.cutover:,} were not read;"
            f" the group's commit is {_offset(r.origin_commit)}"
        ),
        "They are still there. Start a consumer of this group there until it has read them.",
    ),
    _Rule(
        "origin-verdict",
        "the group has drained the cluster that it leaves, or is ahead of the cutover point",
        "ExpectColumnValuesToBeInSet",
        {"column": "origin_verdict", "value_set": list(_READ)},
        lambda r: f"{r.origin_verdict}, with commit {_offset(r.origin_commit)} of cutover point {r.cutover:,}",
        "Clear the drain of this service: it tells what holds the group up.",
    ),
    _Rule(
        "no-hole",
        "the cluster that is left keeps everything from where the group began to read",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "begin", "column_B": "origin_log_start", "or_equal": True},
        lambda r: (
            f"offsets {r.begin:,} to {r.origin_log_start:,} have been deleted from it;"
            f" the group's commit is {_offset(r.origin_commit)}"
        ),
        "Whether the group had read them before they were deleted can no longer be counted. Its drain watched for"
        " that: see its log, and accept the finding if it had read past them in time.",
        _hole,
    ),
    _Rule(
        "destination-seed",
        "the group reads the cluster that it goes to from its seed on",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "destination_commit", "column_B": "seed", "or_equal": True},
        lambda r: f"the group's commit there is {_offset(r.destination_commit)}, its seed was {r.seed:,}",
        "Stop the service, set the group to its seed again, start it: from the seed on nothing is missed.",
    ),
    _Rule(
        "destination-kept",
        "the cluster that it goes to keeps everything from the seed on",
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": "seed", "column_B": "destination_log_start", "or_equal": True},
        lambda r: (
            f"offsets {r.seed:,} to {r.destination_log_start:,} have been deleted from it;"
            f" the group's commit there is {_offset(r.destination_commit)}"
        ),
        "Whether the group had read them before they were deleted can no longer be counted. Raise retention.ms"
        " there, and compare with the application's own records.",
        _deleted,
    ),
    _Rule(
        "destination-sum",
        "what the group has read and has still to read where it goes is all that is visible there since its seed",
        "ExpectColumnValuesToBeBetween",
        {"column": "unaccounted", "min_value": 0, "max_value": 0},
        lambda r: (
            f"{_shown(r.destination_consumed)} read and {r.destination_left:,} to read"
            f" are not {_shown(r.destination_visible)}"
        ),
        "The counts contradict each other: clear this task to count again, and do not go on if it stays so.",
    ),
)


@dataclass(frozen=True)
class _Outcome:
    """What the suite said of one expectation: `judged` rows, of them `failing` by their number. `error`: it broke."""

    held: bool
    judged: int
    failing: tuple[int, ...]
    error: str


def _validate(rows: Sequence[CoverageRow], run_name: str, docs_folder: Path | None) -> dict[str, _Outcome]:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults()
    if docs_folder is not None:
        # Results kept on disk: a site built from results in memory deletes the pages of every earlier run.
        stores.stores[stores.validation_results_store_name]["store_backend"] = _on_disk(docs_folder / "results")
        stores.data_docs_sites = {
            "coverage": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": _on_disk(docs_folder),
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        }
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=stores,
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    suite = gx.ExpectationSuite(
        name="coverage",
        expectations=[
            getattr(gx.expectations, rule.expectation)(
                **rule.arguments, description=rule.promise, meta={"rule": rule.id}
            )
            for rule in _RULES
        ],
    )
    asset = context.data_sources.add_pandas("coverage").add_dataframe_asset("rows")
    validation = gx.ValidationDefinition(
        name="coverage",
        data=asset.add_batch_definition_whole_dataframe("all"),
        suite=context.suites.add(suite),
    )
    checkpoint = gx.Checkpoint(
        name="coverage",
        validation_definitions=[context.validation_definitions.add(validation)],
        actions=[UpdateDataDocsAction(name="data docs")] if docs_folder is not None else [],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["topic", "partition", "group", "row"],
        },
    )
    result = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": pd.DataFrame(_frame(rows)).convert_dtypes()},
        run_id=RunIdentifier(run_name=run_name),
    )
    return {
        entry.expectation_config.meta["rule"]: _outcome(entry)
        for validated in result.run_results.values()
        for entry in validated.results
        if entry.expectation_config is not None and entry.expectation_config.meta is not None
    }


def _outcome(entry: Any) -> _Outcome:
    result, raised = entry.result or {}, entry.exception_info or {}
    return _Outcome(
        held=bool(entry.success),
        judged=int(result.get("element_count") or 0) - int(result.get("missing_count") or 0),
        failing=tuple(int(index["row"]) for index in result.get("unexpected_index_list") or ()),
        error=str(raised.get("exception_message") or "") if raised.get("raised_exception", bool(raised)) else "",
    )


def _frame(rows: Sequence[CoverageRow]) -> list[dict[str, Any]]:
    """The rows with their number, and with what the suite compares computed beforehand."""
    return [
        {
            **asdict(r),
            "destination_commit": _NO_COMMIT if r.destination_commit is None else r.destination_commit,
            "uncounted": _uncounted(r),
            "unaccounted": None
            if r.destination_visible is None or r.destination_consumed is None
            else r.destination_visible - r.destination_consumed - r.destination_left,
            "row": number,
        }
        for number, r in enumerate(rows)
    ]


def _findings(rule: _Rule, outcome: _Outcome | None, rows: Sequence[CoverageRow]) -> list[Finding]:
    everything = f"coverage-{rule.id}/all"
    if outcome is None or outcome.error or outcome.held is bool(outcome.failing):
        # It fails closed: an expectation that broke, or says no without naming a row, has proven nothing.
        said = "it was not evaluated" if outcome is None else outcome.error or "it failed and named no row"
        return [
            Finding(
                everything,
                Status.INCONCLUSIVE,
                f"the expectation could not be judged: {said}",
                rule.promise,
                "This is a fault of the suite, not of the clusters: see the task's log, and clear the task.",
            )
        ]
    if outcome.held:
        # With every count missing nothing was judged: `counted` says so, and this one claims nothing.
        seen = f"held for {outcome.judged:,} of {len(rows):,} rows"
        return [Finding(everything, Status.PASS, seen, rule.promise)] if outcome.judged else []
    failing = {f"{r.topic}/{r.partition}/{r.group}": r for r in (rows[number] for number in outcome.failing)}
    return [
        Finding(f"coverage-{rule.id}/{name}", rule.status(r), rule.seen(r), rule.promise, rule.advice)
        for name, r in failing.items()
    ]


def _uncounted(row: CoverageRow) -> str:
    return ", ".join(name for name in _COUNTS if getattr(row, name) is None)


def _offset(commit: int | None) -> str:
    return "none" if commit is None else f"{commit:,}"


def _shown(count: int | None) -> str:
    return "uncounted" if count is None else f"{count:,}"


def _on_disk(folder: Path) -> dict[str, str]:
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.resolve())}


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations tells about its own doings on INFO: no part of the audit record that a task's log is."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
