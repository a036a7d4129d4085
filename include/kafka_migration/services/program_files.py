"""supervisord's configuration files: where a program's section stands, what it says, and changing one line of it.

All else in a file stays to the letter. It asks no supervisord and starts nothing.
"""

from __future__ import annotations

import fcntl
import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kafka_migration.services.env_file import read_content

_HEADER = re.compile(r"^\[(?P<name>[^\]]+)\]", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """The section of one program: the file that holds it, and its text from the header to the next one."""

    file: Path
    text: str

    def value(self, key: str) -> str | None:
        """The value of a key, without a comment behind it."""
        found = _option(key).search(self.text)
        return re.sub(r"\s;.*", "", found["value"]).strip() if found else None

    def with_value(self, key: str, value: str) -> str:
        """The text with that key set: its line changed, or one added below the header."""
        if _option(key).search(self.text):
            return _option(key).sub(lambda found: f"{found['lead']}{value}", self.text, count=1)
        header, line_end, rest = self.text.partition("\n")
        return f"{header}{line_end or chr(10)}{key}={value}\n{rest}"


@contextmanager
def alone(configuration: Path) -> Iterator[None]:
    """Nobody else who asks for the same changes these files meanwhile: services are closed side by side.

    The folder is locked, not a file: each file is changed by putting another in its place.
    """
    folder = os.open(configuration.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def find_section(configuration: Path, program: str) -> Section | None:
    """The section of a program in that file, or in one that it includes. Raises `OSError`."""
    for file in (configuration, *included(configuration)):
        content = read_content(file)
        for name, text in _sections(content):
            if name == f"program:{program}":
                return Section(file, text)
    return None


def included(configuration: Path) -> list[Path]:
    """The files that it includes, as supervisord finds them: patterns relative to the file itself."""
    found: list[Path] = []
    for pattern in include_patterns(configuration):
        found += [Path(name) for name in sorted(glob.glob(pattern))]
    return found


def include_patterns(configuration: Path) -> list[str]:
    """The patterns under `files` of its `[include]` section, made absolute."""
    here = str(configuration.resolve().parent)
    for name, text in _sections(read_content(configuration)):
        if name == "include":
            files = Section(configuration, text).value("files") or ""
            return [str(Path(here, one.replace("%(here)s", here))) for one in files.split()]
    return []


def _sections(content: str) -> Iterator[tuple[str, str]]:
    headers = list(_HEADER.finditer(content))
    for header, following in zip(headers, [*headers[1:], None], strict=True):
        yield header["name"], content[header.start() : following.start() if following else len(content)]


def _option(key: str) -> re.Pattern[str]:
    """A key with its value, which goes on over lines that begin with white space."""
    return re.compile(rf"^(?P<lead>{re.escape(key)}[ \t]*[=:][ \t]*)(?P<value>.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)
