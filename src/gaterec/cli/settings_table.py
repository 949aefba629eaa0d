"""The settings as rows of a table: for `gaterec settings`, and for docs/settings.md, which is generated from it."""

import difflib
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from gaterec.config.section import Section
from gaterec.config.settings import Data, Environment, Evaluation, Training
from gaterec.errors import SettingsError
from gaterec.models import MODELS, model_class

GROUPS: dict[str, type[Section]] = {"Environment": Environment, "Data": Data, "Training": Training, "Evaluation": Evaluation}
Row = tuple[str, str, str, str]


def rows_of(section: type[Section], prefix: str = "") -> Iterator[Row]:
    """(name, type, default, meaning) of every setting of a section; those of a dictionary are named after it: eval_args.order."""
    for name, field in section.model_fields.items():
        inner = _inner_section(field)
        yield prefix + name, _type_name(field.annotation), _default(field), field.description or ""
        if inner is not None:
            yield from rows_of(inner, f"{prefix}{name}.")


def rows_for(name: str | None) -> list[Row]:
    """The settings that a name means: a model's own, one setting, or all general ones.

    Raises:
        SettingsError: there is neither such a model nor such a setting.
    """
    general = [row for section in GROUPS.values() for row in rows_of(section)]
    if name is None:
        return general
    if name in MODELS:
        return list(rows_of(model_class(name).Settings))
    everything = general + [row for model in MODELS for row in rows_of(model_class(model).Settings)]
    found = [row for row in everything if row[0] == name or row[0].startswith(f"{name}.")]
    if not found:
        near = difflib.get_close_matches(name, [row[0] for row in everything] + list(MODELS), n=1)
        hint = f"did you mean {near[0]}?" if near else "`gaterec settings` lists them all."
        raise SettingsError(f"settings: there is no model or setting {name!r}; {hint}")
    return list(dict.fromkeys(found))


def _inner_section(field: FieldInfo) -> type[Section] | None:
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "must be given"
    if isinstance(value, Section):
        return "see below"
    return repr(value) if isinstance(value, str) else "null" if value is None else str(list(value) if isinstance(value, tuple) else value)


def _type_name(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join("null" if part is type(None) else _type_name(part) for part in arguments)
    if origin in (list, tuple):
        return f"list of {_type_name(arguments[0])}"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, Section)):
        return "dict"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true | false"}.get(getattr(kind, "__name__", ""), "any")
