"""The link from a run's gate to its evidence page."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from airflow_kafka_migration.names import PAGES, plan_of, purpose_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class EvidenceLink(BaseOperatorLink):
    """Opens `evidence.html` of the run."""

    @property
    def name(self) -> str:
        return "Evidence"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        return evidence_url(ti_key.dag_id, ti_key.run_id)


def evidence_url(dag_id: str, run_id: str, file: str = "evidence.html") -> str:
    """The address of a run's evidence below Airflow's own, whose base path is kept."""
    base = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
    return f"{base}{PAGES}/evidence/{plan_of(dag_id)}/{purpose_of(dag_id)}/{quote(run_id, safe='')}/{file}"
