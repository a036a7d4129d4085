"""The results of a run as Parquet files beside its evidence, one row a finding or a partition: for whoever computes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

from kafka_migration.evidence.model import Evidence, Part

FOLDER = "results"


def result_files(evidence: Evidence) -> dict[str, bytes]:
    """By name the content of each file. A result that the run does not have has no file."""
    tables: Mapping[str, Iterable[Part]] = {
        "findings": evidence.findings,
        "coverage": evidence.coverage,
        "content": evidence.content,
    }
    return {f"{name}.parquet": _parquet(rows) for name, parts in tables.items() if (rows := [*_rows(parts)])}


def _rows(parts: Iterable[Part]) -> Iterable[dict[str, Any]]:
    return (part.model_dump(mode="json") for part in parts)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    # Imported here: only the end of a run pays for it.
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), written)
    return written.getvalue()
