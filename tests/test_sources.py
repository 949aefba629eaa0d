"""Where the values of settings come from, which source wins, and how text is read."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaterec.errors import SettingsError
from gaterec.section import Section
from gaterec.sources import parse_flags, parse_value, read_config_file, resolve
from tests.test_settings import config, refusal, resolved

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
    ],
)
def test_parse_value(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("arguments", [["--epochs=3", "--topk=[5,10]"], ["--epochs", "3", "--topk", "[5,10]"]])
def test_flags_with_and_without_an_equals_sign(arguments: list[str]) -> None:
    assert parse_flags(arguments) == {"epochs": 3, "topk": [5, 10]}


def test_a_negative_value_may_stand_alone() -> None:
    assert parse_flags(["--weight_decay", "-1"]) == {"weight_decay": -1}


def test_values_keep_their_equals_signs_and_text_stays_text() -> None:
    assert parse_flags(["--data_path=/a=b", "--dataset=123", "--USER_ID_FIELD=None"]) == {
        "data_path": "/a=b",
        "dataset": "123",
        "USER_ID_FIELD": "None",
    }


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
        (b"- 1\n- 2\n", ": expected lines `name: value`, found list"),
        (b"1: 2\n", ": expected lines `name: value`, found dict"),
        (b"epochs: 3\nseed: [1\n", ":3: expected YAML: "),
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
