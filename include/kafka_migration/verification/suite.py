"""Rows judged by a Great Expectations suite, and what it says turned into findings.

It counts nothing and reaches no cluster: the rows are given. Great Expectations is imported only when rows are judged,
and leaves its Data Docs in a folder when it is given one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from kafka_migration.findings import Finding, Status
from kafka_migration.verification.context import open_context, quiet

Row = TypeVar("Row")


@dataclass(frozen=True)
class Rule(Generic[Row]):
    """One expectation: its class in Great Expectations with arguments, and how a failing row is told."""

    id: str
    promise: str
    expectation: str
    arguments: Mapping[str, Any]
    seen: Callable[[Row], str]
    advice: str
    status: Callable[[Row], Status] = lambda row: Status.FAIL


@dataclass(frozen=True)
class Suite(Generic[Row]):
    """`name`: with it the ids of its findings begin. `columns`: what is compared of a row; None is not judged.

    `keys`: the columns that name a row, in this order.
    """

    name: str
    keys: tuple[str, ...]
    columns: Callable[[Row], Mapping[str, Any]]
    rules: Sequence[Rule[Row]]

    def row_name(self, row: Row) -> str:
        told = self.columns(row)
        return "/".join(str(told[key]) for key in self.keys)


def judge(suite: Suite[Row], rows: Sequence[Row], *, run_name: str, docs_folder: Path | None) -> list[Finding]:
    """One finding for each expectation that held, and one for each row on which one did not. `rows`: at least one.

    The Data Docs of earlier runs in `docs_folder` stay beside this one's.
    """
    with quiet():
        outcomes = _validate(suite, rows, run_name, docs_folder)
    return [finding for rule in suite.rules for finding in _findings(suite, rule, outcomes.get(rule.id), rows)]


def data_docs_link(docs_folder: Path) -> str | None:
    """The newest run's page, relative to `docs_folder` and quoted as a link.

    `index.html` is no use without the network: a script from elsewhere fills its table.
    """
    pages = (docs_folder / "validations").rglob("*.html")
    newest = max(pages, key=lambda page: page.parent.name, default=None)  # a folder is named by the time of its run
    return quote(newest.relative_to(docs_folder).as_posix()) if newest else None


def data_docs_page(docs_folder: Path | None) -> dict[str, str]:
    """The same for the evidence, which lies beside the folder; empty where there is no page."""
    link = data_docs_link(docs_folder) if docs_folder else None
    return {"data_docs": f"{docs_folder.name}/{link}"} if docs_folder and link else {}


@dataclass(frozen=True)
class _Outcome:
    """What the suite said of one expectation: `judged` rows, of them `failing` by their number. `error`: it broke."""

    held: bool
    judged: int
    failing: tuple[int, ...]
    error: str


def _validate(suite: Suite[Row], rows: Sequence[Row], run_name: str, docs_folder: Path | None) -> dict[str, _Outcome]:
    import great_expectations as gx
    import pandas as pd
    from great_expectations.checkpoint.actions import UpdateDataDocsAction
    from great_expectations.core.run_identifier import RunIdentifier

    context = open_context(suite.name, docs_folder)
    expectations = gx.ExpectationSuite(
        name=suite.name,
        expectations=[
            getattr(gx.expectations, rule.expectation)(
                **rule.arguments, description=rule.promise, meta={"rule": rule.id}
            )
            for rule in suite.rules
        ],
    )
    asset = context.data_sources.add_pandas(suite.name).add_dataframe_asset("rows")
    validation = gx.ValidationDefinition(
        name=suite.name,
        data=asset.add_batch_definition_whole_dataframe("all"),
        suite=context.suites.add(expectations),
    )
    checkpoint = gx.Checkpoint(
        name=suite.name,
        validation_definitions=[context.validation_definitions.add(validation)],
        actions=[UpdateDataDocsAction(name="data docs")] if docs_folder is not None else [],
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": [*suite.keys, "row"],
        },
    )
    frame = [{**suite.columns(row), "row": number} for number, row in enumerate(rows)]
    result = context.checkpoints.add(checkpoint).run(
        batch_parameters={"dataframe": pd.DataFrame(frame).convert_dtypes()},
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


def _findings(suite: Suite[Row], rule: Rule[Row], outcome: _Outcome | None, rows: Sequence[Row]) -> list[Finding]:
    check = f"{suite.name}-{rule.id}"
    if outcome is None or outcome.error or outcome.held is bool(outcome.failing):
        # It fails closed: an expectation that broke, or says no without naming a row, has proven nothing.
        said = "it was not evaluated" if outcome is None else outcome.error or "it failed and named no row"
        return [
            Finding(
                f"{check}/all",
                Status.INCONCLUSIVE,
                f"the expectation could not be judged: {said}",
                rule.promise,
                "This is a fault of the suite, not of the clusters: see the task's log, and clear the task.",
            )
        ]
    if outcome.held:
        # Where nothing was judged, as every value is missing, nothing is claimed; why they are is said elsewhere.
        seen = f"held for {outcome.judged:,} of {len(rows):,} rows"
        return [Finding(f"{check}/all", Status.PASS, seen, rule.promise)] if outcome.judged else []
    failing = {suite.row_name(row): row for row in (rows[number] for number in outcome.failing)}
    return [
        Finding(f"{check}/{name}", rule.status(row), rule.seen(row), rule.promise, rule.advice)
        for name, row in failing.items()
    ]
