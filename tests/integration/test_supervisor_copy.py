"""A copy of a program runs beside the original with settings of its own; the original is as it was to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scene import Daemon, supervised
from tests.integration.workbench import eventually

from kafka_migration.errors import ServiceError
from kafka_migration.plan.model import Service
from kafka_migration.services.controller import State
from kafka_migration.services.program_files import find_section
from kafka_migration.services.supervisor import SupervisorController, SupervisorSettings
from kafka_migration.services.supervisor_copy import SupervisorCopy
from kafka_migration.sides import Addresses, Side

ADDRESSES = Addresses("source:9092", "target:9092")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A copy that was made stays: where that counts, a test has a program of its own."""
    with supervised(tmp_path_factory.mktemp("sd")) as one:
        yield one


@pytest.fixture(autouse=True)
def _nothing_runs_on(daemon: Daemon) -> Iterator[None]:
    yield
    daemon.stop_all()


def original(daemon: Daemon, program: str, **parts: str) -> SupervisorController:
    return SupervisorController(*_made_of(daemon, program, parts))


def copy_of(daemon: Daemon, program: str, **parts: str) -> SupervisorCopy:
    return SupervisorCopy(*_made_of(daemon, program, parts))


def _made_of(daemon: Daemon, program: str, parts: dict[str, str]) -> Any:
    settings = {"connection": "shop", "program": program, "env_file": f"{program}.env"}
    service = Service.model_validate(
        {"name": "billing", "produces": ["orders"], "controller": {"kind": "supervisor", **settings}}
    )
    return service, SupervisorSettings.model_validate(settings), ADDRESSES, lambda _: {**daemon.parts, **parts}


def files(daemon: Daemon) -> dict[str, str]:
    return {str(file.relative_to(daemon.folder)): file.read_text() for file in _settings_of(daemon)}


def _settings_of(daemon: Daemon) -> list[Path]:
    return [*daemon.folder.glob("*.env*"), *daemon.folder.rglob("*.conf*")]


def running(daemon: Daemon, program: str) -> None:
    daemon.env(program, KAFKA_BOOTSTRAP_SERVERS="source:9092", MODE="'as it is'  # kept")
    daemon.start(program)


def test_copy_reads_the_same_settings_with_the_other_address_and_the_original_is_untouched(daemon: Daemon) -> None:
    running(daemon, "one")
    first, copy = original(daemon, "one"), copy_of(daemon, "one")
    before = files(daemon)
    pid = daemon.control("getProcessInfo", "one")["pid"]
    assert copy.check() == []

    copy.configure(Side.TARGET)
    copy.start()
    assert (copy.observe().state, copy.observe().side) == (State.RUNNING, Side.TARGET)
    assert (first.observe().state, first.observe().side) == (State.RUNNING, Side.SOURCE)
    assert daemon.control("getProcessInfo", "one")["pid"] == pid
    after = files(daemon)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {
        "one-second.env",
        "one-second.env.previous",
        "programs/one-second.conf",
    }
    assert after["one-second.env"] == before["one.env"].replace("source:9092", "target:9092")
    assert copy.identity() != first.identity()


def test_copy_has_a_log_of_its_own_and_does_not_start_by_itself(daemon: Daemon) -> None:
    running(daemon, "two")
    text = daemon.configuration.read_text()
    section = find_section(daemon.configuration, "two")
    assert section is not None
    daemon.configuration.write_text(text.replace(section.text, section.with_value("autostart", "true")))
    try:
        copy_of(daemon, "two").configure(Side.TARGET)
    finally:
        daemon.configuration.write_text(text)
    made = find_section(daemon.configuration, "two-second")
    assert made is not None
    assert made.file == daemon.folder / "programs" / "two-second.conf"
    assert made.value("stdout_logfile") == str(daemon.folder / "two-second.log")
    assert made.value("autostart") == "false"
    assert made.value("stopwaitsecs") == section.value("stopwaitsecs")
    assert daemon.control("getProcessInfo", "two-second")["statename"] == "STOPPED"


def test_copy_that_was_made_once_is_used_again(daemon: Daemon) -> None:
    running(daemon, "three")
    copy_of(daemon, "three").configure(Side.TARGET)
    copy_of(daemon, "three").start()
    before, pid = files(daemon), daemon.control("getProcessInfo", "three-second")["pid"]
    again = copy_of(daemon, "three")
    assert again.configured_for(Side.TARGET) == []
    assert again.configure(Side.TARGET) == []
    again.start()
    assert files(daemon) == before
    assert daemon.control("getProcessInfo", "three-second")["pid"] == pid


def test_copy_that_is_not_there_yet_is_a_stopped_one_and_says_what_would_be_made(daemon: Daemon) -> None:
    running(daemon, "four")
    copy, before = copy_of(daemon, "four"), files(daemon)
    assert copy.observe().state is State.STOPPED
    assert copy.configured_for(Side.TARGET) == [
        "program four-second: -> a copy of four with four-second.env, on the target"
    ]
    copy.stop()
    assert copy.start_at_boot(True) == []
    assert files(daemon) == before


def test_copy_killed_before_supervisord_knew_it_is_finished_by_the_next_call(daemon: Daemon) -> None:
    running(daemon, "four")
    copy = copy_of(daemon, "four")
    daemon.env("four-second", KAFKA_BOOTSTRAP_SERVERS="source:9092")
    copy.configure(Side.TARGET)
    copy.start()
    assert copy.observe().side is Side.TARGET


def test_program_whose_command_does_not_name_its_env_file_is_not_copied(daemon: Daemon) -> None:
    """The copy would read the original's address, and be a second reader on the source."""
    running(daemon, "five")
    text = daemon.configuration.read_text()
    daemon.configuration.write_text(text.replace("./five.env", "./$NAME.env"))
    before = files(daemon)
    try:
        copy = copy_of(daemon, "five")
        [problem] = copy.check()
        assert "does not name its env file five.env" in problem
        with pytest.raises(ServiceError, match="a copy would read the original's"):
            copy.configure(Side.TARGET)
        after = files(daemon)
    finally:
        daemon.configuration.write_text(text)
    assert "programs/five-second.conf" not in after
    assert {name: after[name] for name in before} == before


def test_folder_that_supervisord_does_not_read_is_refused_with_what_to_do(daemon: Daemon) -> None:
    running(daemon, "six")
    copy = copy_of(daemon, "six", program_directory=str(daemon.folder / "elsewhere"))
    [problem] = copy.check()
    assert "does not include" in problem
    assert "[include] files" in problem
    with pytest.raises(ServiceError, match="does not include"):
        copy.configure(Side.TARGET)
    assert not (daemon.folder / "elsewhere").exists()


def test_connection_that_does_not_name_supervisords_file_is_told_by_the_check(daemon: Daemon) -> None:
    running(daemon, "six")
    assert any("'configuration'" in problem for problem in copy_of(daemon, "six", configuration="").check())


# -- start at boot


def test_start_at_boot_changes_one_line_and_keeps_the_former_file(daemon: Daemon) -> None:
    running(daemon, "six")
    text = daemon.configuration.read_text()
    six = original(daemon, "six")
    assert six.start_at_boot(True) == ["autostart of six: false -> true"]
    section = find_section(daemon.configuration, "six")
    assert section is not None
    assert section.value("autostart") == "true"
    assert (daemon.folder / "supervisord.conf.previous").read_text() == text
    assert len(daemon.configuration.read_text()) == len(text) - 1
    assert six.start_at_boot(True) == [], "it is so already"
    assert six.start_at_boot(False) == ["autostart of six: true -> false"]
    assert daemon.configuration.read_text() == text


def test_start_at_boot_of_services_that_are_closed_side_by_side_keeps_every_line(daemon: Daemon) -> None:
    names = ("one", "two", "three", "four", "five", "six")
    text = daemon.configuration.read_text()
    controllers = [original(daemon, name) for name in names]
    for _ in range(10):
        for start in (True, False):
            with ThreadPoolExecutor(len(names)) as pool:
                said = list(pool.map(lambda c, start=start: c.start_at_boot(start), controllers))
            assert all(len(lines) == 1 for lines in said)
            sections = [find_section(daemon.configuration, name) for name in names]
            assert {s.value("autostart") for s in sections if s is not None} == {"true" if start else "false"}
    assert daemon.configuration.read_text() == text


def test_start_at_boot_is_not_this_products_to_say_where_the_connection_names_no_file(daemon: Daemon) -> None:
    running(daemon, "six")
    before = files(daemon)
    assert original(daemon, "six", configuration="").start_at_boot(True) == []
    assert files(daemon) == before


def test_start_at_boot_of_a_copy_is_said_in_its_own_file(daemon: Daemon) -> None:
    running(daemon, "six")
    text = daemon.configuration.read_text()
    copy = copy_of(daemon, "six")
    copy.configure(Side.TARGET)
    assert copy.start_at_boot(True) == ["autostart of six-second: false -> true"]
    assert daemon.configuration.read_text() == text
    eventually(lambda: (daemon.folder / "programs" / "six-second.conf.previous").exists(), "the former file")
