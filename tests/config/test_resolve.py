"""Where the values of settings come from, which source wins, and how text is read."""

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from gaterec.config.resolve import parse_flags, parse_value, read_config_file, resolve
from gaterec.config.section import Section
from gaterec.data.interactions import build_interactions
from gaterec.data.readers.read import read_log
from gaterec.errors import SettingsError
from tests.support.resolved import config, refusal, resolved

# -- precedence -------------------------------------------------------------------------------------------------------------------


def test_precedence(tmp_path: Path) -> None:
    first = config(tmp_path, "first.yaml", "epochs: 1\nseed: 1\nlearning_rate: 0.1\nstopping_step: 1\n")
    second = config(tmp_path, "second.yaml", "epochs: 2\nseed: 2\nlearning_rate: 0.2\n")
    found = resolved(config_files=[first, second], config_dict={"epochs": 3, "seed": 3}, flags={"epochs": 4})
    assert (found.epochs, found.seed, found.learning_rate, found.stopping_step, found.eval_step) == (4, 3, 0.2, 1, 1)


def test_the_arguments_win_over_everything(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "model: Pop\ndataset: a\n")
    found = resolved(model="HGN", dataset="b", config_files=[file], config_dict={"dataset": "c"})
    assert (found.model, found.dataset) == ("HGN", "b")
    assert resolved(config_files=[file]).model == "Pop"


def test_a_dictionary_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "eval_args: {order: RO, split: {RS: [8, 1, 1]}}\n")
    found = resolved(config_files=[file], config_dict={"eval_args": {"mode": "uni10"}})
    assert (found.eval_args.order, found.eval_args.split, found.eval_args.mode["test"]) == ("TO", {"LS": "valid_and_test"}, "uni10")


def test_a_models_own_settings() -> None:
    own: Any = resolved(config_dict={"embedding_size": 8, "reg_weight": [0.1, 0.2]}).model_settings
    assert (own.embedding_size, own.reg_weight, own.pooling_type) == (8, (0.1, 0.2), "average")
    assert refusal(model="Pop", config_dict={"embedding_size": 8}).startswith("config_dict: embedding_size: there is no such setting")


def test_settings_survive_being_written_and_read() -> None:
    found = resolved(config_dict={"clip_grad_norm": {"max_norm": 5}, "val_interval": {"rating": "[4,inf)"}, "topk": 5})
    assert resolved(config_dict=yaml.safe_load(yaml.safe_dump(found.as_dict()))) == found


def test_settings_do_not_change_after_they_were_checked() -> None:
    with pytest.raises(ValueError, match="frozen"):
        resolved().epochs = -1  # type: ignore[misc]


# -- text -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("0.01", 0.01),
        ("5", 5),
        ("-1", -1),
        ("average", "average"),
        ("True", True),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("~", None),
        ("[5,10]", [5, 10]),
        ("[0.00, 1e-4]", [0.0, 1e-4]),
        ("['Recall','NDCG']", ["Recall", "NDCG"]),
        ("[Recall, NDCG]", ["Recall", "NDCG"]),
        ("{'RS': [0.8, 0.1, 0.1]}", {"RS": [0.8, 0.1, 0.1]}),
        ("{LS: test_only}", {"LS": "test_only"}),
        ("'quoted'", "quoted"),
        ("[5,inf)", "[5,inf)"),
        ("[1", "[1"),
        ("{a: 1, a: 2}", "{a: 1, a: 2}"),
        ("2024-13-45", "2024-13-45"),
    ],
)
def test_parse_value(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


TEXTS: list[tuple[str, str, Any]] = [
    ("topk", "[5,10]", [5, 10]),
    ("topk", "5,10", [5, 10]),
    ("epochs", "7", 7),
    ("learning_rate", "1e-2", 0.01),
    ("shuffle", "False", False),
    ("reg_weight", "[0.001,0.00001]", (0.001, 0.00001)),
    ("feature_gate", "false", False),
    ("load_col", "None", None),
    ("load_col", "{'inter': ['user_id', 'item_id']}", {"inter": ["user_id", "item_id"]}),
    ("clip_grad_norm", "{'max_norm': '5'}", {"max_norm": 5.0, "norm_type": 2.0}),
    ("val_interval", "{'rating': [3, 5], 'kind': ['buy']}", {"rating": [3, 5], "kind": ["buy"]}),
    ("valid_metric", "'NDCG@10'", "NDCG@10"),
    ("dataset", "123", "123"),
    ("metrics", "['Recall', 'mrr']", ["Recall", "MRR"]),
]


@pytest.mark.parametrize(("name", "text", "value"), TEXTS)
def test_text_means_the_same_in_flags_dictionaries_and_files(tmp_path: Path, name: str, text: str, value: Any) -> None:
    file = config(tmp_path, "a.yaml", yaml.safe_dump({name: text}))
    for found in (
        resolved(flags=parse_flags([f"--{name}={text}"])),
        resolved(flags={name: text}),
        resolved(config_dict={name: text}),
        resolved(config_files=[file]),
    ):
        whole = found if name in type(found).model_fields else found.model_settings
        given = getattr(whole, name)
        assert (given if not isinstance(given, Section) else given.model_dump()) == value


@pytest.mark.parametrize(
    "written",
    [
        "{'split': {'RS': [8, 1, 1]}, 'order': 'RO'}",
        {"split": "{'RS': [8, 1, 1]}", "order": "RO"},
        {"split": {"RS": "[8, 1, 1]"}, "order": "'RO'"},
    ],
)
def test_text_inside_a_dictionary_is_read_too(written: object) -> None:
    found = resolved(config_dict={"eval_args": written}).eval_args
    assert (found.split, found.order) == ({"RS": [8.0, 1.0, 1.0]}, "RO")


@pytest.mark.parametrize(
    "name", ["USER_ID_FIELD", "model", "dataset", "data_path", "checkpoint_dir", "valid_metric", "gpu_id", "RATING_FIELD"]
)
def test_null_for_a_setting_that_is_text_says_nothing(tmp_path: Path, name: str) -> None:
    file = config(tmp_path, "a.yaml", f"{name}: null\n")
    assert resolved(config_files=[file]) == resolved()
    assert resolved(config_dict={name: None}) == resolved()
    if name == "data_path":
        assert resolved(config_files=[config(tmp_path, "b.yaml", "data_path: there\n"), file]).data_path == "there"


def test_null_as_the_column_of_times_is_refused_with_what_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "epochs: 1\nTIME_FIELD: null\n")
    line = refusal(config_files=[file])
    assert line.startswith(f"{file}:2: TIME_FIELD: expected the name of a column, found None")
    assert line.endswith("in the order of the file where the log has no column timestamp, so give a log without it to take that order")
    log = pl.DataFrame({"user_id": ["u"] * 5, "item_id": list("abcde"), "timestamp": [5, 4, 3, 2, 1]})
    for frame, order in ((log, "edcba"), (log.drop("timestamp"), "abcde")):
        found = build_interactions(read_log(frame, resolved()), resolved())
        assert "".join(found.items[int(item)] for item in found.item) == order


@pytest.mark.parametrize("arguments", [["--epochs=3", "--epochs=4"], ["--epochs=3", "--topk=5", "--epochs", "4"]])
def test_a_flag_twice_with_two_values_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_flags(arguments)
    assert str(caught.value) == "command line: --epochs is there twice, with 3 and with 4; leave one out"
    assert parse_flags(["--epochs=3", "--epochs", "3"]) == {"epochs": 3}


@pytest.mark.parametrize("arguments", [["--epochs=3", "--topk=[5,10]"], ["--epochs", "3", "--topk", "[5,10]"]])
def test_flags_with_and_without_an_equals_sign(arguments: list[str]) -> None:
    assert parse_flags(arguments) == {"epochs": 3, "topk": [5, 10]}


def test_a_negative_value_may_stand_alone() -> None:
    assert parse_flags(["--weight_decay", "-1"]) == {"weight_decay": -1}


def test_values_keep_their_equals_signs_and_text_stays_text() -> None:
    assert parse_flags(["--data_path=/a=b", "--dataset=123", "--USER_ID_FIELD=None"]) == {
        "data_path": "/a=b",
        "dataset": "123",
        "USER_ID_FIELD": None,
    }


@pytest.mark.parametrize("word", ["None", "null"])
def test_the_word_for_null_leaves_a_text_setting_at_its_default(word: str) -> None:
    for arguments in ({"flags": parse_flags([f"--RATING_FIELD={word}"])}, {"config_dict": {"RATING_FIELD": word}}):
        assert resolved(**arguments).RATING_FIELD == "rating"


@pytest.mark.parametrize(
    ("text", "words"), [("[]", []), ("['NA', 'x y']", ["NA", "x y"]), ("[null, NA]", ["null", "NA"]), ("null,007", ["null", "007"])]
)
def test_a_list_of_words_is_read_from_text(text: str, words: list[str]) -> None:
    for arguments in ({"flags": parse_flags([f"--missing_ids={text}"])}, {"config_dict": {"missing_ids": text}}):
        assert resolved(**arguments).missing_ids == words


def test_the_text_of_a_dictionary_inside_a_dictionary_is_read() -> None:
    chosen = resolved(config_dict={"eval_args": {"mode": "{'valid': 'uni10'}"}})
    assert chosen.eval_args.mode == {"valid": "uni10", "test": "full"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs"], "command line: --epochs has no value; write --epochs=VALUE"),
        (["--epochs", "--topk=5"], "command line: --epochs has no value; write --epochs=VALUE"),
        (["epochs=5"], "command line: expected --name=value, found 'epochs=5'"),
        (["-e", "5"], "command line: expected --name=value, found '-e'"),
        (["--"], "command line: expected --name=value, found '--'"),
    ],
)
def test_flags_that_are_none(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_flags(arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0e-3", "'0.001'"])
def test_floats_in_files_and_flags(tmp_path: Path, text: str) -> None:
    assert resolved(config_files=[config(tmp_path, "a.yaml", f"learning_rate: {text}\n")]).learning_rate == 1e-3
    assert resolved(flags=parse_flags([f"--learning_rate={text}"])).learning_rate == 1e-3


@pytest.mark.parametrize("written", ['field_separator: "\\t"', "field_separator: '\\t'"])
def test_tabs_in_files(tmp_path: Path, written: str) -> None:
    assert resolved(config_files=[config(tmp_path, "a.yaml", written)]).field_separator == "\t"


def test_tabs_in_flags() -> None:
    assert resolved(flags=parse_flags(["--field_separator=\\t", "--seq_separator=,"])).field_separator == "\t"


EVIL = "__import__('os').system('touch {}')"


def test_nothing_is_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    evil = EVIL.format(made)
    assert parse_value(evil) == evil
    refusal(flags=parse_flags([f"--seed={evil}"]))
    refusal(config_files=[config(tmp_path, "a.yaml", f'seed: "{evil}"\n')])
    assert "expected YAML" in refusal(
        config_files=[config(tmp_path, "b.yaml", f'seed: !!python/object/apply:os.system ["touch {made}"]\n')]
    )
    assert parse_value(f'!!python/object/apply:os.system ["touch {made}"]').startswith("!!python")
    assert not made.exists()


# -- files ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_config_file(config(tmp_path, "a.yaml", text)) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", ": expected lines `name: value`, found a list"),
        (b"1: 2\n", ": expected lines `name: value`, found names that are no text"),
        (b"epochs: 3\nseed: [1\n", ":2: expected YAML: the [ that opens here is not closed"),
        (b"a: &x 1\nb: *x\n", ":2: expected YAML: aliases such as *name are not read"),
        (b"epochs: \xff\n", ": expected UTF-8 text, found byte 0xff at position 8"),
        (b"# " + b"x" * 1_000_000, ": expected a small YAML file of settings, found 1,000,002 bytes"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_config_file(path)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("epochs: 3\nval_interval:\n  rating: [4,inf)\nseed: 1\ntopk: [5]\n", 3, "the [ that opens here is not closed; an interval needs quotes: rating: '[4,inf)'"),
        ("a: 1\nval_interval: {rating: (3,5]}\n", 2, "the { that opens here is not closed; an interval needs quotes: rating: '(3,5]'"),
        ("a: 1\nrating: [1,2];(4,5]\n", 2, "the line does not fit those before it; look at its indentation, brackets and quotes; an interval needs quotes: rating: '[1,2];(4,5]'"),
        ("a: 1\nb: [1, 2\nc: 3\nd: 4\n", 2, "the [ that opens here is not closed"),
        ("epochs 3\nseed: 1\n", 1, "expected `name: value`, found no colon"),
        ("a: 1\neval_args:\n  mode full\n\n  order: TO\n", 3, "expected `name: value`"),
        ("a: 1\n  b: 2\n", 2, "expected one `name: value` in a line"),
        ("eval_args: {order: TO,\n  split: {RS: [8, 1, 1}}\nb: 1\n", 2, "the [ that opens here is not closed"),
        ("a: 'x\nb: 1\nc: 2\n", 1, "the quote that opens here is not closed"),
        ('a: 1\nb: "x\nc: "y"\nd: 2\n', 2, "the quote that opens here is closed in line 3 only"),
        ("a: 1\nepochs\nb: 2\n", 2, "expected `name: value`"),
        ("a: 1\nb: c: d\n", 2, "expected one `name: value` in a line"),
        ("a: 1\n\tb: 2\n", 2, "tabs don't indent"),
        ("a: 1\nb: @x\n", 2, "tabs don't indent; use spaces, and put quotes around text that begins with a sign"),
        ("a:\n  b: 1\n c: 2\n", 3, "the line does not fit those before it"),
        ("a: 1\nb: 2024-13-45\n", 2, "the value can't be read; put quotes around text"),
        ("a: 1\nb: !!set x\n", 2, ""),
        ("a: 1\nb: !name x\n", 2, "tags such as !!name are not read"),
        ("a: 1\n---\nb: 2\n", 2, "expected one document; leave out the second ---"),
        ("a: 1\nb: \x07\n", 2, "found a character that YAML does not allow"),
    ],
)  # fmt: skip
def test_the_line_of_the_fault_is_named_and_not_the_parsers(tmp_path: Path, text: str, line: int, told: str) -> None:
    path = config(tmp_path, "a.yaml", text)
    with pytest.raises(SettingsError) as caught:
        read_config_file(path)
    assert str(caught.value).startswith(f"{path}:{line}: expected YAML: {told}")


def test_the_quoted_interval_of_the_message_works(tmp_path: Path) -> None:
    told = refusal(config_files=[config(tmp_path, "a.yaml", "val_interval:\n  rating: [4,inf)\n")])
    remedy = told.partition("an interval needs quotes: ")[2]
    assert resolved(config_files=[config(tmp_path, "b.yaml", f"val_interval:\n  {remedy}\n")]).val_interval == {"rating": "[4,inf)"}


def test_a_bad_value_is_told_with_its_own_line(tmp_path: Path) -> None:
    first = config(tmp_path, "a.yaml", "# comment\nepochs: -1\neval_args:\n  mode: full\n  order: XX\n")
    second = config(tmp_path, "b.yaml", "epochz: 1\nvalid_metric: AveragePopularity@5\nvalid_metric_bigger: true\n")
    assert [line.split(": ")[0:2] for line in refusal(config_files=[first, second], flags={"topk": 0}).splitlines()] == [
        [f"{first}:2", "epochs"],
        [f"{first}:5", "eval_args.order"],
        [f"{second}:1", "epochz"],
        [f"{second}:3", "valid_metric_bigger"],
        ["command line", "topk.0"],
    ]


def test_a_later_source_has_no_lines_of_an_earlier_one(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "eval_args:\n  order: TO\n")
    assert refusal(config_files=[file], config_dict={"eval_args": {"order": "XX"}}).startswith("config_dict: eval_args.order: ")


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 1\n", "topk: [5, 10]\ntopk: [5, 10]\n", "eval_args: {order: TO}\neval_args: {order: TO}\n"]
)
def test_a_setting_twice_with_one_value_is_read(tmp_path: Path, text: str) -> None:
    assert read_config_file(config(tmp_path, "a.yaml", text)) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 2\n", "topk: [5]\ntopk: [5, 10]\n", "topk: [5]\ntopk: 5\n", "eval_args: {order: TO}\neval_args: {order: RO}\n"]
)
def test_a_setting_twice_with_two_values_names_both_lines(tmp_path: Path, text: str) -> None:
    path = config(tmp_path, "a.yaml", text)
    with pytest.raises(SettingsError, match=rf"^{path}:2: '\w+' is there twice, first in line 1 with another value; leave one out$"):
        read_config_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refusal(config_files=[tmp_path / "no.yaml"]) == f"{tmp_path}/no.yaml: can't be read: No such file or directory"


# -- recipes, protocols, and what a model changes ---------------------------------------------------------------------------------


def test_a_recipe_yields_to_every_other_source(tmp_path: Path) -> None:
    file = config(tmp_path, "a.yaml", "recipe: hgn-paper\nembedding_size: 8\n")
    found = resolved(config_files=[file], config_dict={"next_items": 2}, flags={"loss_type": "CE"})
    own: Any = found.model_settings
    assert (own.embedding_size, found.next_items, found.loss_type) == (8, 2, "CE")
    assert (found.MAX_ITEM_LIST_LENGTH, found.train_batch_size) == (5, 4096)  # the recipe's


def test_a_protocol_yields_to_every_other_source_and_keeps_a_recipe_beside_it() -> None:
    found = resolved(config_dict={"recipe": "hgn-paper", "protocol": "paper", "topk": [7]})
    assert (found.eval_args.target, found.repeatable, found.topk, found.loss_type) == ("all", False, [7], "BPR")


def test_a_recipe_is_of_one_model() -> None:
    assert resolved(config_dict={"recipe": "hgn-paper"}).model == "HGN"
    assert resolved(model="HGN", config_dict={"recipe": "hgn-paper"}).loss_type == "BPR"
    assert (
        refusal(model="Pop", config_dict={"recipe": "hgn-paper"})
        == "config_dict: recipe: hgn-paper is one of HGN, found model 'Pop'; leave either out"
    )


@pytest.mark.parametrize("setting", ["model", "recipe", "protocol"])
@pytest.mark.parametrize(
    ("value", "found"), [(3, "3"), (["a"], "['a']"), (10**5000, "a int too long to print")], ids=["number", "list", "huge"]
)
def test_names_that_are_no_text(setting: str, value: object, found: str) -> None:
    assert refusal(config_dict={setting: value}) == f"config_dict: {setting}: expected a name, found {found}"


@pytest.mark.parametrize("nothing", [None, "None", ""])
def test_no_recipe(nothing: str | None) -> None:
    assert resolved(config_dict={"recipe": nothing, "protocol": nothing}) == resolved()


def test_a_model_has_defaults_of_its_own() -> None:
    class Own(Section):
        general = {"loss_type": "BPR", "epochs": 7}  # noqa: RUF012

    found = resolve(lambda name: Own, config_dict={"epochs": 5})
    assert (found.loss_type, found.epochs, found.learning_rate) == ("BPR", 5, 0.001)


def test_no_loss_fits_a_model_that_is_counted() -> None:
    assert resolved(model="Pop").loss_type == "CE"
    line = "command line: loss_type: Pop is counted and not trained, so no loss fits it; leave it out"
    assert refusal(model="Pop", flags={"loss_type": "BPR"}) == line


def test_negatives_that_a_model_has_for_its_own_loss_are_not_for_a_loss_without_any() -> None:
    assert resolved(model="GRU4RecPlus").negatives.alpha == 0.5
    assert resolved(model="GRU4RecPlus", config_dict={"loss_type": "TOP1max"}).negatives.distribution == "popularity"
    assert resolved(model="GRU4RecPlus", config_dict={"loss_type": "CE"}).train_neg_sample_args is None
    asked = {"loss_type": "CE", "train_neg_sample_args": {"sample_num": 3}}
    assert resolved(model="GRU4RecPlus", config_dict=asked).negatives.sample_num == 3


def test_a_named_pipe_as_a_settings_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.yaml")
    with pytest.raises(SettingsError, match=r"x\.yaml: can't be read: expected a regular file, found a named pipe"):
        read_config_file(tmp_path / "x.yaml")


def test_a_settings_file_with_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="can't be read: no file can have this name"):
        read_config_file("a\0b")
