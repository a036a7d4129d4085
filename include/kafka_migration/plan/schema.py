"""The plan's JSON schema, for editors: `python -m kafka_migration.plan.schema > include/plans/plan.schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from kafka_migration.plan.model import Plan
from kafka_migration.services.registry import second_schemas, settings_schemas


def plan_schema() -> dict[str, Any]:
    """The schema of a plan file (JSON Schema 2020-12), each controller kind with its own settings."""
    schema = Plan.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Kafka migration plan"
    # pydantic says what a variable's name must match, and not that no other is allowed.
    schema["$defs"]["SideSettings"]["properties"]["variables"]["additionalProperties"] = False
    _kinds(schema["$defs"]["ControllerSpec"], settings_schemas())
    _kinds(schema["$defs"]["SecondSpec"], second_schemas())
    _kinds(schema["$defs"]["MirrorProgram"], {"supervisor": settings_schemas()["supervisor"]})
    return schema


def _kinds(spec: dict[str, Any], kinds: dict[str, dict[str, Any]]) -> None:
    """Let each `kind` of that part bring its own keys."""
    del spec["additionalProperties"]
    spec["unevaluatedProperties"] = False  # those of its kind are known only after `allOf`
    spec["properties"]["kind"]["enum"] = sorted(kinds)
    spec["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": own.get("properties", {}), "required": own.get("required", [])},
        }
        for kind, own in sorted(kinds.items())
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan_schema(), indent=2) + "\n")
