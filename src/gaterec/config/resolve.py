"""Where the values of settings come from, put together and checked.

The order of precedence is RecBole's: command line > dictionary > files (a later file wins over an earlier one) > defaults. Between files and
defaults stand a recipe, then a protocol (gaterec.config.presets), then what a model changes in the general defaults. An unknown name is refused with its
place, a value out of range with the range; nothing is ignored in silence, and all findings come in one error. Text is read as a Python
literal or as YAML, never run.
"""

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gaterec.config.findings import told
from gaterec.config.loss_names import FULL_LOSSES, SHARED_NEGATIVES
from gaterec.config.paths import check_regular, read_text
from gaterec.config.presets import KINDS, bundle
from gaterec.config.recbole_keys import RECBOLE_MODELS, REFUSED, REPLACED, SYNONYMS, WITHOUT_MEANING, changes_nothing
from gaterec.config.section import Section
from gaterec.config.settings import Data, Environment, Evaluation, Settings, Training, none_word
from gaterec.errors import SettingsError, short

MAX_CONFIG_BYTES = 1_000_000
"""A settings file larger than this is taken for a mistake (a log given as a config file, say)."""

Source = tuple[str, Mapping[str, Any]]
"""Where settings come from, for messages, and what it says."""


class SettingsFile(dict[str, Any]):
    """The settings in a YAML file, by name.

    Attributes:
        lines: name -> its line, counted from 1; nested names are joined by dots: eval_args.order.
        problems: what is wrong in it, with its place, although it can be read.
    """

    def __init__(self, content: Mapping[str, Any], lines: Mapping[str, int], problems: Sequence[str] = ()) -> None:
        super().__init__(content)
        self.lines, self.problems = lines, problems

    def only(self, names: Iterable[str]) -> "SettingsFile":
        """The settings of these names alone."""
        return SettingsFile({name: self[name] for name in names}, self.lines, self.problems)


# -- text -------------------------------------------------------------------------------------------------------------------------

_UNREADABLE = (ValueError, TypeError, AttributeError, IndexError, OverflowError)
"""What PyYAML raises besides its own errors for values such as the date 2024-13-01."""


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, with which a few lines could grow without bound.

    Attributes:
        repeated: (name, line, line of the first) of names that stand twice in one mapping with different values.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.repeated: list[tuple[str, int, int]] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias: yaml.Event = self.get_event()  # type: ignore[no-untyped-call]
            problem = "aliases such as *name are not read; write the value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=alias.start_mark)  # type: ignore[arg-type]
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        found = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], tuple[yaml.Node, yaml.Node]] = {}
        for name, value in found.value:
            if isinstance(name, yaml.ScalarNode):
                before, other = first.setdefault((name.tag, name.value), (name, value))
                if not _same(other, value):
                    self.repeated.append((name.value, name.start_mark.line + 1, before.start_mark.line + 1))
        return found

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _UNREADABLE:
            raise yaml.MarkedYAMLError(problem="the value can't be read; put quotes around text", problem_mark=node.start_mark) from None


def _same(one: yaml.Node, other: yaml.Node) -> bool:
    if one.tag != other.tag or type(one) is not type(other):
        return False
    if isinstance(one, yaml.ScalarNode):
        return bool(one.value == other.value)
    pairs = list(zip(one.value, other.value, strict=False))
    if isinstance(one, yaml.MappingNode):
        pairs = [pair for (name, value), (name2, value2) in pairs for pair in ((name, name2), (value, value2))]
    return len(one.value) == len(other.value) and all(_same(*pair) for pair in pairs)


def _load_yaml(text: str) -> tuple[Any, SettingsFile]:
    """What the text says, and an empty SettingsFile with its lines and with a problem for each name that stands twice."""
    loader = _PlainLoader(text)
    try:
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
        problems = [
            f"{line}: {short(name)} is there twice, first in line {first} with another value; leave one out"
            for name, line, first in loader.repeated
        ]
        return content, SettingsFile({}, dict(_lines(node)), problems)
    finally:
        loader.dispose()


def _lines(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    """The dotted names in a mapping, and their lines."""
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(name, yaml.ScalarNode):
            yield prefix + name.value, name.start_mark.line + 1
            yield from _lines(value, f"{prefix}{name.value}.")


def parse_value(text: str) -> Any:
    """A value from text: a Python literal, else YAML, else the text itself. Nothing is ever run.

    >>> parse_value("[5,10]"), parse_value("0.01"), parse_value("average"), parse_value("{'LS': 'test_only'}")
    ([5, 10], 0.01, 'average', {'LS': 'test_only'})
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        pass
    try:
        content, read = _load_yaml(text)
    except (yaml.YAMLError, RecursionError, *_UNREADABLE):
        return text
    return text if read.problems else content


def read_value(name: str, value: Any, kind: Any = None) -> Any:
    """The value of a setting in which text that is written as a literal is read as one, wherever it came from.

    >>> read_value("topk", "[5,10]"), read_value("dataset", "123"), read_value("eval_args", "{'order': 'TO'}")
    ([5, 10], '123', {'order': 'TO'})

    Args:
        name: the setting; the text of a setting that is text, or a list of words with commas between them, stays text, but for quotes
            around all of it. None and null are None.
        kind: its type; by default that of the general setting of this name.
    """
    if kind is None:
        kind = Settings.model_fields[name].annotation if name in Settings.model_fields else Any
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, str):
        if str in kinds:
            if value.strip() in ("None", "null"):
                return None
            quoted = re.fullmatch(r"""\s*(?:'[^']*'|"[^"]*")\s*""", value)
            return parse_value(value) if quoted else value
        if list[str] in kinds and not value.lstrip().startswith("["):
            return value
        value = parse_value(value)
    if isinstance(value, Mapping):
        section = next((one for one in kinds if isinstance(one, type) and issubclass(one, Section)), None)
        fields = section.model_fields if section else {}
        of_all = next((get_args(one)[1] for one in kinds if get_origin(one) is dict), None)
        inner = {key: field.annotation for key, field in fields.items()}
        return {key: read_value("", one, inner.get(key, of_all) or Any) if section or of_all else one for key, one in value.items()}
    return value


def parse_flags(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings from `--name=value` or `--name value` flags.

    Raises SettingsError for anything that is not such a flag, and for a flag that is there twice with different values.
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
        value = read_value(name, text)
        if name in found and (found[name] != value or type(found[name]) is not type(value)):
            raise twice(name, found[name], value)
        found[name] = value
    return found


def twice(name: str, first: object, second: object) -> SettingsError:
    """The error of a flag that is there twice."""
    return SettingsError(f"command line: --{name} is there twice, with {short(first)} and with {short(second)}; leave one out")


# -- files ------------------------------------------------------------------------------------------------------------------------


def read_small_text(path: Path, what: str) -> str:
    """The text of a file that a person wrote, UTF-8 with or without a byte order mark.

    Raises SettingsError when it can't be read, is larger than MAX_CONFIG_BYTES or is not text.
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


def read_settings_file(path: str | Path) -> SettingsFile:
    """The settings in a YAML file, with their lines, and with the names that stand twice as its problems.

    Raises SettingsError with file and line when it can't be read or is not a mapping of names to values.
    """
    path = Path(path)
    text = read_small_text(path, "YAML file of settings")
    try:
        content, read = _load_yaml(text)
    except yaml.YAMLError as error:
        line, problem = _yaml_fault(text, error)
        raise SettingsError(f"{path}:{line}: expected YAML: {problem}") from None
    except RecursionError:
        raise SettingsError(f"{path}: expected YAML: it is nested too deeply") from None
    if content is None:
        return SettingsFile({}, {})
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        found = "a list" if isinstance(content, list) else "names that are no text" if isinstance(content, dict) else short(content)
        raise SettingsError(f"{path}: expected lines `name: value`, found {found}")
    return SettingsFile(content, read.lines, [f"{path}:{problem}" for problem in read.problems])


def read_config_file(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises SettingsError as read_settings_file does, and for names that stand twice with different values.
    """
    found = read_settings_file(path)
    if found.problems:
        raise SettingsError("\n".join(found.problems))
    return found


_INTERVAL = re.compile(r"([\w.-]+):\s*([\[(]\s*[\w.+-]+\s*,\s*[\w.+-]+\s*[\])].*?)\s*(?:[}#].*)?$")
_CLOSES = {"[": yaml.FlowSequenceEndToken, "{": yaml.FlowMappingEndToken}


def _yaml_fault(text: str, error: yaml.YAMLError) -> tuple[int, str]:
    """The line of the fault, which is often not the one where the parser noticed it, and what is wrong there."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"found a character that YAML does not allow, {error.character!r:.20}; leave it out"
    assert isinstance(error, yaml.MarkedYAMLError)
    noticed = error.problem_mark or error.context_mark
    where, problem, context = noticed, str(error.problem), str(error.context)
    opened, quote = _left_open(text, noticed.index if noticed else len(text))
    if "quoted scalar" in context and "end of" in problem:
        where, problem = error.context_mark, "the quote that opens here is not closed"
    elif isinstance(error, yaml.constructor.ConstructorError):
        problem = "tags such as !!name are not read, nor lists as names; write a plain value"
    elif isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
        if opened is not None:
            where, problem = opened.start_mark, f"the {text[opened.start_mark.index]} that opens here is not closed"
        elif quote is not None:
            where, problem = quote.start_mark, f"the quote that opens here is closed in line {quote.end_mark.line + 1} only"
        elif "simple key" in context:
            where, problem = error.context_mark, "expected `name: value`"
        elif "cannot start any token" in problem:
            problem = "tabs don't indent; use spaces, and put quotes around text that begins with a sign"
        elif "mapping values" in problem and (start := _unnamed(text, noticed.index if noticed else 0)) is not None:
            where, problem = start, "expected `name: value`, found no colon"
        elif "mapping values" in problem:
            problem = "expected one `name: value` in a line, indented as the lines around it; put quotes around text with a colon"
        else:
            problem = "the line does not fit those before it; look at its indentation, brackets and quotes"
    elif isinstance(error, yaml.composer.ComposerError):
        problem = "expected one document; leave out the second ---"
    line = where.line if where else 0
    source = text.splitlines()[line] if line < len(text.splitlines()) else ""
    if interval := _INTERVAL.search(source):
        problem += f"; an interval needs quotes: {interval[1]}: '{interval[2]}'"
    return line + 1, problem


def _unnamed(text: str, end: int) -> yaml.Mark | None:
    """The start of a line without a colon, which the parser reads as one text with the line at `end`."""
    start = None
    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            if isinstance(token, yaml.ScalarToken) and token.style is None and token.start_mark.line < token.end_mark.line:
                line = text.splitlines()[token.start_mark.line]
                start = token.start_mark if not line[: token.start_mark.column].strip() else None
    except yaml.YAMLError:
        pass
    return start if start is not None and start.line < text.count("\n", 0, end) else None


def _left_open(text: str, end: int) -> tuple[yaml.Token | None, yaml.Token | None]:
    """The bracket that is not closed before the parser gave up at `end`, and the quoted text that runs over several lines into it."""
    opened: list[yaml.Token] = []
    quote = None
    try:
        for token in yaml.scan(text, yaml.SafeLoader):
            if token.start_mark.index > end:
                break
            if isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                opened.append(token)
            elif isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken) and opened:
                if not isinstance(token, _CLOSES[text[opened[-1].start_mark.index]]):
                    return opened[-1], None
                opened.pop()
            elif isinstance(token, yaml.ScalarToken) and token.style in ("'", '"') and token.start_mark.line < token.end_mark.line:
                quote = token
    except yaml.YAMLError:
        pass
    ended_there = quote is not None and quote.end_mark.line >= text.count("\n", 0, end) - 1
    return (opened[0] if opened else None), (quote if ended_there else None)


def check_dictionary(config_dict: object) -> None:
    """Raise SettingsError when something else stands where a dictionary of settings, or None, should."""
    if config_dict is not None and not isinstance(config_dict, Mapping):
        raise SettingsError(f"config_dict: expected a dictionary of settings, found {type(config_dict).__name__}")


# -- all sources together ---------------------------------------------------------------------------------------------------------


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
    sources: list[Source] = [(str(path), read_settings_file(path)) for path in config_files]
    sources += [("config_dict", config_dict or {}), ("command line", flags or {})]
    sources += [("arguments", {name: value for name, value in (("model", model), ("dataset", dataset)) if value is not None})]
    return resolve_sources(model_settings, sources, models)


def resolve_sources(model_settings: Callable[[str], type[Section]], sources: Sequence[Source], models: Iterable[str] = ()) -> Settings:
    """The settings that named sources say together, a later one winning over an earlier one; see resolve. All findings are in one error."""
    problems = [problem for _, content in sources if isinstance(content, SettingsFile) for problem in content.problems]
    values, origin = _layered(sources)
    values, origin = _layered([*_bundled(values, origin, problems), *sources])
    if values.get("TIME_FIELD", "") is None:
        usual = Settings.model_fields["TIME_FIELD"].default
        problems.append(
            f"{origin['TIME_FIELD']}: TIME_FIELD: expected the name of a column, found None; leave TIME_FIELD out: events are in the order of the "
            f"file where the log has no column {usual}, so give a log without it to take that order"
        )
        del values["TIME_FIELD"]
    for name in [name for name in ("model", *KINDS) if not isinstance(values.get(name, ""), str | None)]:
        problems.append(f"{origin[name]}: {name}: expected a name, found {short(values.pop(name))}")
    own = _own(model_settings, values, origin, models, problems)
    problems += _unknown(
        values, origin, own, lambda name: [other for other in models if name in model_settings(other).model_fields], bool(models)
    )
    usual = Settings.model_fields["loss_type"].default  # files that spell all defaults out say it for every model
    if own is not None and not own.trained and values.get("loss_type", usual) != usual:
        problems.append(f"{origin['loss_type']}: loss_type: {_chosen(values)} is counted and not trained, so no loss fits it; leave it out")
    usually = dict(own.general) if own is not None else {}
    loss = values.get("loss_type")
    if str(loss) in FULL_LOSSES:
        usually.pop("train_neg_sample_args", None)  # they were for the model's own loss, and this one draws none
    if str(loss) in FULL_LOSSES or str(loss) in SHARED_NEGATIVES:
        usually.pop("negatives_may_be_own", None)  # no negatives, or negatives that a step shares, so that no user's own can be excluded
    values = {**usually, **values}
    general = {name: value for name, value in values.items() if name in Settings.model_fields and name != "model_settings"}
    found = model_part = None
    try:
        model_part = None if own is None else own(**{name: value for name, value in values.items() if name in own.model_fields})
    except (ValidationError, RecursionError) as error:
        problems.append(describe(error, origin))
    try:
        found = Settings(**general, model_settings=model_part)
    except (ValidationError, RecursionError):
        for part in (
            Environment,
            Data,
            Training,
            Evaluation,
        ):  # one by one, as a value that is wrong by itself ends the checks of values that must fit each other
            try:
                part(**{name: value for name, value in general.items() if name in part.model_fields})
            except (ValidationError, RecursionError) as error:
                problems.append(describe(error, origin))
    if problems or found is None:
        raise SettingsError("\n".join(_in_order(problems, [source for source, _ in sources])))
    return found


def _in_order(problems: Iterable[str], sources: Sequence[str]) -> list[str]:
    """The lines of all problems: by source, and by line in a file."""

    def place(line: str) -> tuple[int, int]:
        for number, source in enumerate(sources):
            if line.startswith(f"{source}:"):
                in_file = re.match(r"(\d+):", line[len(source) + 1 :])
                return number, int(in_file[1]) if in_file else 0
        return -1, 0

    return sorted(dict.fromkeys(line for problem in problems for line in problem.split("\n")), key=place)


def _layered(sources: Iterable[Source]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the sources say together, a later one winning, and where each value comes from: also of nested ones, by dotted names.

    Null for a setting that is text says nothing, but for TIME_FIELD.
    """
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, content in sources:
        lines = content.lines if isinstance(content, SettingsFile) else {}
        for name, value in content.items():
            value = read_value(name, value)
            field = Settings.model_fields.get(name)
            if value is None and field is not None and field.annotation is str and name != "TIME_FIELD":
                continue
            values[name] = value
            origin = {key: place for key, place in origin.items() if not key.startswith(f"{name}.")}
            origin[name] = f"{source}:{lines[name]}" if name in lines else source
            origin |= {key: f"{source}:{line}" for key, line in lines.items() if key.startswith(f"{name}.")}
    return values, origin


def _chosen(values: Mapping[str, Any]) -> Any:
    return values.get("model", Settings.model_fields["model"].default)


def _own(
    model_settings: Callable[[str], type[Section]],
    values: Mapping[str, Any],
    origin: Mapping[str, str],
    models: Iterable[str],
    problems: list[str],
) -> type[Section] | None:
    """The class of the chosen model's own settings; None where there is no such model, which is told."""
    chosen = _chosen(values)
    try:
        if chosen in RECBOLE_MODELS:
            known = ", ".join(models) or "`gaterec models` lists them"
            raise SettingsError(f"model: {chosen} is one of RecBole's models that gaterec does not have; known: {known}")
        return model_settings(chosen)
    except SettingsError as error:
        place = origin.get("model", "arguments")
        problems.append(str(error) if place == "arguments" else f"{place}: {error}")
        return None


def _bundled(values: Mapping[str, Any], origin: Mapping[str, str], problems: list[str]) -> list[Source]:
    """What the recipe and the protocol stand for that were chosen; those that can't be are told."""
    found: list[Source] = []
    for kind in KINDS:
        name = none_word(values.get(kind))
        if not isinstance(name, str):
            continue
        try:
            content = bundle(kind, name).settings
        except SettingsError as error:
            problems.append(str(error))
            continue
        model = content.get("model")
        if model is not None and values.get("model", model) != model:
            problems.append(f"{origin[kind]}: {kind}: {name} is one of {model}, found model {short(values['model'])}; leave either out")
        else:
            found.append((f"{kind} {name}", content))
    return found


def _unknown(
    values: dict[str, Any], origin: Mapping[str, str], own: type[Section] | None, owners: Callable[[str], list[str]], judged: bool
) -> list[str]:
    """A line for each setting that there is not; those that change nothing are taken out of the values.

    Without a model its own settings can't be told from those that no model has, unless all models are known (judged).
    """
    given, problems = dict(values), []
    mine = list(own.model_fields) if own is not None else []
    general = [name for name in Settings.model_fields if name != "model_settings"]
    for name, value in given.items():
        if name in general or name in mine:
            continue
        del values[name]
        theirs = owners(name)
        if changes_nothing(name, value) or (own is None and (theirs or not judged)):
            continue
        problems.append(f"{origin[name]}: {_place_of(name, given, [*general, *mine], mine, theirs, origin[name] == 'command line')}")
    return problems


def _place_of(name: str, given: Mapping[str, Any], known: Sequence[str], mine: Sequence[str], theirs: Sequence[str], as_flag: bool) -> str:
    """What to say of a setting that there is not, or not for this model."""
    found = f" (found {short(given[name])})"
    if refused := REFUSED.get(name) or WITHOUT_MEANING.get(name):
        return f"{name}: {refused.reason}; leave it out{found}"
    if replaced := REPLACED.get(name):
        value = replaced.value(given)
        written = f'--{replaced.setting}="{value}"' if as_flag else f"{replaced.setting}: {value!r}"
        return f"{name}: belongs in {replaced.setting}; write {written}{found}"
    similar = next((one for one in SYNONYMS.get(str(name).lower(), ()) if one in known), None)
    if theirs:
        others = " and ".join(filter(None, [", ".join(theirs[:-1]), theirs[-1]]))
        has = f". {_chosen(given)} has: {', '.join(mine)}" if mine else ""
        return (
            f"{name} is a setting of {others}, and {_chosen(given)} does not have it{has}{f'; did you mean {similar}?' if similar else ''}"
        )
    if similar is None:
        by_lower = {one.lower(): one for one in known}
        near = difflib.get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.82)
        similar = by_lower[near[0]] if near and near[0][0] == name.lower()[0] else None
    hint = f"did you mean {similar}?" if similar else "`gaterec settings` lists them all."
    return f"{name}: there is no such setting; {hint}"


def describe(error: ValidationError | RecursionError, origin: Mapping[str, str]) -> str:
    """Pydantic's findings, one line each: source: setting: what was expected, what was found.

    Args:
        origin: setting -> where its value comes from; a nested one's place is that of the innermost dictionary that it is known of.
    """
    if isinstance(error, RecursionError):
        return "settings: nested too deeply"
    lines: dict[str, None] = {}
    of_unions: set[tuple[str, ...]] = set()
    for finding in error.errors(include_url=False):
        parts = [str(part) for part in finding["loc"] if re.fullmatch(r"[^\[\]]+", str(part))]  # not [key], nor list[str] of a union
        if len(parts) < len(finding["loc"]):  # the first of the forms that a value may have is the usual one
            if tuple(parts) in of_unions:
                continue
            of_unions.add(tuple(parts))
        text = _told(finding)
        if not parts and (about := re.match(r"(\w+)(?:\.\w+)*: ", text)):  # what is said of several settings begins with one of them
            source = origin.get(about[1], "")
        else:
            source = next((origin[name] for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in origin), "")
        lines[": ".join(part for part in (source, ".".join(parts), text) if part)] = None
    return "\n".join(lines)


def _told(finding: ErrorDetails) -> str:
    """What was expected and what was found; of a name that is unknown what to do."""
    if finding["type"] == "extra_forbidden":
        *outside, name = map(str, finding["loc"])
        if outside and name in Settings.model_fields:
            return f"is a setting of its own; write {name}: {short(finding['input'])} beside {outside[0]}"
        return f"there is no such setting; `gaterec settings {finding['loc'][0]}` lists them"
    return told(finding)
