"""Env files: lines of `NAME=value` as a shell reads them. One variable is changed, all else stays to the letter.

It knows nothing of services, and writes a file only as a whole: a reader sees the old or the new content, never a part.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import tempfile
from pathlib import Path

_ASSIGNMENT = re.compile(
    r"""
    ^(?P<lead>[ \t]*(?:export[ \t]+)?)
    (?P<name>[A-Za-z_][A-Za-z0-9_]*)=
    (?P<value>(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\;])*)  # one word of a shell; quotes may span lines
    (?P<rest>[^\r\n]*)
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_NOT_VALUE = re.compile(r"[ \t]*(?:[ \t]#.*|;.*)?")  # behind a value: nothing, a comment, or another command


def read_content(path: Path) -> str:
    """The file as text; every byte of it survives `replace_content`, line ends and foreign encodings too."""
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


def replace_content(path: Path, content: str, like: Path) -> None:
    """Put `content` at `path` by rename, with the mode and owner of `like`. Raises `OSError`, nothing changed then."""
    wanted = like.stat()
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode("utf-8", errors="surrogateescape"))
            out.flush()
            os.fsync(out.fileno())
        made = os.stat(part)
        if (made.st_uid, made.st_gid) != (wanted.st_uid, wanted.st_gid):
            os.chown(part, wanted.st_uid, wanted.st_gid)  # another owner could not read it when it starts
        os.chmod(part, stat.S_IMODE(wanted.st_mode))
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def variables(content: str) -> dict[str, str]:
    """The variables that the content sets; the last assignment of a name counts, as in a shell."""
    return {match["name"]: _value(match) for match in _ASSIGNMENT.finditer(content)}


def assign(content: str, name: str, value: str) -> str:
    """The content with every assignment of `name` changed, or with one added at its end."""
    found = [match for match in _ASSIGNMENT.finditer(content) if match["name"] == name]
    for match in reversed(found):
        end = match.end("value") if _is_word(match) else match.end("rest")
        content = content[: match.start("value")] + shlex.quote(value) + content[end:]
    if found:
        return content
    line_end = "\r\n" if "\r\n" in content else "\n"
    between = line_end if content and not content.endswith("\n") else ""
    return f"{content}{between}{name}={shlex.quote(value)}{line_end}"


def _is_word(match: re.Match[str]) -> bool:
    """Whether the value is one word as in a shell; else it is taken to the end of the line, as Docker and others do."""
    return _NOT_VALUE.fullmatch(match["rest"]) is not None


def _value(match: re.Match[str]) -> str:
    if _is_word(match):
        return "".join(shlex.split(match["value"]))
    return (match["value"] + match["rest"]).strip()
