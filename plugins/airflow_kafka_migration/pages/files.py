"""Reading files of evidence for the pages: only what lies in the folder of the named run, whatever the address says."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_kafka_migration.evidence import evidence_root
from kafka_migration.errors import PlanError
from kafka_migration.evidence.bundle import Bundle
from kafka_migration.plan.load import find_plan
from kafka_migration.plan.model import NAME

_NO_SUCH_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError)


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str


def read_file(plan: str, purpose: str, run_id: str, file: str) -> File | None:
    """That file of that run's evidence, or None when there is none."""
    parts = file.split("/")
    if not all(_is_name(part) for part in (plan, purpose)) or any(_may_lead_away(part) for part in parts):
        return None
    path: Any = run_folder(plan, purpose, run_id)
    root = path
    for part in parts:
        path = path / part
    if isinstance(path, Path) and not path.resolve().is_relative_to(root.resolve()):
        return None  # a link that leads out of the folder
    try:
        content = path.read_bytes()
    except _NO_SUCH_FILE:
        return None
    return File(content, mimetypes.guess_type(parts[-1])[0] or "application/octet-stream")


def run_folder(plan: str, purpose: str, run_id: str) -> Any:
    """Where the evidence of a run lies. The run's id is made a safe folder name on the way."""
    return Bundle(plan_root(plan), plan, purpose, run_id).folder


def plan_root(plan: str) -> Any:
    """The evidence root of a plan; that of plans which name none when it does not load any more."""
    try:
        return evidence_root(find_plan(plan).plan)
    except PlanError:
        return evidence_root()


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME, text) is not None


def _may_lead_away(part: str) -> bool:
    return not part or part.startswith(".") or "\\" in part or "\0" in part
