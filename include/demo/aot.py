"""What Java has loaded and linked for a program of Kafka's, kept for its next start: it is ready in half the time.

Java writes such a file at the end of a run that was told to (JEP 514). It goes on without one that is missing, or that
was made by another runtime or of other jars. Nothing here records: whoever starts many programs has reason to.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from demo import paths
from demo.jars import java, kafka_classpath

BROKER = "broker"
CONNECT = "connect"


def kept(program: str) -> Path:
    """Where that program's file lies, for this runtime and these jars."""
    runtime = (java().parents[1] / "lib" / "modules").stat()
    made_of = f"{runtime.st_size} {runtime.st_mtime_ns} {kafka_classpath()}"
    return paths.cache_folder() / f"{program}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.aot"


def used(program: str) -> list[str]:
    """What Java is told at the program's start; nothing where nothing was recorded."""
    file = kept(program)
    return [f"-XX:AOTCache={file}", "-Xlog:aot*=off"] if file.exists() else []


def recorded(program: str) -> list[str]:
    """What Java is told instead where its run shall be recorded, which takes it some seconds at its end."""
    return [f"-XX:AOTCacheOutput={_new(program)}"]


def keep(program: str) -> None:
    """What was recorded, whole or not at all."""
    _new(program).rename(kept(program))


def _new(program: str) -> Path:
    """Of this process alone: two checkouts may record at once."""
    return Path(f"{kept(program)}.{os.getpid()}.new")
