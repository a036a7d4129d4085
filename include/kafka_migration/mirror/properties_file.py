"""The classic `connect-mirror-maker.properties` of a flow: its text, and putting it where MirrorMaker reads it.

It holds no secret: these are named by Kafka's config providers, and MirrorMaker looks them up when it starts.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from kafka_migration.errors import MirrorError
from kafka_migration.mirror.flow import Flow, topic_list
from kafka_migration.mirror.properties import as_text, connector_properties, worker_properties

# Each belongs to one connector alone, or to the workers. Below `A->B.` it would reach all three connectors, of which
# two cannot copy exactly once; MirrorMaker gives the right ones by itself, and all it runs writes in transactions.
_NOT_OF_A_FLOW = (
    "connector.class",
    "exactly.once.support",
    "key.converter",
    "value.converter",
    "header.converter",
    "transforms",
)
_PROVIDERS = {
    "env": "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    "file": "org.apache.kafka.common.config.provider.FileConfigProvider",
    "directory": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
}
_PRIVATE = 0o600


def render(flow: Flow, topics: Iterable[str], listener: str, *, enabled: bool = True) -> str:
    """The whole file. `listener`: where MirrorMaker's processes reach each other. Not `enabled`: it copies nothing."""
    origin, destination = flow.origin_alias, flow.destination_alias
    way, back = f"{origin}->{destination}.", f"{destination}->{origin}."
    connector = {k: v for k, v in connector_properties(flow.properties).items() if k not in _NOT_OF_A_FLOW}
    lines = {
        "clusters": f"{origin},{destination}",
        f"{origin}.bootstrap.servers": flow.origin.bootstrap_servers,
        f"{destination}.bootstrap.servers": flow.destination.bootstrap_servers,
        **{f"{origin}.{key}": value for key, value in flow.origin_client.items()},
        **{f"{destination}.{key}": value for key, value in flow.destination_client.items()},
        f"{way}enabled": as_text(enabled),
        f"{way}topics": topic_list(topics),
        **{f"{way}{key}": value for key, value in sorted(connector.items())},
        f"{back}enabled": "false",
        # Said for all: MirrorMaker would else run the way back as well, for its heartbeats alone (measured).
        "emit.heartbeats.enabled": "false",
        "emit.checkpoints.enabled": "false",
        # The connector of heartbeats is started all the same, and makes its topic first.
        f"{way}heartbeats.topic.replication.factor": "-1",
        f"{destination}.exactly.once.source.support": "enabled",
        # Of MirrorMaker and of its worker: looking into every class as well takes seconds, twice.
        "plugin.discovery": "service_load",
        f"{destination}.plugin.discovery": "service_load",
        "dedicated.mode.enable.internal.rest": "true",
        "listeners": listener,
        **{f"{destination}.{key}": value for key, value in sorted(worker_properties(flow.properties).items())},
    }
    lines |= _providers(lines.values())
    text = "".join(f"{_escaped(key)}={_escaped(value)}\n" for key, value in lines.items())
    return f"{_mark(flow)}\n{text}"


def read(path: Path) -> str | None:
    """What stands there; None where there is no such file. Raises `MirrorError`."""
    try:
        return path.read_text(encoding="latin-1")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MirrorError(f"the mirror's properties file {path} cannot be read: {error.strerror}") from None


def is_foreign(flow: Flow, content: str | None) -> bool:
    """Whether somebody else has written it."""
    return content is not None and not content.startswith(f"{_mark(flow)}\n")


def put(path: Path, content: str) -> None:
    """Write it as a whole, for its owner alone. Raises `MirrorError`; the former file is as it was then."""
    part = ""
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="latin-1") as out:
            os.fchmod(out.fileno(), _PRIVATE)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(part)
        raise MirrorError(
            f"the mirror's properties file {path} could not be written: {error.strerror}. This user needs to write its"
            " folder; then clear this task."
        ) from None


def _mark(flow: Flow) -> str:
    return f"# MirrorMaker of plan {flow.plan}, to its {flow.destination.side}. Written by its migration: do not edit."


def _providers(values: Iterable[str]) -> Mapping[str, str]:
    """The config providers that these values name."""
    used = sorted({name for value in values for name in re.findall(r"\$\{(\w+):", value) if name in _PROVIDERS})
    if not used:
        return {}
    return {"config.providers": ",".join(used)} | {f"config.providers.{name}.class": _PROVIDERS[name] for name in used}


def _escaped(text: str) -> str:
    """As Java's `Properties` reads it back."""
    plain = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    encoded = "".join(c if c.isascii() else "".join(f"\\u{u:04x}" for u in _utf16(c)) for c in plain)
    return f"\\{encoded}" if encoded.startswith(" ") else encoded


def _utf16(character: str) -> list[int]:
    raw = character.encode("utf-16-be")
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]
