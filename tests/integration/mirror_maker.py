"""A dedicated MirrorMaker for the tests: a program of a real supervisord, from the jars that the brokers run from.

It starts what a properties file says, and only when somebody has it started.
"""

from __future__ import annotations

import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.scene import Daemon

from demo import aot
from demo.connect import LOG4J2
from demo.jars import java, kafka_classpath
from demo.ports import free_ports

# What the clients that copy were made with.
_LOGGED = """\
logger.values.name = org.apache.kafka.common.config.AbstractConfig
logger.values.level = info
"""


@dataclass(frozen=True)
class MirrorMaker:
    """One program and where its files lie."""

    daemon: Daemon
    name: str
    listener: str

    @property
    def properties_file(self) -> Path:
        return self.daemon.folder / f"{self.name}.properties"

    @property
    def log(self) -> str:
        return (self.daemon.folder / f"{self.name}.log").read_text()

    @property
    def pid(self) -> int:
        return int(self.daemon.control("getProcessInfo", self.name)["pid"])

    def settings(self, what: str, *among: str) -> dict[str, str]:
        """The values in the last such list of its log that holds these lines, such as `ProducerConfig`."""
        lists = [part.partition("\n20")[0] for part in self.log.split(f"{what} values:")[1:]]
        values = next(one for one in reversed(lists) if all(f"\t{line}\n" in one for line in among))
        pairs = (line.strip().partition(" =") for line in values.splitlines())
        return {name: value.strip() for name, _, value in pairs}

    def spec(self, **keys: Any) -> dict[str, Any]:
        """What a plan says of it under `mirror`."""
        return {
            "kind": "dedicated",
            "controller": {
                "kind": "supervisor",
                "connection": "supervisor",
                "program": self.name,
                "env_file": f"{self.name}.env",
            },
            "properties_file": str(self.properties_file),
            "listener": self.listener,
            "java": str(java()),
            **keys,
        }


def add_mirror_maker(daemon: Daemon, name: str, **env: str) -> MirrorMaker:
    """A new program that does not run yet; its env file names no cluster of the two."""
    folder = daemon.folder
    daemon.env(name, KAFKA_BOOTSTRAP_SERVERS="nowhere:9092", **env)
    (folder / f"{name}-log4j2.properties").write_text(LOG4J2 + _LOGGED)
    options = [
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *aot.used(aot.CONNECT),
        f"-Dlog4j2.configurationFile={folder}/{name}-log4j2.properties",
        "-cp",
        kafka_classpath(),
    ]
    (folder / f"{name}.options").write_text("".join(f'"{one}"\n' for one in options))
    run = (
        f"set -a; . ./{name}.env; exec {shlex.quote(str(java()))} @{name}.options"
        f" org.apache.kafka.connect.mirror.MirrorMaker {name}.properties"
    )
    (folder / "programs" / f"{name}.conf").write_text(
        textwrap.dedent(
            f"""\
            [program:{name}]
            command=sh -c {shlex.quote(run)}
            directory={folder}
            autostart=false
            autorestart=true
            startsecs=1
            stopwaitsecs=30
            stdout_logfile={folder}/{name}.log
            redirect_stderr=true
            """
        )
    )
    daemon.control("reloadConfig")
    daemon.control("addProcessGroup", name)
    [port] = free_ports(1)
    return MirrorMaker(daemon, name, f"http://127.0.0.1:{port}")
