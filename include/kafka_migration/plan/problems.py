"""What is wrong with a part of a plan, in words for the person who wrote it: the key, what was found, what is allowed.

It turns pydantic's errors into such lines. The value of an unknown key is never shown: it may be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kafka_migration.plan.model import NOT_YET_KEYS

_NEEDED = {
    "string_type": "a text is needed",
    "tuple_type": "a list is needed, such as [a, b]",
    "dict_type": "a mapping of keys to values is needed",
    "model_type": "a mapping of keys to values is needed",
    "model_attributes_type": "a mapping of keys to values is needed",
    "bool_type": "true or false is needed",
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "greater_than_equal": "at least {ge} is needed",
    "string_too_short": "it must not be empty",
    "too_short": "at least one is needed",
    "invalid_key": "keys must be texts",
    "string_pattern_mismatch": "allowed are texts that match {pattern}",
    "less_than_equal": "at most {le} is allowed",
    "greater_than": "it must be more than {gt}",
}
_LONGEST = 60
_NAMING = ("name", "group", "finding", "topic")


def problems_of(error: ValidationError, model: type[BaseModel], data: Any) -> list[str]:
    """One line for each thing that pydantic found wrong when it read `data` as `model`."""
    return [line for item in error.errors(include_url=False) for line in _lines(item, model, data)]


def unknown(what: str, name: object, allowed: Iterable[str]) -> str:
    """That `name` is not one of `allowed`, and which of them was probably meant."""
    known = sorted(allowed)
    near = difflib.get_close_matches(str(name), known, n=1)
    meant = f", did you mean {near[0]}?" if near else ""
    return f"unknown {what}{meant} (allowed: {', '.join(known) or 'none'})"


def _lines(item: ErrorDetails, model: type[BaseModel], data: Any) -> list[str]:
    where = ": ".join(_path(item["loc"], data))
    prefix = f"{where}: " if where else ""
    if item["type"] == "value_error":
        return [prefix + line for line in str(item["ctx"]["error"]).splitlines()]
    return [prefix + _problem(item, model)]


def _problem(item: ErrorDetails, model: type[BaseModel]) -> str:
    kind, found = item["type"], item["input"]
    if kind == "missing":
        return "this key is missing"
    if kind == "extra_forbidden":
        owner, key = _model_at(item["loc"][:-1], model), str(item["loc"][-1])
        if key in NOT_YET_KEYS.get(owner.__name__, ()):
            return "not yet: this part does not exist yet"
        return unknown("key", key, owner.model_fields)
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        return unknown(f"value {_shown(found)}", found, allowed)
    needed = _NEEDED.get(kind, item["msg"]).format(**item.get("ctx", {}))
    quote = "; put it in quotes" if kind == "string_type" and isinstance(found, int | float) else ""
    return f"{needed} (found {_shown(found)}){quote}"


def _path(loc: Sequence[int | str], data: Any) -> list[str]:
    """The way to a value; an entry of a list goes by the name that it gives itself."""
    path = []
    for part in loc:
        if isinstance(part, str) and part.startswith(("<", "[")):
            continue  # a mark of the model or of pydantic, not a key
        at = data
        try:
            data = at[part]
        except (KeyError, IndexError, TypeError):
            data = None
        own = [data[k] for k in _NAMING if isinstance(data, dict) and isinstance(data.get(k), str)]
        path.append(str(part) if isinstance(part, str) else own[0] if own else f"item {part + 1}")
    return path


def _model_at(loc: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        model = inner or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
