"""RecBole 1.2.1's settings, one by one: each is honoured, or refused with its reason."""

import re
from pathlib import Path
from typing import Any

import pytest

from gaterec.errors import SettingsError
from gaterec.models import MODELS, model_class
from gaterec.recbole_keys import REFUSED
from gaterec.section import Section
from gaterec.settings import Settings
from gaterec.sources import resolve

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
