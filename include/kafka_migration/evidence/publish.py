"""The last act of a run: its evidence for machines and for people, the plan and the results, sealed by a manifest."""

from __future__ import annotations

import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kafka_migration.evidence.assemble import Facts, assemble
from kafka_migration.evidence.bundle import EVIDENCE_HTML, EVIDENCE_JSON, PLAN_FILE, Bundle
from kafka_migration.evidence.manifest import seal
from kafka_migration.evidence.model import Evidence
from kafka_migration.evidence.page import render
from kafka_migration.evidence.results import FOLDER as RESULTS
from kafka_migration.evidence.results import result_files


def publish(bundle: Bundle, facts: Facts, key: Ed25519PrivateKey | None = None) -> Evidence:
    """Assemble and write `evidence.json`, `evidence.html`, `plan.yaml`, the results, and last the manifest of all.

    The secrets that the bundle knows are looked for in the values before they are escaped for the page. `key` signs the
    manifest. Raises `EvidenceError`.
    """
    evidence = assemble(bundle, facts)
    bundle.write_json(EVIDENCE_JSON, evidence.model_dump(mode="json"))
    bundle.write_text(EVIDENCE_HTML, render(evidence))
    bundle.write_text(PLAN_FILE, evidence.plan_text)
    for name, content in result_files(evidence).items():
        bundle.write_bytes(RESULTS, name, content)
    seal(bundle, facts.ended_at, key)
    return evidence


def schema_text() -> str:
    """The JSON schema of `evidence.json`, as it is published in `docs/evidence.schema.json`."""
    schema = Evidence.model_json_schema(mode="serialization")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "Evidence of one run of a Kafka migration plan",
    }
    return json.dumps(schema, indent=2) + "\n"
