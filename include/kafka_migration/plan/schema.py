"""The plan's JSON schema, for editors: `python -m kafka_migration.plan.schema > include/plans/plan.schema.json`."""

from __future__ import annotations

import json
import sys
from typing import Any

from kafka_migration.plan.model import Plan
from kafka_migration.services.registry import settings_schemas


def plan_schema() -> dict[str, Any]:
    """The schema of a plan file (JSON Schema 2020-12), each controller kind with its own settings."""
    schema = Plan.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Kafka migration plan"
    # pydantic says what a variable's name must match, and not that no other is allowed.
    schema["$defs"]["SideSettings"]["properties"]["variables"]["additionalProperties"] = False
    controller = schema["$defs"]["ControllerSpec"]
    del controller["additionalProperties"]
    controller["unevaluatedProperties"] = False  # those of its kind are known only after `allOf`
    controller["properties"]["kind"]["enum"] = sorted(settings_schemas())
    controller["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": own["properties"], "required": own.get("required", [])},
        }
        for kind, own in sorted(settings_schemas().items())
    ]
    return schema


if __name__ == "__main__":
    sys.stdout.write(json.dumps(plan_schema(), indent=2) + "\n")
