"""The space of a search: what is read, what is refused and in which words, what Optuna gets, what is tried before it begins."""

import itertools
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaterec.config.resolve import MAX_CONFIG_BYTES, parse_value
from gaterec.errors import SettingsError
from gaterec.experiments.tune.search_space import EXPECTED, MOST_STEPS, Choice, Range, Space, check_space, read_space
from gaterec.models import MODELS
from tests.support.mangling import Change, a_result_or_a_clear_error, changes, fuzz, mangled, plain
from tests.support.mangling import values as odd_values
from tests.support.resolved import resolved

EXAMPLE = """\
learning_rate choice [0.01,0.001]
embedding_size choice [64]
pooling_type choice ["average","max"]
reg_weight choice ['[0.00,0.00]','[0.001,0.00001]']
dropout uniform 0,0.5
MAX_ITEM_LIST_LENGTH quniform 16,128,16
weight_decay loguniform -8,-4
"""
SPACE = Space(
    (
        Choice("learning_rate", (0.01, 0.001)),
        Choice("embedding_size", (64,)),
        Choice("pooling_type", ("average", "max")),
        Choice("reg_weight", ([0.0, 0.0], [0.001, 0.00001])),
        Range("dropout", 0.0, 0.5),
        Range("MAX_ITEM_LIST_LENGTH", 16, 128, 16),
        Range("weight_decay", math.exp(-8), math.exp(-4), log=True, exponents=(-8, -4)),
    )
)
AS_JSON = {
    "learning_rate": {"choice": [0.01, 0.001]},
    "embedding_size": {"choice": [64]},
    "pooling_type": {"choice": ["average", "max"]},
    "reg_weight": {"choice": [[0.0, 0.0], [0.001, 0.00001]]},
    "dropout": {"uniform": [0.0, 0.5]},
    "MAX_ITEM_LIST_LENGTH": {"quniform": [16.0, 128.0, 16.0]},
    "weight_decay": {"loguniform": [-8.0, -4.0]},
}


def file(tmp_path: Path, content: str | bytes, name: str = "hyper.test") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(source: Any) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(SettingsError) as caught:
        read_space(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def line(text: str) -> Choice | Range:
    """The dimension that `x` has with this behind it, in a dictionary."""
    first, *_ = read_space({"x": text, "other": [1, 2]}).dimensions
    return first


def chosen(text: str) -> tuple[Any, ...]:
    dimension = line(text)
    assert isinstance(dimension, Choice)
    return dimension.values


# -- what is read -----------------------------------------------------------------------------------------------------------------


def test_recboles_file(tmp_path: Path) -> None:
    space = read_space(file(tmp_path, EXAMPLE))
    assert space == SPACE
    assert space.names == list(AS_JSON)
    assert space.as_json() == AS_JSON
    assert read_space(str(tmp_path / "hyper.test")) == space


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" ", "  \t ").replace(",", " , "),
        lambda text: text.replace(" [", "[").replace("\n", "  \n"),
        lambda text: "# what is searched\n\n" + text.replace("\n", "  # as in RecBole's [example], 'tis said\n\n   \n\t# more\n"),
        lambda text: text.rstrip("\n"),
    ],
)
def test_blanks_comments_and_line_ends_change_nothing(tmp_path: Path, change: Callable[[str], str]) -> None:
    assert read_space(file(tmp_path, change(EXAMPLE))) == SPACE


def test_a_yaml_file_and_dictionaries_say_the_same(tmp_path: Path) -> None:
    text = """\
        learning_rate: [1e-2, 0.001]  # YAML takes 1e-2 for text
        embedding_size: [64]
        pooling_type: {choice: [average, max]}
        reg_weight: {choice: ['[0.00,0.00]', [0.001, 0.00001]]}
        dropout: uniform 0,0.5
        MAX_ITEM_LIST_LENGTH: {quniform: [16, 128, 16]}
        weight_decay: {loguniform: "-8,-4"}
    """
    for name in ("space.yaml", "space.YML"):
        assert read_space(file(tmp_path, text, name)) == SPACE
    assert read_space(dict(line.split(maxsplit=1) for line in EXAMPLE.splitlines())) == SPACE
    assert read_space(AS_JSON) == SPACE
    assert read_space({**AS_JSON, "learning_rate": (0.01, 0.001)}) == SPACE


YAML = """\
%YAML 1.1
---
# the same space
learning_rate: [0.01, 0.001]
embedding_size: [64]
pooling_type: {choice: [average, max]}
reg_weight: {choice: ['[0.00,0.00]', [0.001, 0.00001]]}
dropout: uniform 0,0.5
MAX_ITEM_LIST_LENGTH: {quniform: [16, 128, 16]}
weight_decay:
  loguniform: [-8, -4]
"""


@pytest.mark.parametrize("name", ["hyper.test", "hyper.yaml", "hyper.yml", "hyper", "hyper.json"])
@pytest.mark.parametrize("content", [EXAMPLE, "# RecBole's\n\n" + EXAMPLE, YAML, YAML.partition("---\n")[2], json.dumps(AS_JSON)])
def test_the_content_and_not_the_name_of_a_file_says_what_form_it_has(tmp_path: Path, name: str, content: str) -> None:
    assert read_space(file(tmp_path, content, name)) == SPACE


def test_a_space_of_one_point_is_a_grid_of_one_point() -> None:
    space = read_space({"x": [1, 1], "y": [2]})
    assert space.size == 1
    assert list(space.points()) == [{"x": 1, "y": 2}]


def test_a_range_on_the_logarithmic_scale_by_its_ends(tmp_path: Path) -> None:
    expected = Space((Range("learning_rate", 0.0001, 0.01, log=True),))
    assert read_space(file(tmp_path, "learning_rate loguniform_values 1e-4,0.01")) == expected
    assert read_space(file(tmp_path, "learning_rate: {loguniform_values: [1e-4, 0.01]}")) == expected
    assert read_space({"loguniform_values": {"learning_rate": [1e-4, 0.01]}}) == expected
    assert expected.as_json() == {"learning_rate": {"loguniform_values": [0.0001, 0.01]}}
    assert read_space(expected.as_json()) == expected
    check(expected.as_json())


def remedies(message: str) -> list[str]:
    """The forms that a message says to write, in backquotes."""
    return re.findall(r"`(\w+ [^`]+)`", message.partition(" write ")[2])


@pytest.mark.parametrize(
    ("text", "low", "high", "drawn"),
    [
        ("1e-4,1e-2", 1e-4, 1e-2, "0.0001,0.01 draws from 1.0001 to 1.0101"),
        ("0.5,1", 0.5, 1, "0.5,1 draws from 1.6487 to 2.7183"),
        ("0.01,20", 0.01, 20, "0.01,20 draws from 1.0101 to 4.8517e+08"),
        ("0.00000001,0.1", 1e-8, 0.1, "1e-08,0.1 draws from 1 to 1.1052"),
    ],
)
def test_logarithms_that_look_like_values_are_refused_with_two_forms_that_draw_these_values(
    tmp_path: Path, text: str, low: float, high: float, drawn: str
) -> None:
    path = file(tmp_path, f"x: [1]\nlearning_rate: {{loguniform: [{text}]}}\n", "space.yaml")
    message = refusal(path)
    assert message.startswith(f"{path}:2: learning_rate: loguniform takes natural logarithms: {drawn}; for values from ")
    found = [line(remedy) for remedy in remedies(message)]
    assert len(found) == 2
    for range_ in found:
        assert isinstance(range_, Range)
        assert range_.log
        assert (range_.low, range_.high) == pytest.approx((low, high), rel=1e-5)


def test_logarithms_from_zero_on_that_look_like_values_are_refused() -> None:
    assert refusal({"x": "loguniform 0,0.01"}).endswith("; for values from 0 to 0.01 write `uniform 0,0.01`")
    for text in ("0,5", "-1,0.5", "0.4,3", "2,4"):  # 1 to 148, 0.37 to 1.6, 1.5 to 20, 7.4 to 55
        assert isinstance(line(f"loguniform {text}"), Range)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("uniform 0,0", Choice("x", (0,))),
        ("quniform 1,5,3", Choice("x", (3,))),
        ("loguniform_values 0.5,0.5", Choice("x", (0.5,))),
        ("uniform 1,0.5", Range("x", 0.5, 1)),
        ("quniform 8,2,2", Range("x", 2, 8, 2)),
        ("loguniform -1,-3", Range("x", math.exp(-3), math.exp(-1), log=True, exponents=(-3, -1))),
    ],
)
def test_what_a_message_says_to_write_instead_is_read(text: str, remedy: Choice | Range) -> None:
    (written,) = remedies(refusal({"x": text}))
    assert read_space({"x": written}).dimensions == (remedy,)


def test_recboles_params_dict() -> None:
    space = read_space(
        {
            "choice": {"learning_rate": [0.01, 0.001], "pooling_type": ["average", "max"]},
            "uniform": {"dropout": [0, 0.5]},
            "quniform": {"MAX_ITEM_LIST_LENGTH": (16, 128, 16)},
            "loguniform": {"weight_decay": "-8,-4"},
        }
    )
    assert sorted(space.names) == sorted(name for name in SPACE.names if name not in {"embedding_size", "reg_weight"})
    assert all(dimension in SPACE.dimensions for dimension in space.dimensions)


def test_the_three_forms_of_the_page_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "tuning.md").read_text(encoding="utf-8").partition("## What is searched")[2]
    lines, yaml, params_dict = re.findall(r"(?:^ {4}.*\n)+", page, re.MULTILINE)[:3]
    space = read_space(file(tmp_path, lines))
    assert read_space(file(tmp_path, yaml, "space.yaml")) == space
    assert all(dimension in space.dimensions for dimension in read_space(parse_value(params_dict)).dimensions)
    check(file(tmp_path, lines))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("choice [1, 2.5, -3, 1e-3, .5]", (1, 2.5, -3, 0.001, 0.5)),
        ("choice 1,2", (1, 2)),
        ("choice (1,2,)", (1, 2)),
        ("choice [average, max]", ("average", "max")),
        ("choice [ml-100k, recall@10, data/log.csv, Größe]", ("ml-100k", "recall@10", "data/log.csv", "Größe")),
        ("choice [None, True, False]", (None, True, False)),
        ("choice [null, true, false]", (None, True, False)),
        ("choice ['None', 'null', '~', 'True', '2']", (None, True, 2)),
        ("choice [[1, 2], [[a], null]]", ([1, 2], [["a"], None])),
        ("choice [{'a': 1, b: [x]}, {}]", ({"a": 1, "b": ["x"]}, {})),
        ("choice ['{\"sample_num\": 2}', '(1, 2)']", ({"sample_num": 2}, [1, 2])),
        ("choice ['a, b', \"it's\", 'a#b']  # words", ("a, b", "it's", "a#b")),
        ("choice ['', ' ', '#', '2024-01-01', '{1: 2}']", ("", " ", "#", "2024-01-01", "{1: 2}")),
        ("choice [1, 1.0, True, '1', 1]", (1, 1.0, True)),
        ("choice [{a: 1, b: 2}, {b: 2, a: 1}, [1], (1,)]", ({"a": 1, "b": 2}, [1])),
    ],
)
def test_choices(text: str, values: tuple[Any, ...]) -> None:
    found = chosen(text)
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


def test_quoted_text_stays_text_where_the_setting_is_text() -> None:
    first, second = read_space({"field_separator": ["1", ","], "epochs": ["1", "2"]}).dimensions
    assert first == Choice("field_separator", ("1", ","))
    assert first.labels == ("'1'", ",")  # which "1" would not read back as
    assert second == Choice("epochs", (1, 2))


def test_numbers_of_numpy_are_numbers() -> None:
    np = pytest.importorskip("numpy")
    (dimension,) = read_space({"x": [np.float64(0.5), np.int64(3), np.float32(0.25)]}).dimensions
    assert isinstance(dimension, Choice)
    assert [type(value) for value in dimension.values] == [float, int, float]


@pytest.mark.parametrize(
    ("text", "low", "high"), [("16,128,16", 16, 128), ("10,130,16", 16, 128), ("-0.25,0.35,0.1", -0.2, 0.3), ("0,0.3,0.1", 0, 0.3)]
)
def test_quniform_takes_the_multiples_that_lie_inside(text: str, low: float, high: float) -> None:
    dimension = line(f"quniform {text}")
    assert isinstance(dimension, Range)
    assert (dimension.low, dimension.high) == (low, high)


# -- what is refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate=0.1", f": expected a setting and its form, found 'learning_rate=0.1'; {EXPECTED} after the setting's name"),
        ("learning_rate", f": expected a setting and its form, found 'learning_rate'; {EXPECTED} after the setting's name"),
        ("x: choice [1]", f": expected a setting and its form, found 'x: choice [1]'; {EXPECTED} after the setting's name"),
        ("x uniform 0,0", ": x: expected two ends, found 0 twice; for one value write `choice [0]`"),
        ("x loguniform -1,-1", ": x: expected two ends, found -1 twice; for one value write `choice [0.367879]`"),
        ("x loguniform_values 1,1", ": x: expected two ends, found 1 twice; for one value write `choice [1]`"),
        ("x loguniform 1000,1000", ": x: expected two ends, found 1000 twice; for one value write `choice [1000]`"),
        ("x loguniform_values 0,1", ": x: expected ends above 0, found 0; take a low end above 0, or `uniform 0,1`"),
        ("x loguniform_values 1,0.5", ": x: expected the low end below the high end, found 1 and 0.5; write `loguniform_values 0.5,1`"),
        ("x quniform 8,2,2", ": x: expected the low end below the high end, found 8 and 2; write `quniform 2,8,2`"),
        ("x quniform 0,1,5", ": x: expected two multiples of 5 at least between 0 and 1, found one; for one value write `choice [0]`"),
        ("x normal 0,1", f": x: {EXPECTED}, found 'normal'; did you mean uniform?"),
        ("x 0.1", f": x: {EXPECTED}, found '0'"),
        ("x uniform", ": x: expected 2 numbers, `uniform low,high`, found []"),
        ("x uniform 1", ": x: expected 2 numbers, `uniform low,high`, found 1"),
        ("x quniform 0,1", ": x: expected 3 numbers, `quniform low,high,q`, found (0, 1)"),
        ("x uniform a,b", ": x: expected numbers, `uniform low,high`, found 'a'"),
        ("x uniform True,2", ": x: expected numbers, `uniform low,high`, found True"),
        ("x uniform 0,inf", ": x: expected numbers, `uniform low,high`, found 'inf'"),
        ("x uniform nan,1", ": x: expected numbers, `uniform low,high`, found 'nan'"),
        ("x uniform 0,1e999", ": x: expected numbers, `uniform low,high`, found inf"),
        ("x uniform -1e308,1e308", ": x: expected ends less far apart, found -1e+308 and 1e+308"),
        ("x uniform 1,0.5", ": x: expected the low end below the high end, found 1 and 0.5; write `uniform 0.5,1`"),
        ("x quniform 0,1,0", ": x: expected a step q above 0, found 0"),
        ("x quniform 0,1,-0.1", ": x: expected a step q above 0, found -0.1"),
        ("x quniform 1,5,3", ": x: expected two multiples of 3 at least between 1 and 5, found one; for one value write `choice [3]`"),
        ("x quniform 1,2,3", ": x: expected two multiples of 3 at least between 1 and 2, found none; take a smaller q"),
        ("x quniform 0,1,1e-9", f": x: expected ends of at most {MOST_STEPS:,} times 1e-09; take a larger step, or uniform"),
        ("x quniform 0,1234567,0.1234567890123456", ": x: expected a step of fewer digits, found 0.1234567890123456"),
        ("x loguniform 0,710", "found exp(0) = 1 and exp(710) = inf"),
        ("x loguniform -800,0", "found exp(-800) = 0 and exp(0) = 1"),
        ("x loguniform -1e-17,0", "found exp(-1e-17) = 1 and exp(0) = 1"),
        ("x choice", ": x: expected a list of one value or more after choice, found none"),
        ("x choice []  # soon", ": x: expected a list of one value or more after choice, found none"),
        ("x choice 64", ": x: expected a list such as [0.01,0.001] after choice, found 64"),
        ("x choice {1, 2}", ": x: expected a list such as [0.01,0.001] after choice, found {1, 2}"),
        ("x choice ['average', 'max", ': x: expected the quote to be closed, found "\'max"'),
        ("x choice ['average' 'max']", ": x: expected a comma before \"'max'\", found none in \"['average' 'max']\""),
        ("x choice [average max]", ": x: expected a comma before 'max', found none in '[average max]'"),
        ("x choice [1, 2", ": x: expected numbers, words, text in quotes, or lists of these, found '[1, 2'"),
        ("x choice [2x, 3x]", ": x: expected numbers, words, text in quotes, or lists of these, found '[2x, 3x]'"),
        ("x choice [b'1']", ": x: expected a comma before \"'1'\", found none in \"[b'1']\""),
        ("x choice [1+2j]", "or a list or dictionary (with text as keys) of these, found (1+2j)"),
        ("x choice [{1: 2}]", "or a list or dictionary (with text as keys) of these, found {1: 2}"),
        ("x choice [1e999]", "or a list or dictionary (with text as keys) of these, found inf"),
        ("x choice [0x" + "f" * 5000 + "]", "or a list or dictionary (with text as keys) of these, found a int too long to print"),
    ],
)
def test_lines_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = file(tmp_path, f"# one\nlearning_rate choice [1,2]\n{text}\n")
    found = refusal(path)
    assert found.startswith(f"{path}:3: ")
    assert found.endswith(message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"x": 0.1}, f"search space: x: {EXPECTED}, as text or as {{form: [...]}}; or a list of values; found 0.1"),
        ({"x": {}}, f"search space: x: {EXPECTED}, as text or as {{form: [...]}}; or a list of values; found {{}}"),
        ({"x": {"uniform": [0, 1], "choice": [1]}}, "; or a list of values; found {'uniform': [0, 1], 'choice': [1]}"),
        ({"x": "?"}, f"{EXPECTED}, as text or as {{form: [...]}}; or a list of values; found '?'"),
        ({"x": {"normal": [0, 1]}}, f"search space: x: {EXPECTED}, found 'normal'; did you mean uniform?"),
        ({"x": {3: [0, 1]}}, f"search space: x: {EXPECTED}, found 3"),
        ({"x": {"uniform": 3}}, "search space: x: expected 2 numbers, `uniform low,high`, found 3"),
        ({"x": {"uniform": [0, 10**400]}}, "search space: x: expected numbers, `uniform low,high`, found 1000000000"),
        ({3: [1, 2]}, "search space: expected the name of a setting, found 3"),
        ({"a\nb": [1, 2]}, "search space: expected the name of a setting, found 'a\\nb'"),
        ({"choice": {3: [1, 2]}}, "search space: choice: expected the name of a setting, found 3"),
        (
            {"choice": {"x": [1, 2]}, "uniform": {"x": [0, 1]}},
            "search space: uniform: x: is there twice, first in search space: choice; leave one out",
        ),
        ({}, "search space: there is nothing to choose: expected at least one setting with its values, found none"),
        ({"x": [object]}, "found <class 'object'>"),
        (["x"], "search space: expected the path of a file or a dictionary, found ['x']"),
        ("a\0b", "can't be read: no file can have this name"),
    ],
)
def test_sources_that_are_refused(source: Any, message: str) -> None:
    assert message in refusal(source)


def test_a_setting_twice_names_both_lines(tmp_path: Path) -> None:
    path = file(tmp_path, "x choice [1,2]\n\ny uniform 0,1\nx uniform 0,1\n")
    assert refusal(path) == f"{path}:4: x: is there twice, first in {path}:1; leave one out"
    path = file(tmp_path, "x: [1, 2]\ny: uniform 0,1\nx: [2, 3]\n", "space.yaml")
    assert refusal(path) == f"{path}:3: 'x' is there twice, first in line 1 with another value; leave one out"


def test_files_that_are_refused(tmp_path: Path) -> None:
    for name in ("hyper.test", "space.yaml"):
        assert refusal(tmp_path / "none" / name) == f"{tmp_path / 'none' / name}: can't be read: No such file or directory"
        (tmp_path / name).mkdir()
        assert refusal(tmp_path / name) == f"{tmp_path / name}: can't be read: expected a regular file, found a folder"
        (tmp_path / name).rmdir()
        assert "expected UTF-8 text, found byte 0xff at position 0" in refusal(file(tmp_path, b"\xff\xfe\0\1", name))
        assert f"found {MAX_CONFIG_BYTES + 1:,} bytes" in refusal(file(tmp_path, "#" * (MAX_CONFIG_BYTES + 1), name))
        assert "there is nothing to choose" in refusal(file(tmp_path, "# soon\n", name))
    assert "\0" not in refusal(file(tmp_path, b"\0\1\2"))
    assert refusal(file(tmp_path, "[1, 2]", "space.yaml")).endswith("expected lines `name: value`, found a list")
    assert refusal(file(tmp_path, "\nx: 0.1", "space.yaml")).startswith(f"{tmp_path / 'space.yaml'}:2: x: {EXPECTED}")


@pytest.mark.parametrize("nested", ["[" * 3000 + "]" * 3000, "[" + "-" * 5000 + "1]", "{a:" * 3000, ["'" + "[" * 150 + "]" * 150 + "'"]])
def test_deep_nesting_is_no_traceback(nested: Any) -> None:
    with a_result_or_a_clear_error():
        read_space({"x": nested if isinstance(nested, list) else f"choice {nested}", "y": [1, 2]})


@pytest.mark.parametrize(
    "attack",
    [
        "__import__('pathlib').Path('{}').touch()",
        "open('{}', 'w')",
        "(lambda: open('{}', 'w'))()",
        "'a'.__class__.__mro__",
        "[open(x, 'w') for x in ['{}']]",
        "f'{{open(chr(120))}}'",
        "!!python/object/apply:os.system ['touch {}']",
    ],
)
def test_nothing_is_run(tmp_path: Path, attack: str) -> None:
    trap = tmp_path / "trap"
    for text in (attack.format(trap), f"[{attack.format(trap)}]"):
        assert refusal(file(tmp_path, f"x choice {text}\ny uniform 0,1\n"))
    quoted = read_space({"x": [attack.format(trap), 1]}).dimensions[0]  # text that a setting refuses
    assert quoted.name == "x"
    assert not trap.exists()


# -- what Optuna gets -------------------------------------------------------------------------------------------------------------


def test_distributions() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    assert SPACE.distributions() == {
        "learning_rate": CategoricalDistribution(("0.01", "0.001")),
        "embedding_size": CategoricalDistribution(("64",)),
        "pooling_type": CategoricalDistribution(("average", "max")),
        "reg_weight": CategoricalDistribution(("[0.0, 0.0]", "[0.001, 1e-05]")),
        "dropout": FloatDistribution(0, 0.5),
        "MAX_ITEM_LIST_LENGTH": FloatDistribution(16, 128, step=16),
        "weight_decay": FloatDistribution(math.exp(-8), math.exp(-4), log=True),
    }


def test_values_are_exact_and_whole_where_the_steps_are() -> None:
    space = read_space({"x": "quniform 0,0.5,0.1", "n": "quniform 0,4,2", "y": "uniform 0,0.5", "z": [None, [1, 2]]})
    found = space.values({"z": "[1, 2]", "n": 4.0, "y": 0.1 * 3, "x": 0.1 * 3})
    assert found == {"x": 0.3, "n": 4, "y": 0.1 * 3, "z": [1, 2]}
    assert list(found) == ["x", "n", "y", "z"]
    assert isinstance(found["n"], int)
    assert space.params(found) == {"x": 0.3, "n": 4.0, "y": 0.1 * 3, "z": "[1, 2]"}
    assert isinstance(space.params(found)["n"], float)
    assert space.values({"z": "None"}) == {"z": None}
    assert space.values({"x": 0.5 + 1e-16, "y": 0.5 + 1e-16}) == {"x": 0.5, "y": 0.5}


def test_a_value_that_is_equal_has_the_same_label() -> None:
    space = read_space({"x": [0, 0.5, True], "y": [[0.1, 0.2], None]})
    assert space.params({"x": 0.0, "y": (0.1, 0.2)}) == {"x": "0", "y": "[0.1, 0.2]"}
    assert space.params({"x": True}) == {"x": "True"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": 3}, "z: expected a value of `choice [1, 2]`, found 3"),
        ({"z": object()}, "z: expected a value of `choice [1, 2]`, found <object"),
        ({"x": 0.6}, "x: expected a value of `quniform [0.0, 0.5, 0.1]`, found 0.6"),
        ({"x": 0.25}, "x: expected a value of `quniform [0.0, 0.5, 0.1]`, found 0.25"),
        ({"y": "0.1"}, "y: expected a value of `loguniform [-8.0, -4.0]`, found '0.1'"),
        ({"y": True}, "y: expected a value of `loguniform [-8.0, -4.0]`, found True"),
        ({"y": math.nan}, "y: expected a value of `loguniform [-8.0, -4.0]`, found nan"),
        ({"y": 10**400}, "y: expected a value of `loguniform [-8.0, -4.0]`, found 1000"),
        ({"w": 1}, "w is not searched; searched are x, y, z"),
    ],
)
def test_values_of_another_space_are_refused(given: dict[str, Any], message: str) -> None:
    space = read_space({"x": "quniform 0,0.5,0.1", "y": "loguniform -8,-4", "z": [1, 2]})
    with pytest.raises(SettingsError) as caught:
        space.params(given)
    assert str(caught.value).startswith(f"search space: {message}")
    if given != {"x": 0.25}:  # the other way round it is the nearest multiple
        with pytest.raises(SettingsError):
            space.values(given)


def test_the_grid() -> None:
    space = read_space({"x": [3, "a"], "n": "quniform 0,0.3,0.1", "z": [[1], None]})
    assert space.size == 16
    assert [tuple(point.values()) for point in space.points()] == list(itertools.product([3, "a"], [0.0, 0.1, 0.2, 0.3], [[1], None]))
    assert all(list(point) == ["x", "n", "z"] for point in space.points())


def test_a_grid_without_end_is_made_point_by_point() -> None:
    space = read_space({f"x{number}": f"quniform 1,{MOST_STEPS},1" for number in range(4)})
    assert space.size == MOST_STEPS**4 > 2**64
    assert list(itertools.islice(space.points(), 2)) == [{"x0": 1, "x1": 1, "x2": 1, "x3": 1}, {"x0": 1, "x1": 1, "x2": 1, "x3": 2}]


def test_a_continuous_range_has_no_grid() -> None:
    assert SPACE.size is None
    with pytest.raises(
        SettingsError, match=r"^search space: dropout: expected a choice or a quniform, .*, found `uniform \[0\.0, 0\.5\]`;"
    ):
        SPACE.points()


finite = st.floats(-1e6, 1e6, allow_subnormal=False)
pairs = st.tuples(finite, finite).filter(lambda pair: pair[0] < pair[1])
steps = st.decimals(min_value="0.0001", max_value=1000, places=4)
stepped = st.tuples(st.integers(-1000, 1000), st.integers(1, 1000), steps).map(
    lambda drawn: [float(drawn[0] * drawn[2]), float((drawn[0] + drawn[1]) * drawn[2]), float(drawn[2])]
)
exponents = st.tuples(st.integers(-7000, 6999), st.integers(1, 7000)).map(
    lambda drawn: [drawn[0] / 10, min(drawn[0] + drawn[1], 7000) / 10]
)
dimensions = st.one_of(
    st.fixed_dictionaries({"choice": st.lists(plain, min_size=1, max_size=4)}),
    st.fixed_dictionaries({"uniform": pairs}),
    st.fixed_dictionaries({"quniform": stepped}),
    st.fixed_dictionaries({"loguniform": exponents}),
)
spaces = st.dictionaries(st.sampled_from(["a", "b", "c", "epochs", "field_separator"]), dimensions, min_size=1, max_size=4)


@fuzz(0.2)
@given(source=spaces, seed=st.integers(0, 1000))
def test_round_trips(source: dict[str, Any], seed: int) -> None:
    from optuna import create_study, logging
    from optuna.samplers import RandomSampler
    from optuna.trial import create_trial

    try:
        space = read_space(source)
    except SettingsError:  # a value that is not finite, or nothing to choose
        return
    written = json.dumps(space.as_json(), allow_nan=False)
    assert read_space(json.loads(written)) == space
    assert json.dumps(read_space(json.loads(written)).as_json()) == written
    for dimension in space.dimensions:
        if isinstance(dimension, Choice):
            assert len(set(dimension.labels)) == dimension.size
            assert all(
                parse_value(label) == value for label, value in zip(dimension.labels, dimension.values, strict=True) if label != value
            )
    logging.disable_default_handler()
    logging.set_verbosity(logging.ERROR)
    study = create_study(sampler=RandomSampler(seed))
    for _ in range(3):
        trial = study.ask(space.distributions())
        chosen = space.values(trial.params)
        assert list(chosen) == space.names
        assert json.dumps(space.values(space.params(chosen))) == json.dumps(chosen)
        create_trial(params=space.params(chosen), distributions=space.distributions(), value=0.0)  # refuses what lies outside
    if space.size is not None:
        for point in itertools.islice(space.points(), 20):
            assert json.dumps(space.values(space.params(point))) == json.dumps(point)
            create_trial(params=space.params(point), distributions=space.distributions(), value=0.0)


# -- what is tried before the search begins ---------------------------------------------------------------------------------------


def check(source: Mapping[str, Any] | Path, **given: Any) -> None:
    check_space(read_space(source), lambda chosen: resolved(config_dict={**given, **chosen}, models=MODELS))


def check_refusal(source: Mapping[str, Any] | Path, **given: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        check(source, **given)
    return str(caught.value)


def test_the_example_is_accepted(tmp_path: Path) -> None:
    check(file(tmp_path, EXAMPLE))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"learning_rat": [0.1, 0.2]},
            "learning_rat=0.1: config_dict: learning_rat: there is no such setting; did you mean learning_rate?",
        ),
        ({"epochs": [1, 2, -1]}, "epochs=-1: config_dict: epochs: expected a number greater than or equal to 0, found -1"),
        ({"dropout": "uniform 0,1.5"}, "dropout=1.5: config_dict: dropout: expected a number less than"),
        ({"dropout": "uniform -0.5,0.5"}, "dropout=-0.5: config_dict: dropout: expected a number greater than"),
        ({"embedding_size": "uniform 16,128"}, "embedding_size=85.2"),
        ({"embedding_size": "loguniform 2,4"}, "embedding_size=7.38"),
        ({"embedding_size": "quniform 4,8,0.5"}, "embedding_size=4.5: config_dict: embedding_size: expected a whole number"),
        ({"pooling_type": ["max", "mean"], "epochs": [1, 2]}, "pooling_type='mean': config_dict: pooling_type: "),
    ],
)
def test_a_value_that_no_run_takes_is_refused_with_its_place(source: Mapping[str, Any], message: str) -> None:
    assert check_refusal(source).startswith(f"search space: {message}")


def test_a_refused_value_names_the_line_of_its_setting(tmp_path: Path) -> None:
    for text, number in (
        ("# one\ndropout uniform 0,0.5\nepochs choice [1,-1]\n", 3),
        ("dropout: uniform 0,0.5\nepochs:\n  choice: [1, -1]\n", 2),
        ("uniform:\n  dropout: [0, 0.5]\nchoice:\n\n  epochs: [1, -1]\n", 5),
    ):
        path = file(tmp_path, text, "space.yaml")
        assert check_refusal(path).startswith(f"{path}:{number}: epochs=-1: config_dict: epochs: expected a number greater than")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("dropout", "loguniform 0.1,2", None),  # its values reach 2 too, which is not accepted either
        ("gbce_t", "loguniform 0.2,1.01", None),
        ("epochs", "uniform 1,8", "for whole numbers write `quniform 1,8,1`"),
        ("embedding_size", "uniform 16,128", "for whole numbers write `quniform 16,128,1`"),
        ("dropout", "uniform 0,2", None),
        ("train_batch_size", "uniform 0,8", None),  # 0 is refused as well
        ("learning_rate", "loguniform 1,100", "for values from 1 to 100 write `loguniform_values 1,100`, or `loguniform 0,4.60517`"),
    ],
)
def test_a_hint_is_given_where_all_its_values_are_accepted(name: str, text: str, hint: str | None) -> None:
    message = check_refusal({name: text})
    assert message.startswith(f"search space: {name}=")
    assert (message.partition(" write ")[1] != "") == (hint is not None)
    if hint is not None:
        assert message.endswith(hint)
        for remedy in remedies(message):
            check({name: remedy})


def test_a_value_that_goes_with_another_one_is_accepted() -> None:
    layers = {"n_layers": [1, 2], "epochs": [1, 2]}
    assert check_refusal(layers).startswith("search space: n_layers=1: config_dict: n_layers is a setting of ")
    check({**layers, "model": ["HGN", "SASRec"]})
    check(layers, model="SASRec")
    assert check_refusal({**layers, "model": ["HGN", "Pop"]}).startswith("search space: n_layers=1: ")


def test_every_single_value_is_tried_before_pairs() -> None:
    tried: list[Mapping[str, Any]] = []
    check_space(read_space({"x": [1, 2], "n": "quniform 1,9,1", "y": "uniform 0,8"}), tried.append)
    assert tried[:5] == [{"x": 1}, {"x": 2}, {"n": 1}, {"n": 2}, {"n": 9}]
    assert [point["y"] for point in tried[5:7]] == [0, 8]
    assert 0 < tried[7]["y"] < 8
    assert not tried[7]["y"].is_integer()
    assert len(tried) == 8


def test_the_first_error_is_told_where_all_pairs_are_refused() -> None:
    tried: list[Mapping[str, Any]] = []

    def accept(chosen: Mapping[str, Any]) -> None:
        tried.append(chosen)
        if chosen.get("x") == 2:
            raise SettingsError(f"refused {len(chosen)}")

    with pytest.raises(SettingsError, match=r"^search space: x=2: refused 1$"):
        check_space(read_space({"x": [1, 2], "y": [3, 4]}), accept)
    assert tried == [{"x": 1}, {"x": 2}, {"x": 2, "y": 3}, {"x": 2, "y": 4}]


# -- anything else ----------------------------------------------------------------------------------------------------------------


def check_anything(source: Any) -> None:
    with a_result_or_a_clear_error():
        space = read_space(source)
        assert space.names
        assert space.size is None or space.size > 0
        json.dumps(space.as_json(), allow_nan=False)
        assert read_space(space.as_json()) == space
        for dimension in space.dimensions:
            assert isinstance(dimension, Range) or len(set(dimension.labels)) == dimension.size


@fuzz(0.2)
@given(how=st.lists(changes(), min_size=1, max_size=5), yaml=st.booleans())
def test_mangled_files(tmp_path_factory: pytest.TempPathFactory, how: list[Change], yaml: bool) -> None:
    folder = tmp_path_factory.getbasetemp()
    trap = folder / "trap"
    text = EXAMPLE + f"epochs choice [open('{trap}', 'w'), '1', {{a: null}}]  # {trap}\n"
    path = folder / ("mangled.yaml" if yaml else "mangled.test")
    raw = mangled((text.replace(" ", ": ", 1) if yaml else text).encode(), how)
    path.write_bytes(raw)
    check_anything(path)
    assert path.read_bytes() == raw
    assert not trap.exists()


pieces = st.sampled_from(["x", " choice ", "uniform ", " loguniform ", "quniform ", "[", "]", "{", "}", "'", '"', "\\", ",", ":", "#", "-", "1", "0.5", "1e9", "a", "\n", "\t", " "])  # fmt: skip


@fuzz(0.3)
@given(text=st.text(max_size=60) | st.lists(pieces, max_size=25).map("".join), start=st.sampled_from(["", "x ", "x choice ", "x choice ["]))
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str, start: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.test"
    path.write_bytes((start + text).encode("utf-8", "surrogatepass"))
    check_anything(path)
    check_anything({"x": start.removeprefix("x ") + text, "y": [1, 2]})


@fuzz(0.2)
@given(source=st.dictionaries(st.text(max_size=5) | st.integers(), odd_values | st.dictionaries(st.sampled_from(["choice", "uniform", "quniform", "loguniform"]), odd_values, max_size=2), max_size=3))  # fmt: skip
def test_any_dictionary(source: dict[Any, Any]) -> None:
    check_anything(source)
