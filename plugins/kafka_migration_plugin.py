"""Tells Airflow what this project adds to it. Every Airflow process runs this file: it imports next to nothing."""

from __future__ import annotations

from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

from airflow_kafka_migration.links import EvidenceLink, pages_url
from airflow_kafka_migration.names import PAGES


class _LazyPages:
    """The pages, imported when somebody opens the first: only the API server ever does."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_kafka_migration.pages.app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class KafkaMigrationPlugin(AirflowPlugin):
    """Evidence pages behind Airflow's login, an entry in its menu, and the link on a run's gate."""

    name = "kafka_migration"
    fastapi_apps = [{"app": _LazyPages(), "url_prefix": PAGES, "name": "Kafka migrations"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Kafka migrations",
            "href": pages_url(),
            "destination": "nav",
            "category": "browse",
            "url_route": "kafka-migrations",
        }
    ]
    operator_extra_links = [EvidenceLink()]  # noqa: RUF012
