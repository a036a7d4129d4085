"""A service under a real supervisord: seen as it runs, reconfigured as a whole, stopped and started, or said why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.workbench import eventually

from kafka_migration.errors import ControllerUnavailable, ServiceError, ServiceNotBack, SettingMissing
from kafka_migration.plan.model import Service
from kafka_migration.services import env_file
from kafka_migration.services.controller import State
from kafka_migration.services.supervisor import SupervisorController, SupervisorSettings
from kafka_migration.sides import Addresses, Side

ADDRESSES = Addresses("source:9092,source2:9092", "target:9092")
ENV = """\
# Kept to the letter, also this: "don't"
export OTHER='a "b" c'   # and this comment

KAFKA_BOOTSTRAP_SERVERS="source:9092" # the cluster
LAST=1
"""
PASSWORD = "hunter2"


@dataclass
class Daemon:
    """A supervisord of this test run, and the folder of its programs' env files."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> str:
        return str(self.folder / "s.sock")

    def parts(self, **changed: Any) -> Mapping[str, Any]:
        own = {"login": "shop", "password": PASSWORD, "socket": self.socket, "env_directory": str(self.folder)}
        return own | changed

    def controller(
        self, program: str, target: Mapping[str, Any] | None = None, parts: Mapping[str, Any] | None = None, **own: Any
    ) -> SupervisorController:
        settings = {"connection": "shop", "program": program, "env_file": f"{program}.env"} | own
        spec: dict[str, Any] = {"kind": "supervisor", **settings}
        if target:
            spec["target"] = {"variables": target}
        service = Service.model_validate({"name": "billing", "produces": ["orders"], "controller": spec})
        connections = {"shop": parts or self.parts(), "secrets": {"password": "pass word$1", "empty": ""}}
        return SupervisorController(
            service, SupervisorSettings.model_validate(settings), ADDRESSES, connections.__getitem__
        )

    def env(self, program: str, content: str = ENV, mode: int = 0o600) -> Path:
        path = self.folder / f"{program}.env"
        path.write_text(content)
        path.chmod(mode)
        return path


PROGRAMS = {
    # replaces the shell that reads the env file, as most do
    "execs": "sh -c 'set -a; . ./execs.env; exec sleep 600'",
    # the shell stays as the parent
    "shell": "sh -c 'set -a; . ./shell.env; sleep 600; true'",
    # the same, and supervisord's own environment holds a stale address: the child's counts
    "stale": "sh -c 'set -a; . ./stale.env; sleep 600; true'",
    "files": "sh -c 'set -a; . ./files.env; exec sleep 600'",
    "dies": "sh -c 'set -a; . ./dies.env; echo cannot reach $SECRET >&2; exit 3'",
    "restarts": "sh -c 'set -a; . ./restarts.env; exec sleep 600'",
    "without": "sh -c 'exec sleep 600'",
    "slow": f"{sys.executable} -c 'import signal, time; signal.signal(15, lambda *_: (time.sleep(0.6), exit(0)));"
    " time.sleep(600)'",
}
SPECIAL = {
    "stale": 'environment=KAFKA_BOOTSTRAP_SERVERS="source:9092"',
    "dies": "autorestart=false\nstartretries=0",
    "restarts": "autorestart=true\nstartretries=50",
    "slow": 'environment=KAFKA_BOOTSTRAP_SERVERS="source:9092"',
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("sd")
    common = f"directory={folder}\nautostart=false\nstartsecs=1\nstopwaitsecs=5"
    programs = "\n".join(
        f"[program:{name}]\ncommand={command}\n{common}\n{SPECIAL.get(name, '')}\n"
        for name, command in PROGRAMS.items()
    )
    (folder / "supervisord.conf").write_text(
        textwrap.dedent(
            f"""\
            [unix_http_server]
            file={folder}/s.sock
            chmod=0700
            username=shop
            password={PASSWORD}
            [supervisord]
            logfile={folder}/supervisord.log
            pidfile={folder}/supervisord.pid
            childlogdir={folder}
            nodaemon=true
            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
            """
        )
        + programs
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(folder / "supervisord.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually((folder / "s.sock").exists, "supervisord's socket")
        yield Daemon(folder, process)
    finally:
        process.terminate()  # it stops its programs first
        process.wait(30)


# -- what runs is what counts


def test_service_is_seen_where_its_process_is_not_where_its_file_says(daemon: Daemon) -> None:
    """Killed between the change of the file and the restart: the next look still says source."""
    daemon.env("execs")
    controller = daemon.controller("execs")
    assert controller.check() == []
    assert controller.observe().state is State.STOPPED
    controller.start()
    controller.configure(Side.TARGET)
    seen = controller.observe()
    assert (seen.state, seen.side, seen.address, seen.configured) == (
        State.RUNNING,
        Side.SOURCE,
        "source:9092",
        "target:9092",
    )
    controller.stop()
    assert controller.observe().state is State.STOPPED
    controller.start()
    assert controller.observe().side is Side.TARGET
    controller.stop()


@pytest.mark.parametrize("program", ["shell", "stale"])
def test_service_below_a_shell_that_stays_is_seen(daemon: Daemon, program: str) -> None:
    daemon.env(program, ENV.replace("source:9092", "target:9092"))
    controller = daemon.controller(program)
    controller.start()
    eventually(lambda: controller.observe().side is Side.TARGET, "the shell to have read its file")
    assert controller.observe().how.startswith("environment of process ")
    controller.stop()


def test_stop_and_start_can_be_repeated(daemon: Daemon) -> None:
    daemon.env("execs")
    controller = daemon.controller("execs")
    controller.stop()
    controller.start()
    pid = _pid(controller)
    controller.start()
    assert _pid(controller) == pid, "a running service is not restarted"
    controller.stop()
    controller.stop()
    assert controller.observe().state is State.STOPPED


def test_start_costs_little_more_than_supervisords_own_second(daemon: Daemon) -> None:
    daemon.env("execs")
    controller = daemon.controller("execs")
    started = time.monotonic()
    controller.start()
    assert time.monotonic() - started < 4
    controller.stop()


def test_stop_returns_only_when_the_process_has_gone(daemon: Daemon) -> None:
    daemon.env("slow")
    controller = daemon.controller("slow")
    controller.start()
    pid = _pid(controller)
    controller.stop()
    assert not Path(f"/proc/{pid}").exists()


def test_service_that_supervisord_starts_again_and_again_is_not_taken_for_stopped(daemon: Daemon) -> None:
    """Between two attempts no process lives; the next one would write to the source."""
    daemon.env("restarts", "KAFKA_BOOTSTRAP_SERVERS=source:9092\nexit 1\n")
    controller = daemon.controller("restarts")
    with pytest.raises(ServiceError):
        _with_patience(controller, 1.5)
    for _ in range(20):
        assert controller.observe().state is State.RUNNING
        time.sleep(0.02)
    controller.stop()
    assert controller.observe().state is State.STOPPED


def test_service_that_was_killed_and_comes_back_by_itself_is_still_stopped_by_stop(daemon: Daemon) -> None:
    daemon.env("restarts")
    controller = daemon.controller("restarts")
    controller.start()
    os.kill(_pid(controller), signal.SIGKILL)
    controller.stop()
    time.sleep(1.5)  # in this time supervisord would have started it again
    assert controller.observe().state is State.STOPPED


# -- the env file


def test_only_the_address_is_changed_and_the_former_file_is_kept(daemon: Daemon) -> None:
    path = daemon.env("files")
    controller = daemon.controller("files")
    wanted = ["KAFKA_BOOTSTRAP_SERVERS: source:9092 -> target:9092"]
    assert controller.configured_for(Side.TARGET) == wanted
    assert path.read_text() == ENV, "asking changes nothing"
    assert controller.configure(Side.TARGET) == wanted
    assert path.read_text() == ENV.replace('"source:9092"', "target:9092")
    assert path.with_name("files.env.previous").read_text() == ENV
    assert controller.configure(Side.TARGET) == [], "repeated: nothing to do"
    assert path.with_name("files.env.previous").read_text() == ENV
    assert controller.configure(Side.SOURCE) == ["KAFKA_BOOTSTRAP_SERVERS: target:9092 -> source:9092,source2:9092"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_file_keeps_its_mode(daemon: Daemon, mode: int) -> None:
    path = daemon.env("files", mode=mode)
    daemon.controller("files").configure(Side.TARGET)
    assert path.stat().st_mode & 0o777 == mode
    assert path.with_name("files.env.previous").stat().st_mode & 0o777 == mode


def test_address_that_names_fewer_servers_of_the_right_cluster_is_left(daemon: Daemon) -> None:
    daemon.env("files")
    assert daemon.controller("files").configured_for(Side.SOURCE) == []


def test_link_to_the_file_stays_a_link(daemon: Daemon) -> None:
    real = daemon.env("real")
    link = daemon.folder / "linked.env"
    link.symlink_to(real)
    daemon.controller("files", env_file="linked.env").configure(Side.TARGET)
    assert link.is_symlink()
    assert "target:9092" in real.read_text()


def test_reader_never_sees_a_part_of_the_file(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed, or a disk that is full, in the midst of writing leaves the former content whole."""
    path = daemon.env("files")
    before = set(daemon.folder.iterdir())

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(env_file.os, "fsync", full_disk)
    with pytest.raises(ServiceError, match="No space left on device") as told:
        daemon.controller("files").configure(Side.TARGET)
    assert "it is as it was" in str(told.value)
    assert path.read_text() == ENV
    assert set(daemon.folder.iterdir()) == before, "nothing is left behind"


def test_every_moment_of_a_change_shows_a_whole_file(daemon: Daemon) -> None:
    """Another process reads all the time while the file is changed to and fro; it is killed by nothing but its end."""
    path = daemon.env("files", ENV + "".join(f"FILLER_{n}=x\n" for n in range(5000)))
    size = len(path.read_text())
    reader = subprocess.Popen([sys.executable, "-c", _READER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"ready\n"
    controller = daemon.controller("files")
    for _ in range(15):
        controller.configure(Side.TARGET)
        controller.configure(Side.SOURCE)
    told, _ = reader.communicate(b"", timeout=30)
    shortest, looks = (int(part) for part in told.split())
    assert shortest >= size - len('"source:9092"'), f"after {looks} looks"
    assert looks > 0


_READER = """
import select, sys
shortest, looks = 10**9, 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    content = open(sys.argv[1]).read()
    assert content.endswith("=x\\n"), content[-20:]
    shortest, looks = min(shortest, len(content)), looks + 1
print(shortest, looks)
"""


# -- secrets


def test_secret_from_a_connection_reaches_the_file_and_nothing_else(daemon: Daemon) -> None:
    path = daemon.env("files")
    target = {"SASL_PASSWORD": {"from_connection": {"id": "secrets", "field": "password"}}, "MODE": "new one"}
    controller = daemon.controller("files", target)
    told = [*controller.configured_for(Side.TARGET), *controller.configure(Side.TARGET)]
    assert "SASL_PASSWORD: (unset) -> ***" in told
    assert "MODE: (unset) -> new one" in told
    assert "pass word$1" not in repr(told)
    read = subprocess.run(
        ["sh", "-c", f'. {path}; printf \'%s|%s\' "$SASL_PASSWORD" "$MODE"'], capture_output=True, text=True, check=True
    )
    assert read.stdout == "pass word$1|new one"
    assert controller.configure(Side.TARGET) == []


def test_secret_is_not_written_where_everybody_reads(daemon: Daemon) -> None:
    path = daemon.env("files", mode=0o644)
    controller = daemon.controller("files", {"PW": {"from_connection": {"id": "secrets", "field": "password"}}})
    assert any("every user of its host" in problem for problem in controller.check())
    with pytest.raises(ServiceError, match="chmod o-r"):
        controller.configure(Side.TARGET)
    assert path.read_text() == ENV


def test_secret_that_is_not_there_is_found_before_anything_is_stopped(daemon: Daemon) -> None:
    daemon.env("files")
    controller = daemon.controller("files", {"PW": {"from_connection": {"id": "secrets", "field": "empty"}}})
    [problem] = controller.check()
    assert "the connection secrets has no field 'empty'" in problem


# -- what goes wrong


def test_service_that_dies_at_once_is_told_with_its_log_and_the_way_back(daemon: Daemon) -> None:
    secret = {"SECRET": {"from_connection": {"id": "secrets", "field": "password"}}}
    daemon.env("dies", "KAFKA_BOOTSTRAP_SERVERS=source:9092\n")
    controller = daemon.controller("dies", secret)
    controller.configure(Side.TARGET)
    with pytest.raises(ServiceNotBack) as told:
        controller.start()
    text = str(told.value)
    assert "service billing (supervisord program dies) did not come back" in text
    assert "    cannot reach ***" in text, "the end of its log, without the secret"
    assert "dies.env.previous" in text
    assert "supervisorctl start dies" in text
    assert "pass word$1" not in text
    assert controller.observe().state is State.STOPPED


def test_service_without_the_variable_in_its_process_is_not_taken_for_moved(daemon: Daemon) -> None:
    daemon.env("without")
    controller = daemon.controller("without")
    with pytest.raises(ServiceNotBack, match=r"it runs, but process \d+ has no KAFKA_BOOTSTRAP_SERVERS"):
        _with_patience(controller, 1.5)
    seen = controller.observe()
    assert (seen.state, seen.side) == (State.RUNNING, None)
    assert "has no KAFKA_BOOTSTRAP_SERVERS in its environment" in seen.how
    controller.stop()


def _unknown_program(daemon: Daemon) -> SupervisorController:
    daemon.env("ghost")
    return daemon.controller("ghost")


def _wrong_password(daemon: Daemon) -> SupervisorController:
    return daemon.controller("files", parts=daemon.parts(password="wrong"))


def _no_daemon(daemon: Daemon) -> SupervisorController:
    return daemon.controller("files", parts=daemon.parts(socket=str(daemon.folder / "none.sock")))


def _no_socket(daemon: Daemon) -> SupervisorController:
    return daemon.controller("files", parts=daemon.parts(socket=None))


def _no_variable(daemon: Daemon) -> SupervisorController:
    return daemon.controller("files", variable="BOOTSTRAP")


def _no_file(daemon: Daemon) -> SupervisorController:
    return daemon.controller("files", env_file="none.env")


def _folder_for_file(daemon: Daemon) -> SupervisorController:
    (daemon.folder / "folder.env").mkdir(exist_ok=True)
    return daemon.controller("files", env_file="folder.env")


@pytest.mark.parametrize(
    ("broken", "error", "told"),
    [
        (_unknown_program, ServiceError, "has no program 'ghost'"),
        (_wrong_password, ControllerUnavailable, "401 Unauthorized; check login and password (connection shop)"),
        (_no_daemon, ControllerUnavailable, "does not answer (No such file or directory); is it running"),
        (_no_socket, ControllerUnavailable, "the connection shop has no 'socket' in its extra"),
        (_no_variable, SettingMissing, "does not set BOOTSTRAP"),
        (_no_file, ServiceError, "none.env cannot be read: No such file or directory"),
        (_folder_for_file, ServiceError, "folder.env cannot be read: Is a directory"),
    ],
)
def test_what_is_wrong_is_told_by_the_check_and_by_the_step(
    daemon: Daemon, broken: Callable[[Daemon], SupervisorController], error: type[ServiceError], told: str
) -> None:
    daemon.env("files")
    controller = broken(daemon)
    assert any(told in problem for problem in controller.check()), controller.check()
    with pytest.raises(error) as raised:
        _observe_and_configure(controller)
    assert told in str(raised.value)
    assert "service billing" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_same_program_has_the_same_identity_in_every_plan(daemon: Daemon) -> None:
    link = daemon.folder / "link.sock"
    link.symlink_to(daemon.socket)
    one = daemon.controller("files")
    other = daemon.controller("files", parts=daemon.parts(socket=str(link)), env_file="elsewhere.env")
    assert one.identity() == other.identity() != daemon.controller("execs").identity()


def test_instructions_say_what_to_do_by_hand(daemon: Daemon) -> None:
    assert daemon.controller("files").instructions(Side.TARGET) == (
        f"In {daemon.folder}/files.env set KAFKA_BOOTSTRAP_SERVERS=target:9092, then run: supervisorctl restart files"
    )


def _observe_and_configure(controller: SupervisorController) -> None:
    controller.observe()
    controller.configure(Side.TARGET)


def _with_patience(controller: SupervisorController, seconds: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kafka_migration.services.supervisor._SEEN_WITHIN", seconds)
        controller.start()


def _pid(controller: SupervisorController) -> int:
    return int(controller.observe().how.removeprefix("environment of process "))
