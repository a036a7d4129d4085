"""What must stay true of the pages: who sees what, and that only the evidence of a run is read through them."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from tests.dags.conftest import AirflowHome, Users

from airflow_kafka_migration.links import evidence_url
from airflow_kafka_migration.pages.app import HEADERS
from kafka_migration.evidence.bundle import Bundle

RUN = "manual__2030-01-01T00:00:00+00:00"
EVIDENCE = {
    "run_id": RUN,
    "verdict": "PASS",
    "started_at": 1893456000.0,
    "triggered_by": "<b>admin</b>",
    "dry_run": False,
}


@pytest.fixture
def page(airflow_home: AirflowHome) -> str:
    """The address of a run's evidence page."""
    airflow_home.write_plan("paged")
    bundle = Bundle(airflow_home.evidence, "paged", "migrate", RUN)
    bundle.write_json("evidence.json", EVIDENCE)
    bundle.write_text("evidence.html", "<h1>evidence</h1>")
    (airflow_home.folder / "secret.txt").write_text("not for you")
    return evidence_url("paged.migrate", RUN)


def test_nobody_who_is_not_logged_in_sees_anything(users: Users, page: str) -> None:
    assert users.client(None).get(page).status_code == 401
    assert users.client(None).get("/kafka-migration/").status_code == 401
    assert users.client(None).get("/kafka-migration/evidence/none/migrate/none/evidence.html").status_code == 401


def test_who_may_not_read_the_dag_does_not_see_its_evidence(users: Users, page: str) -> None:
    assert users.client("guest").get(page).status_code == 403
    assert "paged" not in users.client("guest").get("/kafka-migration/").text


def test_who_may_read_the_dag_sees_its_evidence_and_no_browser_runs_anything_of_it(users: Users, page: str) -> None:
    answer = users.client("viewer").get(page)
    assert (answer.status_code, answer.text) == (200, "<h1>evidence</h1>")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in HEADERS["Content-Security-Policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    told = users.client("viewer").get(page.replace(".html", ".json"))
    assert told.json() == EVIDENCE
    assert told.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "file",
    [
        "../../../../secret.txt",
        "..%2F..%2F..%2F..%2Fsecret.txt",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "steps/../../../../../secret.txt",
        "..\\..\\secret.txt",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "evidence.html%00.txt",
        ".hidden",
        "",
        "steps",
        "link.txt",
    ],
)
def test_no_address_leads_out_of_a_runs_folder(users: Users, page: str, airflow_home: AirflowHome, file: str) -> None:
    link = airflow_home.evidence / "paged" / "migrate" / "manual__2030-01-01T00~3A00~3A00~2B00~3A00" / "link.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(airflow_home.folder / "secret.txt")
    answer = users.client("admin").get(page.removesuffix("evidence.html") + file, follow_redirects=False)
    assert answer.status_code in (307, 404)
    assert "not for you" not in answer.text


@pytest.mark.parametrize(
    ("plan", "purpose", "run"),
    [("..", "migrate", RUN), ("paged", "..", RUN), ("paged", "migrate", ".."), ("%2e%2e", "%2e%2e", "%2e%2e")],
)
def test_no_plan_purpose_or_run_leads_out_of_the_evidence(
    users: Users, page: str, plan: str, purpose: str, run: str
) -> None:
    answer = users.client("admin").get(f"/kafka-migration/evidence/{plan}/{purpose}/{quote(run)}/secret.txt")
    assert "not for you" not in answer.text


def test_the_start_page_lists_plans_runs_and_verdicts_and_escapes_them(users: Users, page: str) -> None:
    text = users.client("viewer").get("/kafka-migration/").text
    assert "PASS" in text
    assert "paged" in text
    assert "&lt;b&gt;admin&lt;/b&gt;" in text
    address = text.partition('href="')[2].partition('"')[0]
    assert users.client("viewer").get(f"/kafka-migration/{address}").status_code == 200


def test_the_start_page_shows_what_is_wrong_with_a_plan(users: Users, airflow_home: AirflowHome) -> None:
    file = airflow_home.folder / "plans" / "typo.yaml"
    file.write_text("plan: typo\nshceme: producers_first\n")
    text = users.client("viewer").get("/kafka-migration/").text
    file.unlink()
    assert "This plan does not load" in text
    assert "shceme" in text


def test_evidence_that_is_damaged_hides_no_other(users: Users, page: str, airflow_home: AirflowHome) -> None:
    Bundle(airflow_home.evidence, "paged", "migrate", "broken").write_text("evidence.json", json.dumps(EVIDENCE)[:20])
    text = users.client("viewer").get("/kafka-migration/").text
    assert "broken" in text
    assert RUN.replace("+", "&#43;") in text or RUN in text
