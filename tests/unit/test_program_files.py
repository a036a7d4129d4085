"""supervisord's files: a program's section is found wherever it stands, and one line of it changed, nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafka_migration.services.program_files import Section, find_section, include_patterns, included

MAIN = """\
; the shop's supervisord
[supervisord]
logfile=/var/log/supervisord.log

[program:billing]
command=sh -c 'set -a; . ./billing.env;
    exec ./billing --fast'
autostart = true ; as it always was
environment:
    A="1",
    B="2"
;stdout_logfile=/tmp/old.log

[program:billing-second]
command=sh ./second.sh

[include]
files = programs/*.conf %(here)s/more/*.ini
  /srv/others/*.conf
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    file = tmp_path / "supervisord.conf"
    file.write_text(MAIN)
    for folder in ("programs", "more"):
        (tmp_path / folder).mkdir()
    return file


def section(configuration: Path, program: str = "billing") -> Section:
    found = find_section(configuration, program)
    assert found is not None
    return found


def test_section_reaches_from_its_header_to_the_next_one(configuration: Path) -> None:
    found = section(configuration)
    assert found.file == configuration
    assert found.text == MAIN[MAIN.index("[program:billing]") : MAIN.index("[program:billing-second]")]
    assert section(configuration, "billing-second").text.startswith("[program:billing-second]\n")


def test_last_section_reaches_to_the_end_of_the_file(configuration: Path) -> None:
    configuration.write_text("[program:last]\ncommand=sleep 1")
    assert section(configuration, "last").text == "[program:last]\ncommand=sleep 1"


def test_value_goes_on_over_lines_that_begin_with_white_space(configuration: Path) -> None:
    found = section(configuration)
    assert found.value("command") == "sh -c 'set -a; . ./billing.env;\n    exec ./billing --fast'"
    assert found.value("environment") == 'A="1",\n    B="2"'


def test_comment_behind_a_value_is_not_part_of_it_and_one_at_a_lines_start_sets_nothing(configuration: Path) -> None:
    found = section(configuration)
    assert found.value("autostart") == "true"
    assert found.value("stdout_logfile") is None


def test_key_is_the_whole_word(configuration: Path) -> None:
    configuration.write_text("[program:x]\nautostarted=1\nxautostart=2\n")
    assert section(configuration, "x").value("autostart") is None


def test_changed_value_leaves_all_else_to_the_letter(configuration: Path) -> None:
    found = section(configuration)
    assert found.with_value("environment", 'A="3"') == found.text.replace('\n    A="1",\n    B="2"', 'A="3"')
    assert found.with_value("command", "true").splitlines()[:2] == ["[program:billing]", "command=true"]
    changed = found.with_value("autostart", "false")
    assert Section(found.file, changed).value("autostart") == "false"
    assert [line for line in changed.splitlines() if not line.startswith("autostart")] == [
        line for line in found.text.splitlines() if not line.startswith("autostart")
    ]


def test_value_that_was_not_there_is_one_line_more_below_the_header(configuration: Path) -> None:
    found = section(configuration)
    assert found.with_value("stdout_logfile", "/tmp/own.log") == found.text.replace(
        "[program:billing]\n", "[program:billing]\nstdout_logfile=/tmp/own.log\n"
    )
    configuration.write_text("[program:bare]")
    assert section(configuration, "bare").with_value("autostart", "false") == "[program:bare]\nautostart=false\n"


def test_program_is_found_in_a_file_that_is_included(configuration: Path) -> None:
    (configuration.parent / "programs" / "audit.conf").write_text("[program:audit]\ncommand=a\n")
    (configuration.parent / "more" / "extra.ini").write_text("[program:extra]\ncommand=b\n")
    (configuration.parent / "more" / "extra.txt").write_text("[program:never]\ncommand=c\n")
    assert section(configuration, "audit").file.name == "audit.conf"
    assert section(configuration, "extra").value("command") == "b"
    assert find_section(configuration, "never") is None
    assert [file.name for file in included(configuration)] == ["audit.conf", "extra.ini"]


def test_patterns_are_relative_to_the_file_that_includes_them(configuration: Path) -> None:
    here = configuration.parent
    assert include_patterns(configuration) == [f"{here}/programs/*.conf", f"{here}/more/*.ini", "/srv/others/*.conf"]


def test_nothing_is_included_where_nothing_says_so(configuration: Path) -> None:
    configuration.write_text("[supervisord]\n")
    assert included(configuration) == []
    configuration.write_text("[include]\n")
    assert included(configuration) == []


def test_file_that_cannot_be_read_is_not_taken_for_one_without_the_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_section(tmp_path / "none.conf", "billing")
