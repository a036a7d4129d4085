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


def pages_url() -> str:
    """The address of the start page; where Airflow is served below a base path, so are the pages."""
    return f"{urlsplit(conf.get('api', 'base_url', fallback='')).path.rstrip('/')}{PAGES}/"


def evidence_url(dag_id: str, run_id: str) -> str:
    """The address of the evidence page of a run."""
    return f"{pages_url()}evidence/{plan_of(dag_id)}/{purpose_of(dag_id)}/{quote(run_id, safe='')}/evidence.html"
