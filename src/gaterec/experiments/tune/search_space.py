"""What a search for settings tries: a hyper.test file of RecBole's, a YAML file, or a dictionary.

hyper.test has one setting a line, in one of five forms, of which the last is not RecBole's:

    learning_rate choice [0.01,0.001]                                  # any of these
    reg_weight choice ['[0.00,0.00]','[0.001,0.00001]']                # quoted values are read too
    dropout uniform 0,0.5                                              # any number between the two
    embedding_size quniform 16,128,16                                  # the multiples of 16 between the two
    weight_decay loguniform -12,-4                                     # from exp(-12) to exp(-4), evenly on the logarithmic scale
    learning_rate loguniform_values 0.0001,0.01                        # the same scale, with the ends themselves

RecBole runs such values with `eval`; here they are read as literals, never run. What RecBole skips in silence (a line that it can't read, the first of
two lines about one setting) is refused.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gaterec.config.resolve import parse_value, read_config_file, read_small_text
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError, nearest, short

FORMS = {
    "choice": "[a,b,...]",
    "uniform": "low,high",
    "quniform": "low,high,q",
    "loguniform": "ln(low),ln(high)",
    "loguniform_values": "low,high",
}
"""The forms and what follows each."""
EXPECTED = "expected " + " or ".join(f"`{form} {content}`" for form, content in FORMS.items())
MOST_STEPS = 10_000_000
"""No multiple of q has a larger factor: Optuna tells multiples apart by their quotient in floating point."""
LONGEST_NAME = 200
LARGEST_EXPONENT = math.log(1e308)
HERE = "search space"
"""Where a setting stands that stands in no file, for messages."""


@dataclass(frozen=True)
class Choice:
    """Any of a few values.

    Attributes:
        name: the setting.
        values: as the setting takes them: None, truth values, numbers, text, lists and dictionaries of these. No two are alike in JSON.
    """

    name: str
    values: tuple[Any, ...]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The text of each value, which reads back as the value; no two are equal."""
        return tuple(_label(value) for value in self.values)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.values)

    def at(self, index: int) -> Any:
        """The value at a place, 0 to size - 1."""
        return self.values[index]

    def value(self, label: object) -> Any:
        """The value behind a label. Raises SettingsError where there is none."""
        if label not in self.labels:
            raise _not_in(self, label)
        return self.values[self.labels.index(str(label))]

    def param(self, value: object) -> str:
        """The label of a value, or else of one that is equal to it (of 0 for 0.0). Raises SettingsError where there is none."""
        with suppress(ValueError):
            plain = _plain(value)
            if (label := _label(plain)) in self.labels:
                return label
            if plain in self.values:
                return self.labels[self.values.index(plain)]
        raise _not_in(self, value)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, which count in.

    Attributes:
        name: the setting.
        low, high: the ends, low < high; where there is a step, multiples of it.
        step: the distance between neighbours; None for any number between the ends.
        log: drawn evenly on the logarithmic scale; has no step.
        exponents: the natural logarithms of the ends, as they were written; None without log, or where the ends were written.
    """

    name: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    exponents: tuple[float, float] | None = None

    @property
    def size(self) -> int | None:
        """How many numbers there are; None without a step."""
        return None if self.step is None else len(_multiples(self.low, self.high, self.step))

    def at(self, index: int) -> float:
        """The number so many steps above the lowest, 0 to size - 1: whole where the step is, and 0.3 where 0.1 * 3 is not."""
        assert self.step is not None
        step = _exact(self.step)
        number = _multiples(self.low, self.high, self.step)[index] * step
        return number.numerator if step.denominator == 1 else float(number)

    def value(self, number: object) -> float:
        """The number itself; with a step, the nearest that there is, exact. Raises SettingsError outside of the ends."""
        inside = self._inside(number)
        if self.step is None:
            return inside
        return self.at(round(_exact(inside) / _exact(self.step)) - _multiples(self.low, self.high, self.step)[0])

    def param(self, value: object) -> float:
        """The same number; with a step, it must be one of its multiples. Raises SettingsError for any other."""
        inside, number = self._inside(value), float(self.value(value))
        if self.step is not None and abs(inside - number) > 1e-6 * self.step:
            raise _not_in(self, value)
        return number

    def _inside(self, given: object) -> float:
        """A number of the range; what rounding carried over an end is put back."""
        number, slack = math.nan, 1e-9 * (self.high - self.low)
        with suppress(OverflowError):
            number = float(given) if isinstance(given, Real) and not isinstance(given, bool) else math.nan
        if not self.low - slack <= number <= self.high + slack:
            raise _not_in(self, given)
        return min(max(number, self.low), self.high)


Dimension = Choice | Range


@dataclass(frozen=True)
class Space:
    """All that is searched.

    Attributes:
        dimensions: one for each setting, in the order in which they were written.
        places: setting -> the file:line where it was written, for messages; empty for a space that is in no file.
    """

    dimensions: tuple[Dimension, ...]
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def where(self, name: str) -> str:
        """Where a setting of the space was written, and its name, for messages."""
        return f"{self.places.get(name, HERE)}: {name}"

    @property
    def names(self) -> list[str]:
        """The searched settings."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def size(self) -> int | None:
        """How many points the grid has; None where a dimension is continuous."""
        sizes = [dimension.size for dimension in self.dimensions]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    def points(self) -> Iterator[dict[str, Any]]:
        """The grid, one point at a time, each a dictionary of settings; the last dimension varies fastest.

        Raises:
            SettingsError: a dimension is continuous, so there is no grid.
        """
        size = self.size
        if size is None:
            endless = next(dimension for dimension in self.dimensions if dimension.size is None)
            raise SettingsError(
                f"{self.where(endless.name)}: expected a choice or a quniform, as a grid has all points, found {_written(endless)}; "
                f"write one of these, or draw points at random"
            )
        return (self.point(number) for number in range(size))

    def point(self, number: int) -> dict[str, Any]:
        """A point of the grid by its place in it, 0 to size - 1."""
        found: dict[str, Any] = {}
        for dimension in reversed(self.dimensions):
            assert dimension.size is not None
            number, index = divmod(number, dimension.size)
            found[dimension.name] = dimension.at(index)
        return {name: found[name] for name in self.names}

    def distributions(self) -> dict[str, Any]:
        """The space in Optuna's terms, setting -> optuna.distributions.BaseDistribution; a choice is one of labels, as Optuna stores scalars alone."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        return {
            dimension.name: CategoricalDistribution(dimension.labels)
            if isinstance(dimension, Choice)
            else FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
            for dimension in self.dimensions
        }

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Settings from what Optuna stores, in the order of the space. Numbers in steps are exact: 0.3 and not 0.1 * 3; whole steps give int.

        Raises:
            SettingsError: these are not of this space.
        """
        return {dimension.name: dimension.value(params[dimension.name]) for dimension in self._dimensions(params)}

    def params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna stores, from settings; the inverse of `values`.

        Raises:
            SettingsError: these are not of this space.
        """
        return {dimension.name: dimension.param(values[dimension.name]) for dimension in self._dimensions(values)}

    def as_json(self) -> dict[str, Any]:
        """What identifies the space, in the form of a dictionary that read_space reads: setting -> {form: what follows it}."""
        return {dimension.name: _as_json(dimension) for dimension in self.dimensions}

    def _dimensions(self, given: Mapping[str, Any]) -> list[Dimension]:
        """Those that are given, all of which must be of this space."""
        for name in given:
            if name not in self.names:
                raise SettingsError(f"{HERE}: {name} is not searched; searched are {', '.join(self.names)}")
        return [dimension for dimension in self.dimensions if dimension.name in given]


# -- reading ----------------------------------------------------------------------------------------------------------------------


def read_space(source: str | Path | Mapping[str, Any]) -> Space:
    """The space that a file or a dictionary describes.

    Args:
        source: the path of a file in hyper.test's form or in YAML, told apart by content; or a dictionary, from a setting to a list (a choice), to
            {"choice": [...]}, {"uniform": [low, high]}, {"quniform": [low, high, q]}, {"loguniform": [ln(low), ln(high)]} or
            {"loguniform_values": [low, high]}, or to the text of hyper.test ("uniform 0,0.5"); or RecBole's params_dict, from the forms to settings.
            YAML files hold such a dictionary.

    Text in a choice that spells a number, a list, a dictionary, None or a truth value means that value, unless the setting is text. Of equal values in a choice
    (equal in JSON) one is kept. quniform takes the multiples of q that lie between the two ends; hyperopt, below RecBole, rounds numbers
    between them to multiples, which may lie just outside.

    Raises:
        SettingsError: it can't be read, or makes no space; says where, what was expected and what was found.
    """
    try:
        if isinstance(source, Mapping):
            return _space(HERE, _entries(lambda *names: ": ".join([HERE, *names[:-1]]), source))
        if not isinstance(source, str | Path):
            raise SettingsError(f"{HERE}: expected the path of a file or a dictionary, found {short(source)}")
        path = Path(source)
        text = read_small_text(path, "file of settings to search")
        if not _is_yaml(path, text):
            return _space(str(path), _lines(path, text))
        content, lines = read_config_file(path), _yaml_lines(text)
        return _space(str(path), _entries(lambda *names: f"{path}:{lines.get(names, 1)}", content))
    except RecursionError:
        raise SettingsError(f"{HERE if isinstance(source, Mapping) else source}: values are nested too deeply") from None


class _Entry(NamedTuple):
    """A setting as it was written."""

    place: str
    """file:line, or where else it stands."""
    name: str
    form: str
    content: object

    @property
    def where(self) -> str:
        return f"{self.place}: {self.name}"


_LINE = re.compile(rf"(\w{{1,{LONGEST_NAME}}})\s+(\w+)\s*(.*)", re.DOTALL)
_TEXT_FORM = re.compile(r"\s*(\w+)\s*(.*)", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[\[\](){},:])|(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<plain>[^\s\[\](){},:'"#]+))""", re.DOTALL
)
_BARE_WORD = re.compile(r"[^\W\d][\w.@+/-]*")
_WORDS = {"true": "True", "false": "False", "null": "None", "True": "True", "False": "False", "None": "None"}


def _is_yaml(path: Path, text: str) -> bool:
    """Whether a file is YAML, whatever its name: its first line that says something begins with `name:` or a brace, and not with `name form`."""
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and not line.startswith(("#", "---", "%"))), "")
    if re.match(r"\w+[ \t]+\w", first):
        return False
    return path.suffix.lower() in {".yaml", ".yml"} or re.match(r"""\{|["']?\w+["']?\s*:(\s|$)""", first) is not None


def _yaml_lines(text: str) -> dict[tuple[str, ...], int]:
    """Where the names of a YAML mapping stand: (setting,) or (form, setting) -> line, from 1."""
    lines: dict[tuple[str, ...], int] = {}
    root = yaml.compose(text, yaml.SafeLoader)
    for outer, inner in root.value if isinstance(root, yaml.MappingNode) else ():
        lines[(outer.value,)] = outer.start_mark.line + 1
        if isinstance(inner, yaml.MappingNode):
            lines |= {(outer.value, name.value): name.start_mark.line + 1 for name, _ in inner.value if isinstance(name, yaml.ScalarNode)}
    return lines


def _lines(path: Path, text: str) -> Iterator[_Entry]:
    """The lines of a file in hyper.test's form."""
    for number, line in enumerate(text.split("\n"), start=1):
        place, line = f"{path}:{number}", line.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise SettingsError(f"{place}: expected a setting and its form, found {short(line)}; {EXPECTED} after the setting's name")
        name, form, text = found.groups()
        yield _Entry(place, name, _known(form, f"{place}: {name}"), _literal(text, f"{place}: {name}"))


def _entries(place: Callable[..., str], content: Mapping[str, Any]) -> Iterator[_Entry]:
    """The settings in a dictionary.

    Args:
        place: where a setting stands, by its name, or by its form and its name.
    """
    if content and all(form in FORMS and isinstance(inner, Mapping) for form, inner in content.items()):  # RecBole's params_dict
        for form, inner in content.items():
            for name, given in inner.items():
                yield _entry(place(form, name), name, {form: given})
        return
    for name, given in content.items():
        yield _entry(place(name), name, given)


def _entry(place: str, name: object, given: Any) -> _Entry:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise SettingsError(f"{place}: expected the name of a setting, found {short(name)}")
    where = f"{place}: {name}"
    if isinstance(given, list | tuple):
        return _Entry(place, name, "choice", given)
    if isinstance(given, str) and (found := _TEXT_FORM.fullmatch(given)):
        return _Entry(place, name, _known(found[1], where), _literal(found[2], where))
    if isinstance(given, Mapping) and len(given) == 1:
        ((form, inner),) = given.items()
        return _Entry(place, name, _known(form, where), _literal(inner, where) if isinstance(inner, str) else inner)
    raise SettingsError(f"{where}: {EXPECTED}, as text or as {{form: [...]}}; or a list of values; found {short(given)}")


def _known(form: object, where: str) -> str:
    if isinstance(form, str) and form in FORMS:
        return form
    hint = nearest(form, FORMS) if isinstance(form, str) else ""
    raise SettingsError(f"{where}: {EXPECTED}, found {short(form)}" + (f"; {hint}" if hint.startswith("did you mean") else ""))


def _literal(text: str, where: str) -> Any:
    """What follows a form: a Python literal in which words may lack their quotes, up to a comment. Read, never run."""
    pieces: list[str] = []
    position, after_value = 0, False
    while (found := _TOKEN.match(text, position)) is not None:
        position = found.end()
        piece, value = found[0].strip(), found.lastgroup != "mark"
        if value and after_value:
            raise SettingsError(f"{where}: expected a comma before {short(piece)}, found none in {short(text)}")
        after_value = value
        pieces.append(_WORDS.get(piece) or (repr(piece) if _BARE_WORD.fullmatch(piece) else piece))
    rest = text[position:].strip()
    if rest and not rest.startswith("#"):
        raise SettingsError(f"{where}: expected the quote to be closed, found {short(rest)}")
    if not pieces:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in text, say
            return ast.literal_eval(" ".join(pieces))
    except (ValueError, SyntaxError, MemoryError, TypeError):
        raise SettingsError(f"{where}: expected numbers, words, text in quotes, or lists of these, found {short(text)}") from None


def _space(where: str, entries: Iterable[_Entry]) -> Space:
    dimensions: dict[str, Dimension] = {}
    places: dict[str, str] = {}
    for entry in entries:
        if entry.name in places:
            raise SettingsError(f"{entry.where}: is there twice, first in {places[entry.name]}; leave one out")
        places[entry.name] = entry.place
        dimensions[entry.name] = _choice(entry) if entry.form == "choice" else _range(entry)
    if not dimensions:
        raise SettingsError(f"{where}: there is nothing to choose: expected at least one setting with its values, found none")
    return Space(tuple(dimensions.values()), {} if where == HERE else places)


def _choice(entry: _Entry) -> Choice:
    if not isinstance(entry.content, list | tuple):
        raise SettingsError(f"{entry.where}: expected a list such as [0.01,0.001] after choice, found {short(entry.content)}")
    field = Settings.model_fields.get(entry.name)
    is_text = field is not None and field.annotation is str
    values: dict[str, Any] = {}
    for given in entry.content:
        try:
            value = _plain(given) if is_text else _spelt(_plain(given))
            values.setdefault(json.dumps(value, sort_keys=True), value)
        except ValueError as error:
            raise SettingsError(f"{entry.where}: {error}") from None
    if not values:
        raise SettingsError(f"{entry.where}: expected a list of one value or more after choice, found none")
    return Choice(entry.name, tuple(values.values()))


def _range(entry: _Entry) -> Range:
    content, count = entry.content, 3 if entry.form == "quniform" else 2
    if not isinstance(content, list | tuple) or len(content) != count:
        raise SettingsError(f"{entry.where}: expected {count} numbers, `{entry.form} {FORMS[entry.form]}`, found {short(content)}")
    low, high, *steps = (_number(entry, given) for given in content)
    if low == high:
        only = math.exp(low) if entry.form == "loguniform" and low < LARGEST_EXPONENT else low
        raise SettingsError(f"{entry.where}: expected two ends, found {low:g} twice; for one value write `choice [{only:.6g}]`")
    if low > high:
        turned = ",".join(f"{number:.15g}" for number in (high, low, *steps))
        raise SettingsError(
            f"{entry.where}: expected the low end below the high end, found {low:g} and {high:g}; write `{entry.form} {turned}`"
        )
    if entry.form == "loguniform_values":
        if low <= 0:
            raise SettingsError(
                f"{entry.where}: expected ends above 0, found {low:g}; take a low end above 0, or `uniform {low:.15g},{high:.15g}`"
            )
        return Range(entry.name, low, high, log=True)
    if entry.form == "loguniform":
        ends = _exp(low), _exp(high)
        if low >= 0 and (high <= 1 or 0 < low < 0.1):  # no one writes 1.0001 to 1.01 in this way
            raise SettingsError(f"{entry.where}: {_as_logarithms(low, high)}")
        if not 0 < ends[0] < ends[1] < math.inf:
            raise SettingsError(
                f"{entry.where}: expected natural logarithms of two numbers, such as loguniform -8,-4 for {math.exp(-8):.2g} to {math.exp(-4):.2g}; "
                f"found exp({low:g}) = {ends[0]:g} and exp({high:g}) = {ends[1]:g}"
            )
        return Range(entry.name, ends[0], ends[1], log=True, exponents=(low, high))
    if math.isinf(high - low):
        raise SettingsError(f"{entry.where}: expected ends less far apart, found {low:g} and {high:g}")
    return _stepped(entry, low, high, steps[0]) if steps else Range(entry.name, low, high)


def _as_logarithms(low: float, high: float) -> str:
    """What loguniform makes of two positive ends that look like values, and what to write for these."""
    drawn = f"loguniform takes natural logarithms: {low:g},{high:g} draws from {_exp(low):.5g} to {_exp(high):.5g}"
    if low == 0:
        return f"{drawn}; for values from 0 to {high:g} write `uniform 0,{high:.15g}`"
    return (
        f"{drawn}; for values from {low:g} to {high:g} write `loguniform_values {low:.15g},{high:.15g}`, "
        f"or `loguniform {math.log(low):.6g},{math.log(high):.6g}`"
    )


def _stepped(entry: _Entry, low: float, high: float, step: float) -> Range:
    if step <= 0:
        raise SettingsError(f"{entry.where}: expected a step q above 0, found {step:g}")
    factors, exact = _multiples(low, high, step), _exact(step)
    if len(factors) < 2:
        there = f"one; for one value write `choice [{float(factors[0] * exact):.15g}]`" if factors else "none; take a smaller q"
        raise SettingsError(f"{entry.where}: expected two multiples of {step:g} at least between {low:g} and {high:g}, found {there}")
    if max(-factors[0], factors.stop - 1) > MOST_STEPS:
        raise SettingsError(f"{entry.where}: expected ends of at most {MOST_STEPS:,} times {step:g}; take a larger step, or uniform")
    ends = factors[0] * exact, factors[-1] * exact
    if [_exact(float(end)) for end in ends] != list(ends):
        raise SettingsError(f"{entry.where}: expected a step of fewer digits, found {step!r}")
    return Range(entry.name, float(ends[0]), float(ends[1]), step)


def _exp(exponent: float) -> float:
    try:
        return math.exp(exponent)
    except OverflowError:
        return math.inf


def _number(entry: _Entry, given: object) -> float:
    try:
        if isinstance(given, bool) or not isinstance(given, str | Real):
            raise ValueError
        number = float(given)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SettingsError(f"{entry.where}: expected numbers, `{entry.form} {FORMS[entry.form]}`, found {short(given)}")
    return number


# -- values -----------------------------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value in JSON's types. Raises ValueError for any that has no place there."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Integral) and int(value).bit_length() < 10_000:  # Python prints no longer ones
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Integral) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(inner) for name, inner in value.items()}
    raise ValueError(
        f"expected text, a finite number, true, false, null, or a list or dictionary (with text as keys) of these, found {short(value)}"
    )


def _spelt(value: Any) -> Any:
    """What text stands for, where it spells something else; in a list also where it spells a number, as YAML takes 1e-4 for text."""
    if isinstance(value, list):
        return [inner if isinstance(spelt := _spelt(inner), bool | str | dict | None) else spelt for inner in value]
    if not isinstance(value, str):
        return value
    parsed = parse_value(value)
    if isinstance(parsed, str) or (parsed is None and value.strip().lower() not in {"none", "null", "~"}):
        return value
    try:
        return _plain(parsed)
    except ValueError:  # a date, say
        return value


def _label(value: Any) -> str:
    """The text of a value, which reads back as the value."""
    return value if isinstance(value, str) and _spelt(value) == value else repr(value)


def _exact(number: float) -> Fraction:
    """The decimal fraction that a number is written as: 1/10 for 0.1, which in floating point it is not."""
    return Fraction(repr(float(number)))


def _multiples(low: float, high: float, step: float) -> range:
    """The factors of the multiples of a step between two ends, which count in."""
    exact = _exact(step)
    return range(math.ceil(_exact(low) / exact), math.floor(_exact(high) / exact) + 1)


def _as_json(dimension: Dimension) -> dict[str, list[Any]]:
    if isinstance(dimension, Choice):
        return {"choice": list(dimension.values)}
    ends = [dimension.low, dimension.high]
    if dimension.log:
        return {"loguniform_values": ends} if dimension.exponents is None else {"loguniform": list(dimension.exponents)}
    return {"uniform": ends} if dimension.step is None else {"quniform": [*ends, dimension.step]}


def _written(dimension: Dimension) -> str:
    """A dimension as a line of hyper.test has it, for messages."""
    ((form, content),) = _as_json(dimension).items()
    return f"`{form} {short(content)}`"


def _not_in(dimension: Dimension, given: object) -> SettingsError:
    return SettingsError(f"{HERE}: {dimension.name}: expected a value of {_written(dimension)}, found {short(given)}")


# -- checking ---------------------------------------------------------------------------------------------------------------------


def check_space(space: Space, accept: Callable[[Mapping[str, Any]], object]) -> None:
    """Try every value before any trial starts: of a range its ends and a number between them.

    A value may go with some values of other settings alone (`n_layers` with one model, say), so it is refused only where `accept` refuses it both by itself and
    together with every single value of every other dimension.

    Args:
        accept: resolves the settings of a run with these on top; raises SettingsError when it refuses them.

    Raises:
        SettingsError: what `accept` said of the first such value by itself, behind the setting and the value.
    """
    tried = {dimension.name: _tried(dimension) for dimension in space.dimensions}
    for name, values in tried.items():
        others = [{other: value} for other in tried if other != name for value in tried[other]]
        for value in values:
            refusal = _refusal(accept, {name: value})
            if refusal is not None and all(_refusal(accept, {name: value, **other}) is not None for other in others):
                reason = str(refusal).removeprefix(f"{HERE}: ").removeprefix(f"{name}: ")
                hint = _hint(next(dimension for dimension in space.dimensions if dimension.name == name), accept)
                raise SettingsError(f"{space.where(name)}={short(value)}: {reason}{hint}")


def _tried(dimension: Dimension) -> Sequence[Any]:
    """What stands for a dimension: of a range also a number between its ends that is not whole, so that a setting of whole numbers refuses it."""
    if isinstance(dimension, Choice):
        return dimension.values
    if dimension.size is not None:
        return [dimension.at(index) for index in sorted({0, 1, dimension.size - 1})]
    golden = (math.sqrt(5) - 1) / 2
    return [dimension.low, dimension.high, dimension.low + (dimension.high - dimension.low) * golden]


def _hint(dimension: Dimension, accept: Callable[[Mapping[str, Any]], object]) -> str:
    """What to write instead of a range of which a value is refused, where all values of that are accepted."""
    if not isinstance(dimension, Range) or dimension.step is not None:
        return ""
    name, low, high = dimension.name, dimension.low, dimension.high
    if dimension.exponents is not None and dimension.exponents[0] > 0:
        instead, words = Range(name, *dimension.exponents, log=True), _as_logarithms(*dimension.exponents)
    elif not dimension.log and low.is_integer() and high.is_integer():
        instead, words = Range(name, low, high, 1), f"for whole numbers write `quniform {low:.15g},{high:.15g},1`"
    else:
        return ""
    return f"; {words}" if all(_refusal(accept, {name: value}) is None for value in _tried(instead)) else ""


def _refusal(accept: Callable[[Mapping[str, Any]], object], chosen: Mapping[str, Any]) -> SettingsError | None:
    try:
        accept(chosen)
    except SettingsError as error:
        return error
    return None
