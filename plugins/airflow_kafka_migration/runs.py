"""From a task's context to the domain's `Run`: the plan it started with, its clusters, controllers, records and lock.

Imported in workers only, never while DAGs are parsed: it brings the Kafka client along.
"""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException

from airflow_kafka_migration.evidence import evidence_root
from airflow_kafka_migration.hooks import connection_parts, open_clusters, secrets_met
from airflow_kafka_migration.lock import AirflowClaims, Claim, Touched, hold, holds
from airflow_kafka_migration.names import (
    DISORDER,
    DOCUMENTS,
    FIRST_TASK,
    FULL,
    LEVEL,
    SEED,
    dag_id,
    is_dry,
    parameters,
    purpose_of,
)
from airflow_kafka_migration.signing import signing_key
from airflow_kafka_migration.state import AssetRecords, plan_asset
from kafka_migration.checks.services import refuse_while_going_back
from kafka_migration.clusters.client import CONNECT_TIMEOUT
from kafka_migration.clusters.identity import silence_of
from kafka_migration.errors import PlanChanged, Refused
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.mirror.registry import build_history, build_mirrors, mirror_controller
from kafka_migration.plan.load import BrokenPlan, LoadedPlan, difference, find_plan, load_plans, parse_plan
from kafka_migration.purposes import FAILOVER, LOCKING, MIRROR, VERIFY
from kafka_migration.run import Run
from kafka_migration.services.registry import build_controllers, build_seconds
from kafka_migration.sides import Side

if TYPE_CHECKING:
    from airflow.sdk import Context

    from kafka_migration.clusters.client import Clusters
    from kafka_migration.plan.model import Plan
    from kafka_migration.records import Records


def open_run(
    context: Context, plan_name: str, log: logging.Logger, *, heading: str = Side.TARGET, as_started: bool = False
) -> Run:
    """All that a step is given. Contacts no cluster and no service. Raises `PlanError`, `PlanChanged`, `Refused`.

    `heading`: the side that the step moves services to. `as_started`: with the plan that the run started with, whatever
    has become of its file since. So goes on, too, what keeps a mirror: its next run, soon, takes up another plan.
    """
    purpose = purpose_of(context["ti"].dag_id)
    records = AssetRecords(context, plan_asset(plan_name))
    if as_started or (purpose == MIRROR and context["ti"].task_id != FIRST_TASK):
        loaded = started_plan(context, plan_name)
    else:
        loaded = find_plan(plan_name)
        _only_known_parameters(context, loaded.plan)
        _same_plan(context, loaded, records)
    if context["ti"].task_id == FIRST_TASK:
        signing_key(loaded.plan)  # not found out when everything has been moved
    clusters = replace(open_clusters(loaded.plan, log), heading=Side(heading))
    if purpose == VERIFY:
        clusters = _verified(clusters, loaded.plan)
    elif loaded.plan.decommissioned:
        raise Refused(
            "the plan says that the source has been given up (decommissioned: true): nothing is moved any more"
        )
    return Run(
        plan=loaded.plan,
        purpose=purpose,
        run_id=context["ti"].run_id,
        clusters=clusters,
        controllers=build_controllers(loaded.plan, clusters.addresses, connection_parts),
        seconds=build_seconds(loaded.plan, clusters.addresses, connection_parts),
        mirrors=build_mirrors(loaded.plan, clusters, connection_parts),
        history=build_history(loaded.plan, clusters),
        records=_DryRecords(records) if is_dry(context) else records,
        dry_run=is_dry(context),
        disorder=bool(context["params"].get(DISORDER)),
        full=bool(context["params"].get(FULL)),
        level=context["params"].get(LEVEL) or (loaded.plan.verify.level if loaded.plan.verify else "content"),
        seed=_seed(context),
        other_plans=[
            entry.plan for entry in load_plans() if isinstance(entry, LoadedPlan) and entry.plan != loaded.plan
        ],
        documents=_bundle(context, loaded).local_folder(DOCUMENTS),
        leave=lambda name, text: _bundle(context, loaded).leave(name, text),
        suites=loaded.suites,
        log=log,
    )


def _verified(clusters: Clusters, plan: Plan) -> Clusters:
    """The same clusters, read under a client id of its own, and no faster than the plan allows.

    Several tasks may read at once: each has its share of the rate.
    """
    rate = plan.verify.rate if plan.verify else None
    return replace(clusters, source=clusters.source.verified(rate), target=clusters.target.verified(rate))


def _seed(context: Context) -> int:
    """The seed that was given, or one that is the same in every task of the run."""
    given = context["params"].get(SEED)
    return zlib.crc32(context["ti"].run_id.encode()) if given is None else int(given)


def take_lock(context: Context, run: Run) -> None:
    """Hold what the run touches, for as long as it is active; it is free for a task whose run holds already.

    A dry run changes nothing and holds nothing. Raises `Locked`, `Refused` in a migration that is being taken back, or
    `ClusterError` when the topics cannot be told.
    """
    if run.dry_run or run.purpose not in LOCKING:
        return
    ti = context["ti"]
    if ti.task_id != FIRST_TASK:  # that one has a finding for it
        refuse_while_going_back(run)
    began = str(context["dag_run"].start_date)
    claims = AirflowClaims(context, FIRST_TASK)
    if holds(claims, ti.dag_id, ti.run_id, began):
        return
    names = [entry.name if isinstance(entry, BrokenPlan) else entry.plan.plan for entry in load_plans()]
    hold(
        claims,
        Claim(ti.dag_id, ti.run_id, began, held=False, touched=_touched(run)),
        [dag_id(name, purpose) for name in names for purpose in LOCKING],
    )


def _only_known_parameters(context: Context, plan: Plan) -> None:
    """Airflow takes any key: a mistyped `dry_run` would be a real run."""
    known = parameters(purpose_of(context["ti"].dag_id), plan)
    unknown = sorted(set(context["dag_run"].conf or {}) - set(known))
    if unknown:
        raise Refused(
            f"The run was triggered with parameters that there are not: {', '.join(unknown)}. Nothing was done."
            f" Known are {', '.join(sorted(known))}; everything else stands in the plan. Trigger a new run."
        )


def _bundle(context: Context, loaded: LoadedPlan) -> Bundle:
    """The evidence of this run; it refuses the secrets that were met up to now."""
    ti = context["ti"]
    return Bundle(
        evidence_root(loaded.plan), loaded.plan.plan, purpose_of(ti.dag_id), ti.run_id, forbidden=secrets_met()
    )


def started_plan(context: Context, plan_name: str) -> LoadedPlan:
    """The plan that this run started with. Raises `PlanError` when none was recorded and its file is gone."""
    kept = AssetRecords(context, plan_asset(plan_name)).get(_plan_key(context))
    return parse_plan(kept["text"], Path(kept["file"])) if kept else find_plan(plan_name)


def forget_plan(context: Context, plan_name: str) -> None:
    """Of a run that has ended for good: its evidence holds the plan. Those that run by the clock would pile up."""
    AssetRecords(context, plan_asset(plan_name)).delete(_plan_key(context))


def _plan_key(context: Context) -> str:
    return f"run/{purpose_of(context['ti'].dag_id)}/{context['ti'].run_id}/plan"


def _same_plan(context: Context, loaded: LoadedPlan, records: Records) -> None:
    """Record the plan that a run starts with; raise `PlanChanged` in every later task that finds another."""
    dag_run = context["dag_run"]
    key = _plan_key(context)
    # A run that was deleted and triggered again under the same id is another run.
    created = str(dag_run.run_after)
    kept = records.get(key)
    if kept is None or kept["created"] != created:
        records.set(key, {"created": created, "digest": loaded.digest, "text": loaded.text, "file": str(loaded.file)})
    elif kept["digest"] != loaded.digest:
        raise PlanChanged(
            f"{loaded.file.name} has been changed since this run started. Nothing was done by this step. Put the former"
            " plan back and clear this task, or end this run and trigger a new one.\n"
            + difference(kept["text"], loaded.text)
        )


def _touched(run: Run) -> Touched:
    topics: set[str] = set()
    for cluster in (run.clusters.source, run.clusters.target):
        if run.purpose == FAILOVER and cluster is run.clusters.source and silence_of(cluster) is not None:
            continue  # it is lost: its topics cannot be told, and nobody moves them
        try:
            told = cluster.admin.list_topics(timeout=CONNECT_TIMEOUT)
        except KafkaException as error:
            raise cluster.error(error, "listing the topics") from None
        named = {topic for service in run.plan.services for topic in (*service.produces, *service.reads)}
        chosen = named | {topic for topic in told.topics if run.plan.includes(topic)}
        topics |= {f"{told.cluster_id}/{topic}" for topic in chosen}
    controllers = list(run.instances(run.controllers).values())
    mirror = mirror_controller(run.plan, run.clusters.addresses, connection_parts)
    return Touched(frozenset(topics), frozenset(c.identity() for c in (*controllers, *([mirror] if mirror else []))))


class _DryRecords:
    """Records of which a dry run may change what it sees, and nobody else ever sees that."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._changed: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self._changed[key] if key in self._changed else self._records.get(key)

    def set(self, key: str, value: Any) -> None:
        self._changed[key] = value
