"""How far a mirror has come, asked where nothing but the clusters can be reached: in a trigger as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kafka_migration.clusters.client import Clusters
from kafka_migration.errors import MirrorError
from kafka_migration.mirror.runner import Progress, Watched
from kafka_migration.mirror.stored_offsets import read_positions


def progress(clusters: Clusters, told: Mapping[str, Any]) -> Progress:
    """`told`: a `Watched` as JSON. Of a process that has no REST only its stored offsets can be seen from here."""
    watched = Watched(**told)
    if watched.kind == "dedicated":
        return Progress(None, 0, {}, read_positions(clusters.destination, watched.alias))
    if clusters.worker is None:
        raise MirrorError("this look was given no way to the mirror")
    return clusters.worker.progress(watched.name)
