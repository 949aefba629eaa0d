"""What pydantic finds wrong with a value, in the words of messages."""

from collections.abc import Mapping
from typing import Any

from gaterec.errors import short

_COMPLETE = {"value_error", "extra_forbidden", "missing", "json_invalid"}
"""Findings whose words say already what was found."""


def told(finding: Mapping[str, Any], values: bool = True) -> str:
    """What was expected and what was found.

    Args:
        finding: one of pydantic's `errors()`.
        values: whether lists and dictionaries are shown too, which takes as long as they are.

    >>> told({"type": "int_type", "input": "many", "msg": "Input should be a valid integer"})
    "expected a whole number, found 'many'"
    """
    expected, given = _expected(finding), finding.get("input")
    shown = finding["type"] not in _COMPLETE and (values or isinstance(given, str | int | float | None))
    text = f"{expected}, found {short(given)}" if shown else expected
    wants_list = finding["type"] in ("list_type", "tuple_type") and isinstance(given, str)
    return f"{text}; write {short([given])}" if wants_list else text


def _expected(finding: Mapping[str, Any]) -> str:
    kind, context, message = finding["type"], finding.get("ctx", {}), str(finding["msg"])
    match kind:
        case "value_error":
            return message.removeprefix("Value error, ")
        case "extra_forbidden":
            return "there is no such field; leave it out"
        case "missing":
            return "expected a value, found none"
        case "json_invalid":
            return "expected JSON, found text that is malformed or ends too early"
        case "bool_parsing" | "bool_type":
            return "expected true or false"
        case "int_type" | "int_parsing" | "int_parsing_size" | "int_from_float":
            return "expected a whole number"
        case "float_type" | "float_parsing":
            return "expected a number"
        case "string_type" | "string_unicode":
            return "expected text"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "expected a dictionary"
        case "list_type" | "tuple_type":
            return "expected a list"
        case "too_short" | "too_long":
            return f"expected {_bound(kind, context)} of them"
        case "string_too_short" | "string_too_long":
            return f"expected text of {_bound(kind, context)} characters"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"expected a number {message.removeprefix('Input should be ')}"
    return f"expected {message.removeprefix('Input should be ')}"


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    return f"at least {context['min_length']}" if kind.endswith("short") else f"at most {context['max_length']}"
