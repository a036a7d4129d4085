"""Env files are changed in one place and kept to the letter everywhere else, as a shell would read them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafka_migration.services.env_file import assign, read_content, replace_content, variables


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("K=a:1", "a:1"),
        ("K=a:1,b:2", "a:1,b:2"),
        ("  export  K=a:1", "a:1"),
        ("K='a:1'", "a:1"),
        ('K="a:1"', "a:1"),
        ("K=", ""),
        ('K=""', ""),
        ("K=a:1 # the cluster", "a:1"),
        ('K="a:1"   # it\'s the cluster', "a:1"),
        ("K=a#b", "a#b"),
        ("K=a:1; export K", "a:1"),
        (r"K=a\ b", "a b"),
        ("K=a'b c'd", "ab cd"),
        ('K="a\nb"', "a\nb"),
        ("K=-Xmx1g -Xms1g", "-Xmx1g -Xms1g"),  # not for a shell, but for Docker and systemd
        ("K=a:1, b:2", "a:1, b:2"),
        ("K='unfinished", "'unfinished"),
    ],
)
def test_value_is_read_as_its_reader_would(line: str, value: str) -> None:
    assert variables(f"A=1\n{line}\nZ=2\n") == {"A": "1", "K": value, "Z": "2"}


@pytest.mark.parametrize("line", ["# K=a", "K = a", "echo K=a", "3K=a", "not K=a"])
def test_what_is_no_assignment_is_not_read(line: str) -> None:
    assert variables(f"{line}\n") == {}


def test_last_assignment_counts_and_every_one_is_changed() -> None:
    content = "K=a\nK=b\n"
    assert variables(content) == {"K": "b"}
    assert assign(content, "K", "c") == "K=c\nK=c\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("K=a\n", "K=new:1\n"),
        ("export K='a'\n", "export K=new:1\n"),
        ("\texport K=a # why\n", "\texport K=new:1 # why\n"),
        ("K=a; export K\n", "K=new:1; export K\n"),
        ("K=a b\n", "K=new:1\n"),
        ('K="a\nb"\nL=1\n', "K=new:1\nL=1\n"),
        ("K=a", "K=new:1"),
        ("A=1\r\nK=a\r\nB=2\r\n", "A=1\r\nK=new:1\r\nB=2\r\n"),
        ("A='\nK=inside\n'\nK=a\n", "A='\nK=inside\n'\nK=new:1\n"),
        ("K_MORE=a\nMY_K=a\n", "K_MORE=a\nMY_K=a\nK=new:1\n"),
        ("A=1", "A=1\nK=new:1\n"),
        ("A=1\r\n", "A=1\r\nK=new:1\r\n"),
        ("", "K=new:1\n"),
        ("# K=old, kept\n", "# K=old, kept\nK=new:1\n"),
    ],
)
def test_only_the_value_is_changed(before: str, after: str) -> None:
    assert assign(before, "K", "new:1") == after


@pytest.mark.parametrize(
    "value", ["a b", "it's", 'say "hi"', "$HOME", "`id`", "a;b", "line 1\nline 2", "#x", "a\\b", ""]
)
def test_shell_reads_what_was_assigned(tmp_path: Path, value: str) -> None:
    path = tmp_path / "service.env"
    path.write_text(assign("A=1\nK=old # why\nexport Z='z z'\n", "K", value))
    read = subprocess.run(
        ["sh", "-c", f'. {path}; printf "%s|%s|%s" "$A" "$K" "$Z"'], capture_output=True, text=True, check=True
    )
    assert read.stdout == f"1|{value}|z z"


names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(names, values), max_size=6), names, values)
def test_assignment_is_read_back_and_changes_no_other(lines: list[tuple[str, str]], name: str, value: str) -> None:
    content = ""
    for one, its in lines:
        content = assign(content, one, its)
    before = variables(content)
    assert before == dict(lines)
    assert variables(assign(content, name, value)) == before | {name: value}


def test_every_byte_survives(tmp_path: Path) -> None:
    path = tmp_path / "service.env"
    path.write_bytes(b"# caf\xe9 \xff\r\nK=a\r\n")
    replace_content(path, assign(read_content(path), "K", "b"), like=path)
    assert path.read_bytes() == b"# caf\xe9 \xff\r\nK=b\r\n"


def test_file_that_cannot_be_replaced_stays_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "service.env"
    path.write_text("K=a\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    with pytest.raises(OSError, match="taken"):
        replace_content(tmp_path / "taken", "K=b\n", like=path)
    assert path.read_text() == "K=a\n"
    assert {p.name for p in tmp_path.iterdir()} == {"service.env", "taken"}
