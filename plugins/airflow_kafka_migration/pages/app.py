"""The web app: an overview of plans and runs, and the files of a run's evidence.

Every route asks Airflow who the user is and whether that user may read the DAG: 401 for nobody, 403 for not allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.templating import Jinja2Templates

from airflow_kafka_migration.names import dag_id
from airflow_kafka_migration.pages.files import read_file
from airflow_kafka_migration.pages.overview import overview

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

# The pages hold no script and load nothing: whatever a topic's name may contain, a browser runs none of it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; font-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_templates = Jinja2Templates(Path(__file__).parent / "templates")


def create_app() -> FastAPI:
    app = FastAPI(title="Kafka migrations", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    def start(request: Request, user: GetUserDep) -> Response:
        seen = overview(lambda dag: _may_read(request, user, dag))
        return _templates.TemplateResponse(request, "start.html", {"plans": seen}, headers=HEADERS)

    @app.get("/evidence/{plan}/{purpose}/{run_id}/{file:path}")
    def evidence(plan: str, purpose: str, run_id: str, file: str, _: Annotated[None, Depends(_readable)]) -> Response:
        found = read_file(plan, purpose, run_id, file)
        if found is None:
            raise HTTPException(404, "There is no such evidence")
        return Response(found.content, media_type=found.media_type, headers=HEADERS)

    return app


def _readable(request: Request, user: GetUserDep, plan: str, purpose: str) -> None:
    """Raise 403 unless the user may read the runs of that DAG."""
    requires_access_dag("GET", DagAccessEntity.RUN, dag_id(plan, purpose))(request, user)


def _may_read(request: Request, user: BaseUser, dag: str) -> bool:
    try:
        requires_access_dag("GET", DagAccessEntity.RUN, dag)(request, user)
    except HTTPException:
        return False
    return True
