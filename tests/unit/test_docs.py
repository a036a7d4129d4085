"""The documentation against the code: what it names exists, and what exists is named. It runs nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kafka_migration.mirror.properties import PROPERTIES
from kafka_migration.plan.load import parse_plan
from kafka_migration.plan.model import NOT_YET_KEYS
from kafka_migration.plan.schema import plan_schema
from kafka_migration.sides import Side
from kafka_migration.verification.content_expectations import CONTENT
from kafka_migration.verification.expectations import COVERAGE

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [file for folder in ("include", "plugins") for file in sorted((ROOT / folder).rglob("*.py"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_ANYTHING = "…"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = _prose(page)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)|<img[^>]*\ssrc=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(link)
    assert not broken


@each_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {target for code in _code(page) for target in re.findall(r"\bmake ([a-z-]+)", code)}
    assert named <= there


@each_page
def test_every_file_of_the_project_that_is_named_exists(page: Path) -> None:
    folders = "|".join(("include", "plugins", "dags", "docs", "tests"))
    named = {name for span in _spans(page) if re.fullmatch(rf"(?:{folders})/[\w./-]*", span) for name in [span]}
    assert not [name for name in sorted(named) if not (ROOT / name).exists()]


@each_page
def test_every_environment_variable_that_is_named_is_read_by_the_code(page: Path) -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCES)
    named = set(re.findall(r"KAFKA_MIGRATION_[A-Z]+", page.read_text(encoding="utf-8")))
    assert not [name for name in sorted(named) if f'"{name}"' not in code]


@pytest.mark.parametrize(
    ("page", "block"),
    [
        (page, block)
        for page in PAGES
        for language, block in _FENCE.findall(page.read_text("utf-8"))
        if language == "yaml"
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value.splitlines()[0][:40],
)
def test_plans_and_parts_of_plans_in_the_docs_load(page: Path, block: str) -> None:
    """A block without `plan:` shows some keys; the others are taken from a plan that fits any."""
    shown = yaml.safe_load(block)
    if "plan" in shown:
        parse_plan(block, page)
        return
    topics = shown.get("topics", {"include": [".*"]})
    controller = {"kind": "supervisor", "connection": "daemon", "program": "api", "env_file": "api.env"}
    service = {"name": "api", "produces": [topics["include"][0]], "controller": controller}
    rest = {
        "plan": "shown",
        "scheme": "producers_first",
        "source": {"connection": "from"},
        "target": {"connection": "to"},
        "topics": topics,
        "services": [service if topics["include"] != [".*"] else {**service, "produces": ["any"]}],
    }
    parse_plan(yaml.safe_dump({**rest, **shown}), page)


def test_the_plans_page_has_every_key_with_its_type_and_default_and_no_other() -> None:
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    rows = [_cells(line) for head, lines in _tables(page) if head[:3] == ["key", "type", "default"] for line in lines]
    documented = {_bare(row[0]): (row[1].replace("`", ""), _bare(row[2])) for row in rows}
    schema = plan_schema()
    assert documented == dict(_keys(schema, schema, ""))
    assert not [row[0] for row in rows if not row[3]], "a key without a meaning"


def test_the_plans_page_has_every_property_of_the_mirror_with_its_default_and_what_is_set() -> None:
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8")
    rows = [_cells(line) for head, lines in _tables(page) if head[0] == "property" for line in lines]
    documented = {_bare(row[0]): (_bare(row[1]), _bare(row[2])) for row in rows}
    words = {None: "none", "": "empty"}
    assert documented == {
        p.name: (words.get(p.default, p.default), "" if p.ours is None else words.get(p.ours, p.ours))
        for p in PROPERTIES
    }


def test_the_plans_page_lists_all_that_is_refused_with_not_yet() -> None:
    page = (ROOT / "docs/plan.md").read_text(encoding="utf-8").partition("## Not yet")[2]
    refused = {key for keys in NOT_YET_KEYS.values() for key in keys}
    assert set(_SPAN.findall(page)) - {"consumes", "scheme", "approvals", "mirror.kind"} == refused


def test_the_runbook_has_every_finding_that_the_code_can_produce_and_no_other() -> None:
    page = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    documented = {
        _bare(_cells(line)[0]).partition("/")[0]
        for head, lines in _tables(page)
        if head[0] == "finding"
        for line in lines
    }
    assert documented == set(_finding_prefixes())


def test_every_message_that_the_runbook_quotes_is_one_that_the_code_writes() -> None:
    page = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    quoted = {_bare(_cells(line)[0]) for head, lines in _tables(page) if head[0] == "message" for line in lines} | {
        span for span in _SPAN.findall(page) if _ANYTHING in span and " " in span
    }
    written = list(_texts())
    unknown = [message for message in sorted(quoted) if not any(_fits(message, text) for text in written)]
    assert not unknown, "\n".join(unknown)


def _fits(message: str, text: str) -> bool:
    """Whether the parts of the message between what varies stand in the text, in their order."""
    at = 0
    for part in filter(None, (part.strip() for part in message.split(_ANYTHING))):
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


def _texts() -> Iterator[str]:
    """Every text of the code, what varies in it as one sign; texts that are added to one another as one."""
    for file in SOURCES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        yield from (
            _text(node) for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.JoinedStr | ast.Constant)
        )


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else _ANYTHING
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return _ANYTHING


def _finding_prefixes() -> Iterator[str]:
    """What stands before the slash in the id of each `Finding(...)`, and the rules of each suite.

    What varies there is the side.
    """
    yield from (f"{suite.name}-{rule.id}" for suite in (COVERAGE, CONTENT) for rule in suite.rules)  # type: ignore[attr-defined]
    for file in SOURCES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        for call in calls:
            if call.func.id != "Finding" or not call.args:  # type: ignore[attr-defined]
                continue
            prefix, slash, _ = _text(call.args[0]).partition("/")
            if slash and _ANYTHING not in prefix:
                yield prefix
            elif slash and prefix != _ANYTHING:  # where all varies it is a suite's
                yield from (prefix.replace(_ANYTHING, each) for each in Side)


def _keys(schema: dict[str, Any], part: dict[str, Any], path: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every key of the plan that holds a value: its path, its type and its default in words."""
    kinds = [branch["then"] for branch in part.get("allOf", ()) if "then" in branch]
    for owner in (part, *kinds):
        for name, value in owner.get("properties", {}).items():
            key = f"{path}{name}".replace("controller.source.", "controller.SIDE.")
            key = key.replace("controller.target.", "controller.SIDE.")
            key = re.sub(r"clients\.(source|target)$", "clients.SIDE", key)
            inner = _inner(schema, value)
            if inner is not None:
                yield from _keys(schema, inner, f"{key}{'[]' if value.get('type') == 'array' else ''}.")
                continue
            yield key, (_type(value), "required" if name in owner.get("required", ()) else _default(value))
            for alternative in (a for p in value.get("patternProperties", {}).values() for a in p["oneOf"]):
                if "$ref" in alternative:
                    yield from _keys(schema, _resolved(schema, alternative), f"{key}.NAME.")


def _inner(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any] | None:
    """The mapping that a value is, or that the entries of a list are; None for a value by itself."""
    if "$ref" in value:
        return _resolved(schema, value)
    alternatives = [a for a in value.get("anyOf", ()) if a.get("type") != "null"]
    if len(alternatives) == 1 and "$ref" in alternatives[0]:
        return _resolved(schema, alternatives[0])
    return _inner(schema, value["items"]) if value.get("type") == "array" else None


def _resolved(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return found


def _type(value: dict[str, Any]) -> str:
    alternatives = [a for a in value.get("anyOf", ()) if a.get("type") != "null"]
    if len(alternatives) == 1:
        return _type(alternatives[0])
    if alternatives:
        return "size" if "MiB" in str(alternatives) else "duration"
    if "const" in value:
        return str(value["const"])
    if "enum" in value:
        return " or ".join([", ".join(value["enum"][:-1]), value["enum"][-1]])
    if value.get("type") in ("integer", "number"):
        return "number"
    if value.get("type") == "boolean":
        return "boolean"
    if value.get("type") == "array":
        inner = _type(value["items"])
        return f"list of {'texts' if inner == 'text' else inner}"
    if value.get("format") == "date-time":
        return "date-time"
    if "patternProperties" in value:
        return "variables"
    if isinstance(value.get("additionalProperties"), dict):
        return "properties"
    return {"^[a-z0-9][a-z0-9_-]*$": "name", "^[A-Za-z_][A-Za-z0-9_]*$": "variable name"}.get(
        value.get("pattern", ""), "text"
    )


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default == "" and isinstance(default, str):
        return "empty"
    if default is None or default == []:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if _type(value) == "duration":
        unit, seconds = next(
            (u, s) for u, s in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)) if default % s == 0 and default >= s
        )
        return f"{default / seconds:g}{unit}"
    return str(default)


def _tables(page: str) -> Iterator[tuple[list[str], list[str]]]:
    """Every table of a page: the cells of its head, and its lines."""
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        head, _, *lines = table.splitlines()
        yield _cells(head), lines


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _bare(cell: str) -> str:
    return cell.strip("`")


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _spans(page: Path) -> list[str]:
    return _SPAN.findall(_prose(page))


def _code(page: Path) -> list[str]:
    return [block for _, block in _FENCE.findall(page.read_text(encoding="utf-8"))] + _spans(page)


def _anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
