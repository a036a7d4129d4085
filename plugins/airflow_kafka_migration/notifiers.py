"""Who is told: Airflow's notifiers hear of a run that has failed, and of an approval that waits for a person.

They are named in Airflow's configuration, `[kafka_migration] notifiers`, and loaded while DAGs are parsed. A name that
cannot be used takes no DAG away and silences no other notifier; every DAG says so. What a notifier does, fails to do or
takes too long for never changes how a task ends.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from traceback import extract_tb
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.configuration import conf

from airflow_kafka_migration.failures import NotPassed, StepFailed
from airflow_kafka_migration.links import evidence_url
from airflow_kafka_migration.names import is_dry, plan_of, purpose_of

if TYPE_CHECKING:
    from airflow.sdk import Context

BROKEN_NOTIFIERS = "notifiers broken"
"""The tag of every DAG while a notifier that the configuration names cannot be used."""

ENTRY = "kafka_migration"
"""Under this name a notifier's templates find the `Notice`."""

_LOG = logging.getLogger("kafka_migration")
_UNSET_URL = "http://localhost:8080/"  # as Airflow's own links begin where `[api] base_url` is not set
_WITHIN = 10.0  # seconds for each; Airflow ends a task that goes on for more than 20 after its end
_MOST_CAUSES = 10


@dataclass(frozen=True)
class Notice:
    """What is told. It holds nothing secret.

    `event`: `failed`, or `waits` (an approval). `verdict`: of the evidence, empty where there is none. `causes`: why it
    has failed, a line each; of an approval its question. `link`: the page of the evidence, where there is none the log;
    of an approval the page to answer on. `subject`: one line, `text`: all of it in words.
    """

    event: str
    plan: str
    purpose: str
    run_id: str
    task_id: str
    verdict: str
    causes: tuple[str, ...]
    link: str
    subject: str
    text: str


class RunFailed(BaseNotifier):
    """The failure callback of the tasks with which a failed run ends: of each run one, so that it is told once."""

    def notify(self, context: Context) -> None:
        _tell(context, _failure(context))


class ApprovalWaits(BaseNotifier):
    """The notifier of a human-in-the-loop task: it asks, and waits from then on."""

    def notify(self, context: Context) -> None:
        _tell(context, _question(context))


def failure_notifiers() -> list[BaseNotifier]:
    """For `on_failure_callback`; empty where nobody is to be told."""
    return [RunFailed()] if _configured().notifiers else []


def approval_notifiers() -> list[BaseNotifier]:
    """For `notifiers` of a human-in-the-loop task; empty where nobody is to be told."""
    return [ApprovalWaits()] if _configured().notifiers else []


def broken_notifiers() -> str:
    """What is wrong with the configured notifiers, as Markdown for every DAG's page; empty where all can be used."""
    if not _configured().problems:
        return ""
    listed = "".join(f"- {problem}\n" for problem in _configured().problems)
    return f"**Nobody is told by these notifiers** of `[kafka_migration] notifiers`:\n\n{listed}\n"


# -- below: what is configured


@dataclass(frozen=True)
class _Configured:
    notifiers: tuple[BaseNotifier, ...]
    problems: tuple[str, ...]


class _Unusable(Exception):
    """The name leads to no notifier."""


def _configured() -> _Configured:
    return _loaded(conf.get("kafka_migration", "notifiers", fallback=""))


@cache  # what cannot be imported is not tried again for every DAG; the processes that parse live shortly
def _loaded(names: str) -> _Configured:
    notifiers: list[BaseNotifier] = []
    problems: list[str] = []
    for name in filter(None, (part.strip() for part in names.split(","))):
        try:
            notifiers += _named(name)
        except Exception as error:
            problems.append(f"`{name}`: {_reason(error)}")
            _LOG.warning("[kafka_migration] notifiers: nobody is told by %s", problems[-1])
    return _Configured(tuple(notifiers), tuple(problems))


def _named(name: str) -> list[BaseNotifier]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _Unusable("it is not written as package.module:attribute")
    found: Any = getattr(import_module(module), attribute)
    if callable(found) and not isinstance(found, BaseNotifier):
        found = found()
    several = list(found) if isinstance(found, list | tuple) else [found]
    if not several:
        raise _Unusable("the list is empty")
    for one in several:
        if not isinstance(one, BaseNotifier):
            raise _Unusable(f"a {type(one).__name__} is no notifier of Airflow's (airflow.sdk.bases.notifier)")
        if type(one).notify is BaseNotifier.notify:
            raise _Unusable(f"{type(one).__name__} cannot be used by tasks: it has no method notify()")
    return several


def _reason(error: Exception) -> str:
    """Of somebody's own code only the kind of the error and its place: its words may hold a secret."""
    if isinstance(error, _Unusable | ImportError | AttributeError):
        return str(error)
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.filename}, line {place.lineno}"


# -- below: what is told


def _tell(context: Context, notice: Notice) -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout
    from airflow.sdk.execution_time.timeout import timeout

    for notifier in _configured().notifiers:
        name = type(notifier).__name__
        try:
            with timeout(_WITHIN):  # type: ignore[no-untyped-call]
                copy(notifier)({**context, ENTRY: notice})  # a notifier keeps what it has rendered
        except (Exception, AirflowTaskTimeout) as error:
            # Not its words: an address that a message is posted to is a secret.
            _LOG.error("%s has not told it: %s", name, type(error).__name__)
        else:
            _LOG.info("%s was told: %s", name, notice.subject)


def _failure(context: Context) -> Notice:
    ti, error = context["ti"], context.get("exception")
    if isinstance(error, NotPassed):
        verdict, causes = error.verdict, error.because
        link = urljoin(_base_url(), evidence_url(ti.dag_id, ti.run_id))
    else:
        verdict, causes, link = "", _words(ti.task_id, error), ti.log_url
    what = f"{ti.dag_id} has failed{_kind(context)}" + (f": verdict {verdict}" if verdict else f" at {ti.task_id}")
    told = "\n".join([f"{what}, run {ti.run_id}", *_listed(causes), f"{'Evidence' if verdict else 'Log'}: {link}"])
    return _notice(context, "failed", verdict, causes, link, what, told)


def _question(context: Context) -> Notice:
    ti = context["ti"]
    task: Any = context["task"]  # an ApprovalOperator
    question = task.subject.removeprefix(f"{plan_of(ti.dag_id)}: ")
    link = task.generate_link_to_ui_from_context(context=context, base_url=_base_url())
    what = f"{ti.dag_id} waits for a person: {question}"
    may = ", ".join(user["id"] for user in task.assigned_users or ()) or "whoever may act on this DAG"
    told = f"{what}\nRun {ti.run_id}, task {ti.task_id}\nMay answer: {may}\nAnswer: {link}"
    return _notice(context, "waits", "", (question,), link, what, told)


def _notice(
    context: Context, event: str, verdict: str, causes: Sequence[str], link: str, subject: str, text: str
) -> Notice:
    ti = context["ti"]
    return Notice(
        event,
        plan_of(ti.dag_id),
        purpose_of(ti.dag_id),
        ti.run_id,
        ti.task_id,
        verdict,
        tuple(causes),
        link,
        subject,
        text,
    )


def _words(task_id: str, error: object) -> tuple[str, ...]:
    """Why a task has failed that leaves no verdict; Airflow names no error where the task's process was lost."""
    if isinstance(error, StepFailed):
        from airflow_kafka_migration.hooks import without_secrets

        return (without_secrets(str(error)),)
    return (f"{task_id}: {type(error).__name__ if error else 'its process was lost'}; its log may say why",)


def _listed(causes: Sequence[str]) -> Iterator[str]:
    for cause in causes[:_MOST_CAUSES]:
        yield f"- {cause}"
    if len(causes) > _MOST_CAUSES:
        yield f"- and {len(causes) - _MOST_CAUSES} more"


def _kind(context: Context) -> str:
    return " (a dry run)" if is_dry(context) else ""


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback=None) or _UNSET_URL)
