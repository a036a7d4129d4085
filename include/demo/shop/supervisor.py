"""What supervisor must know to run the shop: its configuration, and one env file for each program.

Only writes files. A migration edits the env files, and may put programs of its own into `program_directory`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demo import paths
from demo.shop.catalogue import ShopService


@dataclass(frozen=True)
class SupervisorConnection:
    """How a controller reaches the services: supervisor's socket with its login, and where its files lie.

    Every program's command names its env file in `env_directory`; what lies in `program_directory` belongs to
    `configuration`.
    """

    socket: Path
    user: str
    password: str
    env_directory: Path
    configuration: Path
    program_directory: Path


def write_configuration(
    connection: SupervisorConnection, logs: Path, state: Path, services: Iterable[ShopService]
) -> None:
    """The programs do not start by themselves: the shop opens in order."""
    logs.mkdir(parents=True, exist_ok=True)
    connection.program_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Relative to the file, since supervisor takes a blank for the end of a pattern.
    programs = os.path.relpath(connection.program_directory, connection.configuration.parent)
    sections = [
        "[unix_http_server]",
        f"file={connection.socket}",
        "chmod=0700",
        f"username={connection.user}",
        f"password={connection.password}",
        "",
        "[supervisord]",
        "nodaemon=true",
        # Said to root in so many words, or supervisor warns that it keeps root's rights.
        f"user={os.geteuid()}" if os.geteuid() == 0 else "",
        f"logfile={_literal(logs / 'supervisord.log')}",
        f"pidfile={_literal(state / 'supervisord.pid')}",
        f"childlogdir={_literal(logs)}",
        f"directory={_literal(paths.checkout())}",
        f'environment=PYTHONPATH="{_literal(paths.include_folder())}",PYTHONUNBUFFERED="1"',
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "",
        "[include]",
        f"files={_literal(programs)}/*.conf",
    ]
    for service in services:
        sections += _program(service, connection.env_directory / f"{service.name}.env", logs)
    write_private(connection.configuration, "\n".join(sections) + "\n")


def write_env_file(file: Path, settings: Mapping[str, str]) -> None:
    write_private(file, "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items()))


def write_private(file: Path, content: str) -> None:
    """For the owner's eyes alone, from the first byte on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as output:
        output.write(content)


def _program(service: ShopService, env_file: Path, logs: Path) -> list[str]:
    run = f"set -a; . {shlex.quote(str(env_file))}; exec {shlex.quote(sys.executable)} -m demo.shop.{service.module}"
    return [
        "",
        f"[program:{service.name}]",
        f"command=sh -c {_literal(shlex.quote(run))}",
        "autostart=false",
        "autorestart=unexpected",
        # Shorter, supervisor would call it running before the shell has become the service.
        "startsecs=1",
        "startretries=5",
        "stopsignal=TERM",
        "stopwaitsecs=15",
        f"stdout_logfile={_literal(logs / (service.name + '.log'))}",
        "stdout_logfile_backups=1",
        "redirect_stderr=true",
    ]


def _literal(text: object) -> str:
    """supervisor expands %(…)s in its values."""
    return str(text).replace("%", "%%")
