"""Where the values of settings come from, put together and checked.

The order of precedence is RecBole's: command line > dictionary > files (a later file wins over an earlier one) > defaults. Between files and
defaults stand a recipe, then a protocol (gaterec.bundles), then what a model changes in the general defaults. An unknown name is refused with its
neighbour, a value out of range with the range; nothing is ignored in silence. Text is read as a Python literal or as YAML, never run.
"""

import ast
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gaterec.bundles import KINDS, bundle
from gaterec.errors import SettingsError, short
from gaterec.paths import check_regular, read_text
from gaterec.recbole_keys import REFUSED
from gaterec.section import Section
from gaterec.settings import SHARED_NEGATIVES, Settings, none_word

MAX_CONFIG_BYTES = 1_000_000
"""A settings file larger than this is taken for a mistake (a log given as a config file, say)."""

Source = tuple[str, Mapping[str, Any]]
"""Where settings come from, for messages, and what it says."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, with which a few lines could grow without bound, and without settings that are there twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias: yaml.Event = self.get_event()  # type: ignore[no-untyped-call]
            problem = "aliases such as *name are not read; write the value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=alias.start_mark)  # type: ignore[arg-type]
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        found = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for name, _ in found.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            if (name.tag, name.value) in first:
                problem = f"{short(name.value)} is there twice, first in line {first[name.tag, name.value]}; leave one out"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=name.start_mark)
            first[name.tag, name.value] = name.start_mark.line + 1
        return found


def _load_yaml(text: str) -> Any:
    return yaml.load(text, _PlainLoader)  # noqa: S506 (it is a SafeLoader, and a stricter one)


def parse_value(text: str) -> Any:
    """A value from the command line: a Python literal, else YAML, else the text itself. Nothing is ever run.

    >>> parse_value("[5,10]"), parse_value("0.01"), parse_value("average"), parse_value("{'LS': 'test_only'}")
    ([5, 10], 0.01, 'average', {'LS': 'test_only'})
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    try:
        return _load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        return text


def parse_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings from `--name=value` or `--name value` flags.

    Raises SettingsError for anything that is not such a flag.
    """
    found: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--") or flag == "--":
            hint = f"; did you mean --dataset={flag}?" if Path(flag).suffix else ""
            raise SettingsError(f"command line: expected --name=value, found {flag!r}{hint}")
        name, equals, text = flag[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise SettingsError(f"command line: --{name} has no value; write --{name}=VALUE")
            text = rest.pop(0)
        field = Settings.model_fields.get(name)
        found[name] = text if field is not None and field.annotation is str else parse_value(text)
    return found


def read_small_text(path: Path, what: str) -> str:
    """The text of a file that a person wrote, UTF-8 with or without a byte order mark.

    Raises SettingsError when it can't be read, is larger than MAX_CONFIG_BYTES or is no text.
    """
    try:
        size = check_regular(path).st_size
        if size > MAX_CONFIG_BYTES:
            raise SettingsError(f"{path}: expected a small {what}, found {size:,} bytes")
        return read_text(path, encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: expected UTF-8 text, found byte 0x{error.object[error.start]:02x} at position {error.start}"
        ) from None


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises SettingsError with file and line when it can't be read or is not a mapping of names to values.
    """
    path = Path(path)
    text = read_small_text(path, "YAML file of settings")
    try:
        content = _load_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SettingsError(f"{path}:{line}: expected YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise SettingsError(f"{path}: expected YAML: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise SettingsError(f"{path}: expected lines `name: value`, found {type(content).__name__}")
    return content


def check_dictionary(config_dict: object) -> None:
    """Raise SettingsError when something else stands where a dictionary of settings, or None, should."""
    if config_dict is not None and not isinstance(config_dict, Mapping):
        raise SettingsError(f"config_dict: expected a dictionary of settings, found {type(config_dict).__name__}")


def resolve(
    model_settings: Callable[[str], type[Section]],
    model: str | None = None,
    dataset: str | None = None,
    config_files: Iterable[str | Path] = (),
    config_dict: Mapping[str, Any] | None = None,
    flags: Mapping[str, Any] | None = None,
    models: Iterable[str] = (),
) -> Settings:
    """The settings of a run, put together and checked.

    Args:
        model_settings: gives the class of a model's own settings by the model's name.
        model: the model's name; wins over every other source.
        dataset: the dataset's name; wins over every other source.
        config_files: YAML files, a later one wins over an earlier one.
        config_dict: wins over the files.
        flags: what the command line says (see parse_flags); wins over the dictionary.
        models: all there are; a setting that only others of them have is refused with their names.

    What a recipe or protocol says that any of these names, yields to all of them.

    Raises:
        SettingsError: names the source, the setting, what was expected and what was found.
    """
    sources: list[Source] = [(str(path), read_config_file(path)) for path in config_files]
    sources += [("config_dict", config_dict or {}), ("command line", flags or {})]
    sources += [("arguments", {name: value for name, value in (("model", model), ("dataset", dataset)) if value is not None})]
    return resolve_sources(model_settings, sources, models)


def resolve_sources(model_settings: Callable[[str], type[Section]], sources: Sequence[Source], models: Iterable[str] = ()) -> Settings:
    """The settings that named sources say together, a later one winning over an earlier one; see resolve."""
    values, origin = _layered(sources)
    sources = [*_bundled(values, origin), *sources]
    values, origin = _layered(sources)
    chosen = _name("model", values.get("model", Settings.model_fields["model"].default), origin)
    own = model_settings(chosen)
    _refuse_unknown(values, origin, own, chosen, lambda name: [other for other in models if name in model_settings(other).model_fields])
    usual = Settings.model_fields["loss_type"].default  # files that spell all defaults out say it for every model
    if not own.trained and values.get("loss_type", usual) != usual:
        raise SettingsError(f"{origin['loss_type']}: loss_type: {chosen} is counted and not trained, so no loss fits it; leave it out")
    usually = dict(own.general)
    loss = values.get("loss_type")
    if loss == "CE":
        usually.pop("train_neg_sample_args", None)  # they were for the model's own loss, and CE draws none
    if str(loss) in {"CE", *SHARED_NEGATIVES}:
        usually.pop("negatives_may_be_own", None)  # no negatives, or negatives that a step shares, so that no user's own can be excluded
    values = {**usually, **values}
    general = {name: value for name, value in values.items() if name in Settings.model_fields}
    particular = {name: value for name, value in values.items() if name in own.model_fields}
    try:
        model_part = own(**particular)
        return Settings(**general, model_settings=model_part)
    except ValidationError as error:
        raise SettingsError(describe(error, origin)) from None
    except RecursionError:
        raise SettingsError("settings: nested too deeply") from None


def _layered(sources: Iterable[Source]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the sources say together, a later one winning, and where each value comes from."""
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, content in sources:
        for name, value in content.items():
            values[name], origin[name] = value, source
    return values, origin


def _name(setting: str, value: object, origin: Mapping[str, str]) -> str:
    """The value of a setting that names something."""
    if not isinstance(value, str):
        raise SettingsError(f"{origin[setting]}: {setting}: expected a name, found {short(value)}")
    return value


def _bundled(values: Mapping[str, Any], origin: Mapping[str, str]) -> list[Source]:
    """What the recipe and the protocol stand for that were chosen."""
    found: list[Source] = []
    for kind in KINDS:
        name = none_word(values.get(kind))
        if name is None:
            continue
        content = bundle(kind, _name(kind, name, origin)).settings
        model = content.get("model")
        if model is not None and values.get("model", model) != model:
            raise SettingsError(f"{origin[kind]}: {kind}: {name} is one of {model}, found model {short(values['model'])}; leave either out")
        found.append((f"{kind} {name}", content))
    return found


def _refuse_unknown(
    values: dict[str, Any], origin: dict[str, str], own: type[Section], model: str, owners: Callable[[str], list[str]]
) -> None:
    known = [name for name in Settings.model_fields if name != "model_settings"] + list(own.model_fields)
    for name, value in list(values.items()):
        if name in known:
            continue
        if name in REFUSED:
            harmless, reason = REFUSED[name]
            if value not in harmless and none_word(value) not in harmless:
                raise SettingsError(f"{origin[name]}: {name}: {reason}; leave it out (found {short(value)})")
            del values[name]
            continue
        if theirs := owners(name):
            others = " and ".join(filter(None, [", ".join(theirs[:-1]), theirs[-1]]))
            has = f". {model} has: {', '.join(own.model_fields)}" if own.model_fields else ""
            raise SettingsError(f"{origin[name]}: {name} is a setting of {others}, and {model} does not have it{has}")
        near = difflib.get_close_matches(str(name), [*known, *REFUSED], n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else "`gaterec settings` lists them all."
        raise SettingsError(f"{origin[name]}: {name}: there is no such setting; {hint}")


def describe(error: ValidationError, origin: Mapping[str, str]) -> str:
    """Pydantic's findings, one line each: source: setting: what was expected, what was found."""
    lines = []
    for finding in error.errors(include_url=False):
        where = ".".join(str(part) for part in finding["loc"] if part != "[key]")
        source = origin.get(str(finding["loc"][0]) if finding["loc"] else "", "")
        lines.append(": ".join(part for part in (source, where, _told(finding)) if part))
    return "\n".join(dict.fromkeys(lines))


def _told(finding: ErrorDetails) -> str:
    """What was expected and what was found, in our words where pydantic speaks of its own matters."""
    kind, context = finding["type"], finding.get("ctx", {})
    found = f", found {short(finding['input'])}"
    match kind:
        case "value_error":
            return finding["msg"].removeprefix("Value error, ")
        case "extra_forbidden":
            return f"there is no such setting; `gaterec settings {finding['loc'][0]}` lists them"
        case "missing":
            return "expected a value, found none"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a dictionary{found}"
        case "list_type" | "tuple_type":
            return f"expected a list{found}"
        case "too_short" | "too_long":
            bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
            return f"expected {bound} of them{found}"
        case "string_too_short" | "string_too_long":
            bound = f"at least {context['min_length']}" if kind == "string_too_short" else f"at most {context['max_length']}"
            return f"expected text of {bound} characters{found}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"expected a number {finding['msg'].removeprefix('Input should be ')}{found}"
    return f"expected {finding['msg'].removeprefix('Input should be ')}{found}"
