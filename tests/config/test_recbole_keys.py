"""RecBole 1.2.1's settings, one by one: each is honoured, or refused with its reason."""

import re
import shlex
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaterec.config.metric_names import METRICS
from gaterec.config.recbole_keys import REFUSED, REPLACED, SYNONYMS, WITHOUT_MEANING
from gaterec.config.resolve import parse_flags, resolve
from gaterec.config.section import Section
from gaterec.config.settings import Settings
from gaterec.errors import SettingsError
from gaterec.models import MODELS, model_class

KEYS = dict(line.split("\t") for line in (Path(__file__).parent / "recbole-keys.txt").read_text().splitlines() if line)
"""Key -> the file of RecBole that it stands in, or the model that it belongs to."""

DEFAULTS: dict[str, Any] = {
    # overall.yaml
    "gpu_id": "0",
    "worker": 0,
    "use_gpu": True,
    "seed": 2020,
    "state": "INFO",
    "reproducibility": True,
    "data_path": "dataset/",
    "checkpoint_dir": "saved",
    "show_progress": True,
    "save_dataset": False,
    "dataset_save_path": None,
    "save_dataloaders": False,
    "dataloaders_save_path": None,
    "log_wandb": False,
    "wandb_project": "recbole",
    "shuffle": True,
    "epochs": 300,
    "train_batch_size": 2048,
    "learner": "adam",
    "learning_rate": 0.001,
    "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0},
    "eval_step": 1,
    "stopping_step": 10,
    "clip_grad_norm": None,
    "weight_decay": 0.0,
    "loss_decimal_place": 4,
    "require_pow": False,
    "enable_amp": False,
    "enable_scaler": False,
    "transform": None,
    # overall.yaml under quick_start_config/sequential.yaml, which is what a sequential model gets
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "repeatable": True,
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
    "topk": [10],
    "valid_metric": "MRR@10",
    "valid_metric_bigger": True,
    "eval_batch_size": 4096,
    "metric_decimal_place": 4,
    # dataset/sample.yaml
    "field_separator": "\t",
    "seq_separator": " ",
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "RATING_FIELD": "rating",
    "TIME_FIELD": "timestamp",
    "seq_len": None,
    "LABEL_FIELD": "label",
    "threshold": None,
    "NEG_PREFIX": "neg_",
    "numerical_features": [],
    "load_col": {"inter": ["user_id", "item_id"]},
    "unload_col": None,
    "unused_col": None,
    "additional_feat_suffix": None,
    "rm_dup_inter": None,
    "val_interval": None,
    "filter_inter_by_user_or_item": True,
    "user_inter_num_interval": "[0,inf)",
    "item_inter_num_interval": "[0,inf)",
    "alias_of_user_id": None,
    "alias_of_item_id": None,
    "alias_of_entity_id": None,
    "alias_of_relation_id": None,
    "preload_weight": None,
    "normalize_field": None,
    "normalize_all": None,
    "discretization": None,
    "ITEM_LIST_LENGTH_FIELD": "item_length",
    "LIST_SUFFIX": "_list",
    "MAX_ITEM_LIST_LENGTH": 50,
    "POSITION_FIELD": "position_id",
    "HEAD_ENTITY_ID_FIELD": "head_id",
    "TAIL_ENTITY_ID_FIELD": "tail_id",
    "RELATION_ID_FIELD": "relation_id",
    "ENTITY_ID_FIELD": "entity_id",
    "kg_reverse_r": False,
    "entity_kg_num_interval": "[0,inf)",
    "relation_kg_num_interval": "[0,inf)",
    "benchmark_filename": None,
    # model/HGN.yaml
    "embedding_size": 64,
    "loss_type": "CE",
    "pooling_type": "average",
    "reg_weight": [0.0, 0.0],
}
"""What RecBole's own files say (properties/*.yaml of RecBole 1.2.1)."""

OTHERWISE: dict[str, Any] = {
    "load_col": None,  # RecBole's sample reads two columns of the log; here all are read, as the time is needed
    "wandb_project": "gaterec",
    "train_neg_sample_args": None,  # RecBole's own value makes its HGN example fail; null means the same where negatives are drawn
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": {"valid": "full", "test": "full"}, "target": "next"},
}  # fmt: skip
"""Where gaterec's default is written otherwise."""


def resolved(model: str = "HGN", **sources: Any) -> Settings:
    return resolve(lambda name: model_class(name).Settings, model, models=MODELS, **sources)


def own_settings(model: str) -> type[Section]:
    return model_class(model).Settings


def test_the_list_is_complete() -> None:
    assert len(KEYS) == 101
    assert set(DEFAULTS) == {key for key, source in KEYS.items() if source.endswith(".yaml") or source == "HGN"}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_honoured_or_refused(key: str) -> None:
    general = key in Settings.model_fields
    owners = [model for model in MODELS if key in own_settings(model).model_fields]
    assert general + bool(owners) + (key in REFUSED) <= 1, "a key has one meaning"
    if general or owners:
        model = owners[0] if owners else "HGN"
        assert key in resolved(model).as_dict()
        if key in DEFAULTS:
            resolved(model, config_dict={key: DEFAULTS[key]})
    else:
        _, reason = REFUSED[key]
        without = resolved().as_dict()
        assert resolved(config_dict={key: DEFAULTS[key]}).as_dict() == without, "RecBole's own default changes nothing"
        with pytest.raises(SettingsError) as caught:
            resolved(config_dict={key: "something else"})
        assert str(caught.value) == f"config_dict: {key}: {reason}; leave it out (found 'something else')"


@pytest.mark.parametrize("key", [key for key in DEFAULTS if key not in REFUSED])
def test_defaults_are_recboles(key: str) -> None:
    assert resolved().as_dict()[key] == OTHERWISE.get(key, DEFAULTS[key])


def test_negatives_are_recboles_where_some_are_drawn() -> None:
    assert resolved(config_dict={"loss_type": "BPR"}).negatives.model_dump() == DEFAULTS["train_neg_sample_args"]


def test_a_file_that_spells_out_all_defaults_changes_nothing() -> None:
    spelt = {key: value for key, value in DEFAULTS.items() if key not in OTHERWISE}
    assert resolved(config_dict=spelt).as_dict() == resolved().as_dict()


def test_a_name_has_one_answer() -> None:
    ours = {*Settings.model_fields, *(name for model in MODELS for name in own_settings(model).model_fields)}
    tables = [set(REFUSED), set(WITHOUT_MEANING), set(REPLACED), ours]
    assert sum(map(len, tables)) == len(set.union(*tables))
    assert not set(SYNONYMS) & {*REFUSED, *WITHOUT_MEANING, *REPLACED, *Settings.model_fields}
    assert {name for names in SYNONYMS.values() for name in names} <= ours


def refusal(model: str = "HGN", **sources: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        resolved(model, **sources)
    return str(caught.value)


@pytest.mark.parametrize(
    "chosen",
    [
        *[{key: value} for key, table in WITHOUT_MEANING.items() for value in table.harmless if not isinstance(value, type)],
        *[{key: value} for key, table in REPLACED.items() for value in table.harmless],
        {"normalize_all": True},
        {"normalize_field": ["rating"]},
        {"neg_sampling": "None"},
        {"port": "5678"},
        {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "kg": ["head_id"], "link": ["item_id"], "net": ["source_id"]}},
        {"RATING_FIELD": None},
    ],
    ids=str,
)
def test_what_changes_nothing_is_accepted(chosen: dict[str, Any]) -> None:
    before = resolved().as_dict()
    if "load_col" in chosen:
        before["load_col"] = {"inter": ["user_id", "item_id", "timestamp"]}
    assert resolved(config_dict=chosen).as_dict() == before


@pytest.mark.parametrize("number", ["-1", -1, ""])
def test_no_gpu_is_the_cpu(number: object) -> None:
    found = resolved(config_dict={"gpu_id": number})
    assert (found.use_gpu, found.gpu_id) == (False, "0")


WRITE = re.compile(r"(\w+): (?:belongs in .*; write (\w+): (.*) \(found .*\)|is a setting of its own; write (\w+): (.*) beside .*)")


@pytest.mark.parametrize(
    ("chosen", "means"),
    [
        ({"eval_setting": "TO_LS,full"}, {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}),
        ({"eval_setting": "RO_RS, uni100"}, {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "mode": "uni100"}}),
        (
            {"eval_setting": "TO_RS,full", "split_ratio": [0.7, 0.1, 0.2]},
            {"eval_args": {"split": {"RS": [0.7, 0.1, 0.2]}, "order": "TO", "mode": "full"}},
        ),
        ({"eval_setting": {"order": "RO", "mode": "full"}}, {"eval_args": {"order": "RO", "mode": "full"}}),
        ({"eval_setting": "temporal"}, {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}}),
        ({"split_ratio": [0.8, 0.1, 0.1]}, {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}}),
        ({"split_ratio": "most"}, {"eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}}}),
        ({"leave_one_num": 1}, {"eval_args": {"split": {"LS": "test_only"}}}),
        ({"group_by_user": False}, {"eval_args": {"group_by": "none", "split": {"RS": [0.8, 0.1, 0.1]}}}),
        ({"order": "TO", "eval_args": {"mode": "uni10"}}, {"eval_args": {"mode": "uni10", "order": "TO"}}),
        ({"order": "descending"}, {"eval_args": {"order": "TO"}}),
        ({"mode": "full"}, {"eval_args": {"mode": "full"}}),
        ({"split": {"LS": "test_only"}}, {"eval_args": {"split": {"LS": "test_only"}}}),
        ({"group_by": "user"}, {"eval_args": {"group_by": "user"}}),
        ({"target": "all"}, {"eval_args": {"target": "all"}}),
        ({"eval_neg_sample_args": {"distribution": "popularity", "sample_num": 50}}, {"eval_args": {"mode": "pop50"}}),
        ({"eval_args": {"topk": [5]}}, {"topk": [5]}),
        ({"neg_sampling": {"popularity": 4}}, {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 4}}),
        ({"neg_sampling": "often"}, {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}),
        ({"training_neg_sample_num": 3}, {"train_neg_sample_args": {"sample_num": 3}}),
        ({"sample_num": 3, "distribution": "popularity"}, {"train_neg_sample_args": {"sample_num": 3, "distribution": "popularity"}}),
        ({"max_norm": 3}, {"clip_grad_norm": {"max_norm": 3}}),
        ({"grad_clip": 0.5}, {"clip_grad_norm": {"max_norm": 0.5}}),
        ({"min_user_inter_num": 5}, {"user_inter_num_interval": "[5,inf)"}),
        ({"min_item_inter_num": 5, "max_item_inter_num": 9}, {"item_inter_num_interval": "[5,9]"}),
        ({"max_user_inter_num": 9}, {"user_inter_num_interval": "[0,9]"}),
        ({"min_user_inter_num": "many"}, {"user_inter_num_interval": "[5,inf)"}),
        ({"lowest_val": {"rating": 3}, "highest_val": {"rating": 4, "age": 9}}, {"val_interval": {"rating": "[3,4]", "age": "(-inf,9]"}}),
        ({"equal_val": {"rating": 3}}, {"val_interval": {"rating": "[3,3]"}}),
        ({"not_equal_val": {"rating": 3}}, {"val_interval": {"rating": "(-inf,3);(3,inf)"}}),
        ({"lowest_val": {"rating": 2}, "not_equal_val": {"rating": 3}}, {"val_interval": {"rating": "[2,3);(3,inf)"}}),
        ({"lowest_val": {"rating": 2}, "not_equal_val": {"rating": 2}}, {"val_interval": {"rating": "(2,inf)"}}),
        ({"highest_val": {"rating": 2}, "not_equal_val": {"rating": 3}}, {"val_interval": {"rating": "(-inf,2]"}}),
        ({"lowest_val": {"rating": 2}, "equal_val": {"rating": 3}}, {"val_interval": {"rating": "[3,3]"}}),
        ({"min_rating": 2, "highest_val": {"rating": 4}}, {"val_interval": {"rating": "[2,4]"}}),
        ({"lowest_val": 3}, {"val_interval": {"rating": "[3,inf)"}}),
    ],
)
def test_what_is_to_be_written_in_place_of_another_name_is_accepted_and_means_the_same(
    chosen: dict[str, Any], means: dict[str, Any]
) -> None:
    lines = refusal(config_dict=chosen).splitlines()
    for line in lines:
        found = WRITE.search(line)
        assert found is not None, line
        setting, value = (found[2], found[3]) if found[2] else (found[4], found[5])
        assert {setting: yaml.safe_load(value)} == means
    resolved(config_dict=means)


def test_on_the_command_line_it_is_a_flag_that_works() -> None:
    line = refusal(flags=parse_flags(["--order=RO", "--split={'RS': [8, 1, 1]}"])).splitlines()[0]
    flag = re.search(r"write (--eval_args=.*) \(found", line)
    assert flag is not None
    found = resolved(flags=parse_flags(shlex.split(flag[1]))).eval_args
    assert (found.order, found.split) == ("RO", {"RS": [8.0, 1.0, 1.0]})


@pytest.mark.parametrize("theirs", SYNONYMS)
def test_another_librarys_name_points_to_a_setting_that_a_model_has(theirs: str) -> None:
    for model in MODELS:
        own = own_settings(model).model_fields
        if theirs in own or not (similar := [name for name in SYNONYMS[theirs] if name in own or name in Settings.model_fields]):
            continue
        assert refusal(model, config_dict={theirs: 3}).endswith(f"; did you mean {similar[0]}?")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nproc", "gaterec trains in one process; leave it out (found 2)"),
        ("max_seq_length", "there is no such setting; did you mean MAX_ITEM_LIST_LENGTH?"),
        (
            "num_workers",
            "batches are cut from memory by the training process itself; there are no workers to wait for; leave it out (found 2)",
        ),
        ("stage", "there is no such setting; `gaterec settings` lists them all."),
        ("d_state", "there is no such setting; `gaterec settings` lists them all."),
        ("alpha", "there is no such setting; `gaterec settings` lists them all."),
    ],
)
def test_advice_is_not_by_spelling_alone(name: str, hint: str) -> None:
    assert refusal(flags={name: 2}) == f"command line: {name}: {hint}"


@pytest.mark.parametrize("model", ["BERT4Rec", "LightGCN"])
def test_recboles_other_models_are_not_taken_for_misspelt_ones(model: str) -> None:
    line = refusal(model)
    assert line == f"model: {model} is one of RecBole's models that gaterec does not have; known: {', '.join(MODELS)}"


RUNNING = {
    "sequential": """
        gpu_id: 0
        worker: 0
        data_path: ./data/
        USER_ID_FIELD: session_id
        RATING_FIELD: ~
        load_col:
            inter: [session_id, item_id, timestamp]
        NEG_PREFIX: neg_
        LABEL_FIELD: label
        ITEM_LIST_LENGTH_FIELD: item_length
        MAX_ITEM_LIST_LENGTH: 20
        normalize_all: True
        neg_sampling:
        weight_decay: 1e-5
        clip_grad_norm: {'max_norm': 5}
        eval_args:
            split: {'LS':"valid_and_test"}
            mode: {'valid': 'uni100', 'test': 'full'}
            order: TO
        topk: [5, 10]
        device: cuda
    """,
    "knowledge graph and network": """
        load_col:
            inter: [user_id, item_id]
            kg: [head_id, relation_id, tail_id]
            link: [item_id, entity_id]
            net: [source_id, target_id]
        kg_reverse_r: False
        entity_kg_num_interval: "[0,inf)"
        NET_SOURCE_ID_FIELD: source_id
        undirected_net: True
        eval_args:
            split: {'RS': [0.8, 0.1, 0.1]}
            order: RO
    """,
    "written twice alike": "loss_type: BPR\nval_interval: {rating: [3, 5]}\nloss_type: 'BPR'\n",
}


@pytest.mark.parametrize("text", RUNNING.values(), ids=RUNNING)
def test_files_in_the_forms_of_public_ones_that_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(textwrap.dedent(text))
    resolved(config_files=[tmp_path / "a.yaml"])


REFUSALS = {
    "RecBole 0.2": (
        "min_user_inter_num: 5\ntraining_neg_sample_num: 0\neval_setting: TO_LS,full\nlog_root: ./log/\ntau: 1\n",
        [
            "1: min_user_inter_num: belongs in user_inter_num_interval; write user_inter_num_interval: '[5,inf)' (found 5)",
            "3: eval_setting: belongs in eval_args; write eval_args: {'split': {'LS': 'valid_and_test'}, 'order': 'TO', 'mode': 'full'} "
            "(found 'TO_LS,full')",
            "4: log_root: what a run found is in its folder, and checkpoint_dir says where that is; leave it out (found './log/')",
            "5: tau: there is no such setting; `gaterec settings` lists them all.",
        ],
    ),
    "another model": (
        "model: S3Rec\nmask_ratio: 0.2\nhidden_size: 64\nepochs: -1\nbatch_size: 3\n",
        [
            f"1: model: S3Rec is one of RecBole's models that gaterec does not have; known: {', '.join(MODELS)}",
            "2: mask_ratio: there is no such setting; `gaterec settings` lists them all.",
            "4: epochs: expected a number greater than or equal to 0, found -1",
            "5: batch_size: there is no such setting; did you mean train_batch_size?",
        ],
    ),
    "values, names and repetitions": (
        "eval_args:\n  order: TO\n  group_by: session_id\n  topk: [5]\nmetrics: [HR, AUC]\nunused_col: [rating]\nseed: 1\nseed: 2\n"
        "use_gpu: maybe\n",
        [
            "3: eval_args.group_by: expected user or none, and no name of a column, found 'session_id'",
            "4: eval_args.topk: is a setting of its own; write topk: [5] beside eval_args",
            "5: metrics: unknown metric 'HR': did you mean Hit? AUC is a metric of predicted labels, not of rankings; Known: "
            + ", ".join(METRICS.values()),
            "6: unused_col: expected a dictionary such as {'inter': ['user_id', 'item_id']}, found ['rating']",
            "8: 'seed' is there twice, first in line 7 with another value; leave one out",
            "9: use_gpu: expected true or false, found 'maybe'",
        ],
    ),
}


@pytest.mark.parametrize(("text", "lines"), REFUSALS.values(), ids=REFUSALS)
def test_files_in_the_forms_of_public_ones_are_refused_once_with_all_reasons(tmp_path: Path, text: str, lines: list[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        resolve(lambda name: model_class(name).Settings, config_files=[path], models=MODELS)
    assert str(caught.value).splitlines() == [f"{path}:{line}" for line in lines]


@pytest.mark.parametrize("key", REFUSED)
def test_refused_keys_are_recboles(key: str) -> None:
    assert key in KEYS


@pytest.mark.parametrize(("key", "owner"), [(key, source) for key, source in KEYS.items() if not source.endswith(".yaml")])
def test_keys_of_a_model_are_that_models_settings(key: str, owner: str) -> None:
    assert key in own_settings(owner).model_fields or key in Settings.model_fields


@pytest.mark.parametrize("model", MODELS)
def test_a_setting_of_another_model_is_refused_with_the_names_of_all_that_have_it(model: str) -> None:
    for key in own_settings(model).model_fields:
        for other in MODELS:
            if key not in own_settings(other).model_fields:
                owners = [name for name in MODELS if key in own_settings(name).model_fields]
                with pytest.raises(SettingsError, match=f"^config_dict: {key} is a setting of .*, and {other} does not have it") as error:
                    resolved(other, config_dict={key: 1})
                named = str(error.value).partition(" is a setting of ")[2].partition(f", and {other} does")[0]
                assert re.split(", | and ", named) == owners
                assert all(mine in str(error.value) for mine in own_settings(other).model_fields)


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_the_form_of_neg_sampling_in_train_neg_sample_args_is_refused_with_the_form_to_write(kind: str) -> None:
    with pytest.raises(SettingsError) as error:
        resolved("HGN", config_dict={"train_neg_sample_args": {kind: 10}})
    remedy = str(error.value).partition("expected ")[2].partition(", found")[0]
    chosen = resolved("HGN", config_dict={"train_neg_sample_args": remedy}).train_neg_sample_args
    assert chosen is not None
    assert (chosen.distribution, chosen.sample_num) == (kind, 10)
