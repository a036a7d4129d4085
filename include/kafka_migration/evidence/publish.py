"""The last act of a run: `evidence.json` for machines and `evidence.html` for people, into its bundle."""

from __future__ import annotations

import json

from kafka_migration.evidence.assemble import Facts, assemble
from kafka_migration.evidence.bundle import EVIDENCE_HTML, EVIDENCE_JSON, Bundle
from kafka_migration.evidence.model import Evidence
from kafka_migration.evidence.page import render


def publish(bundle: Bundle, facts: Facts) -> Evidence:
    """Assemble and write both files. Raises `EvidenceError`.

    The secrets that the bundle knows are looked for in the values before they are escaped for the page.
    """
    evidence = assemble(bundle, facts)
    bundle.write_json(EVIDENCE_JSON, evidence.model_dump(mode="json"))
    bundle.write_text(EVIDENCE_HTML, render(evidence))
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
