"""Names of settings that gaterec lacks: RecBole 1.2.1's, those of older RecBole versions, and those of other libraries.

REFUSED and WITHOUT_MEANING are accepted at the values where they change nothing (RecBole's own defaults, so that a file which spells
them all out still runs) and refused with their reason at every other. REPLACED are refused with what to write in their place, made of
the values that were given, and SYNONYMS with the name that gaterec has. RecBole's other keys are fields of gaterec.config.settings or of a model.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from gaterec.config.intervals import parse_intervals
from gaterec.config.section import Section
from gaterec.config.settings import ClipGradNorm, EvalArgs, NegativeSampling, none_word

Values = Mapping[str, Any]
"""All settings that were given, by name."""


class Refusal(NamedTuple):
    """Why a setting is refused.

    Attributes:
        harmless: the values, or types of values, at which it changes nothing and is accepted.
    """

    harmless: tuple[Any, ...]
    reason: str


class Replacement(NamedTuple):
    """What to write in place of a setting.

    Attributes:
        harmless: as in Refusal.
        setting: the setting that it belongs in.
        value: the value of that setting, made of all values that were given; it is always one that gaterec accepts.
    """

    harmless: tuple[Any, ...]
    setting: str
    value: Callable[[Values], Any]


_NO_KNOWLEDGE_GRAPH = "gaterec has no knowledge-graph models"
_NO_FEATURES = "the models learn from the order of items alone; user and item columns are used for filtering and for display"
_NO_WINDOWS = "histories are not cut into padded windows, so there is no such column to name"
_NO_PICKLES = "datasets are not pickled; known datasets are cached by themselves"
_NO_LABELS = "every event is a choice; keep the good ones with val_interval, say {'rating': '[4,inf)'}"
_ONE_PROCESS = "gaterec trains in one process"
_NO_SOCIAL_NETWORK = "gaterec has no social models"
_NO_WORKERS = "batches are cut from memory by the training process itself; there are no workers to wait for"

REFUSED: dict[str, Refusal] = {
    "worker": Refusal((0,), _NO_WORKERS),
    "save_dataset": Refusal((False,), _NO_PICKLES),
    "dataset_save_path": Refusal((None,), _NO_PICKLES),
    "save_dataloaders": Refusal((False,), _NO_PICKLES),
    "dataloaders_save_path": Refusal((None,), _NO_PICKLES),
    "require_pow": Refusal((False,), "it belongs to RecBole's EmbLoss, which no sequential model uses"),
    "enable_scaler": Refusal((False,), "enable_amp computes in bfloat16, which needs no gradient scaling"),
    "transform": Refusal((None,), "it changes RecBole's padded windows, and gaterec has none"),
    "seq_len": Refusal((None,), _NO_FEATURES),
    "LABEL_FIELD": Refusal(("label",), _NO_LABELS),
    "threshold": Refusal((None,), _NO_LABELS),
    "NEG_PREFIX": Refusal(("neg_",), "negatives are drawn by the loss and are no column of the data"),
    "numerical_features": Refusal(([], None), _NO_FEATURES),
    "additional_feat_suffix": Refusal(([], None), _NO_FEATURES),
    "alias_of_user_id": Refusal(([], None), _NO_FEATURES),
    "alias_of_item_id": Refusal(([], None), _NO_FEATURES),
    "alias_of_entity_id": Refusal(([], None), _NO_KNOWLEDGE_GRAPH),
    "alias_of_relation_id": Refusal(([], None), _NO_KNOWLEDGE_GRAPH),
    "preload_weight": Refusal((None,), _NO_FEATURES),
    "normalize_field": Refusal((None, list), _NO_FEATURES),
    "normalize_all": Refusal((None, bool), _NO_FEATURES),
    "discretization": Refusal((None,), _NO_FEATURES),
    "ITEM_LIST_LENGTH_FIELD": Refusal(("item_length",), _NO_WINDOWS),
    "LIST_SUFFIX": Refusal(("_list",), _NO_WINDOWS),
    "POSITION_FIELD": Refusal(("position_id",), _NO_WINDOWS),
    "HEAD_ENTITY_ID_FIELD": Refusal(("head_id",), _NO_KNOWLEDGE_GRAPH),
    "TAIL_ENTITY_ID_FIELD": Refusal(("tail_id",), _NO_KNOWLEDGE_GRAPH),
    "RELATION_ID_FIELD": Refusal(("relation_id",), _NO_KNOWLEDGE_GRAPH),
    "ENTITY_ID_FIELD": Refusal(("entity_id",), _NO_KNOWLEDGE_GRAPH),
    "kg_reverse_r": Refusal((False,), _NO_KNOWLEDGE_GRAPH),
    "entity_kg_num_interval": Refusal(("[0,inf)", None), _NO_KNOWLEDGE_GRAPH),
    "relation_kg_num_interval": Refusal(("[0,inf)", None), _NO_KNOWLEDGE_GRAPH),
    "benchmark_filename": Refusal((None,), "a split is two cut points in one history; give one log and say where to cut with eval_args"),
}
"""Keys of RecBole 1.2.1's own settings files."""

WITHOUT_MEANING: dict[str, Refusal] = {
    "nproc": Refusal((1,), _ONE_PROCESS),
    "world_size": Refusal((-1, 0, 1), _ONE_PROCESS),
    "ip": Refusal(("localhost", "127.0.0.1"), _ONE_PROCESS),
    "port": Refusal((int,), _ONE_PROCESS),
    "group_offset": Refusal((0,), _ONE_PROCESS),
    "offset": Refusal((0,), _ONE_PROCESS),
    "local_rank": Refusal((0,), _ONE_PROCESS),
    "single_spec": Refusal((True,), _ONE_PROCESS),
    "device": Refusal((None, "cuda"), "use_gpu: false computes on the CPU, and gpu_id names the GPU"),
    "encoding": Refusal((None, "utf-8", "UTF-8", "utf8", "utf-8-sig"), "files are read as UTF-8; convert the file"),
    "draw_loss_pic": Refusal((None, False), "the report.html of each run shows the curves"),
    "real_time_process": Refusal((None, False), "negatives of the evaluation are drawn as eval_args.mode says"),
    "drop_filter_field": Refusal((None, bool), "nothing is trained on the columns that are filtered by"),
    "fields_in_same_space": Refusal((None, []), _NO_FEATURES),
    "selected_features": Refusal((None, []), _NO_FEATURES),
    "item_attribute": Refusal((None,), _NO_FEATURES),
    "ITEM_SEQ_FIELD": Refusal(("item_id_list",), _NO_WINDOWS),
    "SOURCE_ID_FIELD": Refusal(("source_id",), _NO_SOCIAL_NETWORK),
    "TARGET_ID_FIELD": Refusal(("target_id",), _NO_SOCIAL_NETWORK),
    "NET_SOURCE_ID_FIELD": Refusal(("source_id",), _NO_SOCIAL_NETWORK),
    "NET_TARGET_ID_FIELD": Refusal(("target_id",), _NO_SOCIAL_NETWORK),
    "filter_net_by_inter": Refusal((None, bool), _NO_SOCIAL_NETWORK),
    "undirected_net": Refusal((None, bool), _NO_SOCIAL_NETWORK),
    "num_workers": Refusal((0,), _NO_WORKERS),
    "n_workers": Refusal((0,), _NO_WORKERS),
    "log_root": Refusal((None,), "what a run found is in its folder, and checkpoint_dir says where that is"),
    "wandb_name": Refusal((None, ""), "a run is named after its model and dataset"),
    "config_file": Refusal((None,), "files of settings are given with --config_files or config_file_list"),
}
"""Keys of RecBole's command line, of older versions and of its extensions that have no counterpart."""


def _whole(section: type[Section], content: Mapping[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    """The content if the section accepts it, else an example that it accepts."""
    try:
        section(**content)
    except (ValidationError, RecursionError, TypeError):
        return example
    return dict(content) or example


def _part(values: Values, name: str) -> dict[str, Any]:
    return dict(values[name]) if isinstance(values.get(name), Mapping) else {}


def _eval_args(values: Values) -> dict[str, Any]:
    """All that was said about the protocol in other places, together."""
    found = _part(values, "eval_args")
    example: dict[str, Any] = {}
    setting = values.get("eval_setting")
    words = re.fullmatch(r"\s*([RT]O)_([RL]S)\s*(?:,\s*(\w+)\s*)?", setting) if isinstance(setting, str) else None
    if words or values.get("leave_one_num") == 1 or values.get("split_ratio") is not None:
        one_out = {"LS": "test_only" if values.get("leave_one_num") == 1 else "valid_and_test"}
        by_shares = (words[2] == "RS") if words else values.get("leave_one_num") != 1
        found["split"] = {"RS": values.get("split_ratio") or [0.8, 0.1, 0.1]} if by_shares else one_out
        example["split"] = {"RS": [0.8, 0.1, 0.1]} if by_shares else one_out
    if words:
        found["order"], found["mode"] = words[1], words[3] or "full"
    elif isinstance(setting, Mapping):
        found |= setting
    elif setting is not None:
        example |= {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
    if values.get("group_by_user") is False:
        found["group_by"] = "none"
        found.setdefault("split", {"RS": [0.8, 0.1, 0.1]})
    negatives = values.get("eval_neg_sample_args")
    if isinstance(negatives, Mapping):
        kind = {"uniform": "uni", "popularity": "pop"}.get(str(negatives.get("distribution")), "uni")
        found.setdefault("mode", f"{kind}{negatives.get('sample_num', negatives.get('by', 100))}")
    for name, usual in (("split", {"LS": "valid_and_test"}), ("group_by", "user"), ("order", "TO"), ("mode", "full"), ("target", "next")):
        if name in values:
            found[name] = values[name]
            example.setdefault(name, usual)
    return _whole(EvalArgs, found, example or {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO"})


def _negatives(values: Values) -> dict[str, Any]:
    """All that was said about negatives in other places, together."""
    found = _part(values, "train_neg_sample_args")
    sampling = values.get("neg_sampling")
    if isinstance(sampling, Mapping) and len(sampling) == 1:
        ((found["distribution"], found["sample_num"]),) = sampling.items()
    for name, part in {**{name: name for name in NegativeSampling.model_fields}, **_NEGATIVES}.items():
        found |= {part: values[name]} if name in values else {}
    return _whole(NegativeSampling, found, {"distribution": "uniform", "sample_num": 1})


def _clipping(values: Values) -> dict[str, Any]:
    found = _part(values, "clip_grad_norm") | {name: values[name] for name in ClipGradNorm.model_fields if name in values}
    for name in _CLIPPING:
        found |= {"max_norm": values[name]} if name in values else {}
    return _whole(ClipGradNorm, found, {"max_norm": 5})


def _interval(low: object, high: object, example: str) -> str:
    text = f"[{0 if low is None else low},{'inf)' if high is None else f'{high}]'}"
    return text if _is_interval(text) else example


def _is_interval(text: str) -> bool:
    try:
        parse_intervals(text)
    except ValueError:
        return False
    return True


def _counts(kind: str) -> Callable[[Values], str]:
    """The interval of how many events a user or an item has."""

    def interval(values: Values) -> str:
        low = next((values[name] for name in (f"min_{kind}_inter_num", *_AT_LEAST[kind]) if values.get(name) is not None), None)
        return _interval(low, values.get(f"max_{kind}_inter_num"), "[5,inf)")

    return interval


def _val_interval(values: Values) -> dict[str, Any]:
    found = _part(values, "val_interval")
    lowest, highest = _part(values, "lowest_val"), _part(values, "highest_val")
    if values.get("min_rating") is not None:
        lowest["rating"] = values["min_rating"]
    equal = _part(values, "equal_value") | _part(values, "equal_val")
    other = _part(values, "not_equal_value") | _part(values, "not_equal_val")
    for column in [*lowest, *highest, *other]:
        low, high = lowest.get(column), highest.get(column)
        text = _interval("-inf" if low is None else low, high, "[3,inf)").replace("[-inf", "(-inf")
        value = other.get(column)
        if isinstance(value, int | float) and value in parse_intervals(text)[0]:
            opening, _, closing = text.partition(",")
            text = ";".join(part for part in (f"{opening},{value})", f"({value},{closing}") if _is_interval(part)) or text
        found[column] = text
    found |= {column: f"[{value},{value}]" for column, value in equal.items()}
    fits = found and all(isinstance(text, list) or _is_interval(str(text)) for text in found.values())
    return found if fits else {"rating": "[3,inf)"}


_NEGATIVES = {
    "training_neg_sample_num": "sample_num",
    "train_neg_sample_num": "sample_num",
    "training_neg_sample_distribution": "distribution",
    "train_neg_sample_distribution": "distribution",
    "num_negatives": "sample_num",
    "num_neg": "sample_num",
    "neg_num": "sample_num",
    "n_neg": "sample_num",
    "neg_items_num": "sample_num",
    "negative_samples": "sample_num",
}
_CLIPPING = ("grad_clip", "clip_grad", "max_grad_norm", "gradient_clip_val", "gradient_clip")
_AT_LEAST = {"user": ("user_core", "min_user_interactions"), "item": ("item_core", "min_item_interactions")}

REPLACED: dict[str, Replacement] = {
    "eval_setting": Replacement((None,), "eval_args", _eval_args),
    "split_ratio": Replacement((None,), "eval_args", _eval_args),
    "leave_one_num": Replacement((None, 2), "eval_args", _eval_args),
    "group_by_user": Replacement((None, True), "eval_args", _eval_args),
    "eval_neg_sample_args": Replacement((None,), "eval_args", _eval_args),
    **{name: Replacement((), "eval_args", _eval_args) for name in EvalArgs.model_fields},
    "neg_sampling": Replacement((None,), "train_neg_sample_args", _negatives),
    **{name: Replacement((None, 0, "uniform"), "train_neg_sample_args", _negatives) for name in _NEGATIVES},
    **{name: Replacement((), "train_neg_sample_args", _negatives) for name in NegativeSampling.model_fields if name != "alpha"},
    **{name: Replacement((None,), "clip_grad_norm", _clipping) for name in (*_CLIPPING, *ClipGradNorm.model_fields)},
    **{
        name: Replacement((None, 0), f"{kind}_inter_num_interval", _counts(kind))
        for kind in ("user", "item")
        for name in (f"min_{kind}_inter_num", *_AT_LEAST[kind])
    },
    "max_user_inter_num": Replacement((None,), "user_inter_num_interval", _counts("user")),
    "max_item_inter_num": Replacement((None,), "item_inter_num_interval", _counts("item")),
    **{
        name: Replacement((None,), "val_interval", _val_interval)
        for name in ("lowest_val", "highest_val", "equal_val", "equal_value", "not_equal_val", "not_equal_value", "min_rating")
    },
}
"""Older names, and parts of a dictionary that stand outside it -> what to write in their place. (alpha alone is a setting of many models.)"""

_SYNONYMS: dict[str, str] = {
    "learning_rate": "lr step_size",
    "train_batch_size": "batch_size bs batchsize train_bs training_batch_size",
    "eval_batch_size": "test_batch_size valid_batch_size val_batch_size eval_bs",
    "epochs": "n_epochs num_epochs epoch_num max_epochs epoch nb_epochs n_epoch",
    "learner": "optimizer optim",
    "weight_decay": "wd l2 l2_reg l2_emb l2_regularization",
    "MAX_ITEM_LIST_LENGTH": "max_seq_length max_seq_len max_len maxlen max_length max_sequence_length seq_length sequence_length"
    " session_max_len max_his_len history_length history_len",
    "n_heads": "num_heads num_attention_heads attention_heads n_head heads",
    "n_layers num_layers block_num": "num_blocks n_blocks num_hidden_layers n_layers num_layers layers",
    "embedding_size hidden_size": "embedding_dim embed_dim emb_dim embedding_dims emb_size embed_size latent_dim n_factors factors"
    " hidden_units hidden_dim d_model hidden_size embedding_size item_embedding_size user_embedding_size",
    "dropout dropout_prob hidden_dropout_prob": "dropout_rate drop_rate dropout_prob dropout hidden_dropout emb_dropout drop_ratio",
    "attn_dropout_prob": "attn_dropout attention_dropout attention_dropout_prob attention_probs_dropout_prob",
    "inner_size": "feed_forward_size ffn_dim inner_dim intermediate_size",
    "hidden_act": "activation act",
    "initializer_range": "init_std init_normal_std initializer_std",
    "seed": "random_seed random_state rand_seed",
    "gpu_id": "gpu cuda gpus cuda_visible_devices",
    "use_gpu": "use_cuda",
    "enable_amp": "amp use_amp fp16 bf16 mixed_precision",
    "state": "log_level loglevel verbose logging_level",
    "metrics": "metric",
    "topk": "top_k topks ks top_ks",
    "valid_metric": "val_metric monitor early_stopping_metric early_stop_metric main_metric",
    "loss_type": "loss loss_function loss_fn",
    "USER_ID_FIELD": "user_field user_col user_column userid_field user_id uid_field",
    "ITEM_ID_FIELD": "item_field item_col item_column itemid_field item_id iid_field",
    "TIME_FIELD": "time_field time_col timestamp_field timestamp_col timestamp time_column",
    "RATING_FIELD": "rating_col rating_column",
    "field_separator": "sep separator delimiter",
    "checkpoint_dir": "checkpoint checkpoint_path ckpt_dir ckpt_path output_dir output_path out_dir save_dir save_path model_dir",
    "data_path": "data_dir data_root dataset_path dataset_dir data_folder",
    "dataset": "dataset_name data_name",
    "model": "model_name model_type",
    "stopping_step": "patience early_stop early_stopping early_stopping_patience early_stop_patience early_stopping_rounds",
    "eval_step": "eval_interval eval_every eval_freq valid_interval eval_steps",
    "learning_rate_schedule": "scheduler lr_scheduler learning_rate_scheduler lr_schedule",
    "warmup_epochs": "warmup",
    "log_wandb": "wandb use_wandb",
    "log_tensorboard": "tensorboard use_tensorboard",
    "wandb_project": "project project_name",
    "gbce_t": "gbce_temperature",
}
SYNONYMS: dict[str, list[str]] = {
    theirs: [name for name in ours.split() if name != theirs] for ours, names in _SYNONYMS.items() for theirs in names.split()
}
"""Another library's name, in lower case -> gaterec's names for it; a model has at most one of them."""

_RECBOLE_MODELS = """
    ADMMSLIM AFM AsymKNN AutoInt BERT4Rec CDAE CFKG CKE CORE ConvNCF DCN DCNV2 DGCF DIEN DIN DMF DSSM DeepFM DiffRec EASE ENMF
    EulerNet FDSA FEARec FFM FISM FM FNN FOSSIL FiGNN FwFM GCMC GCSAN GRU4RecCPR GRU4RecF GRU4RecKG HRM KD_DAGFM KGAT KGCN KGIN KGNNLS
    KSR KTUP LDiffRec LINE LR LightGCN LightSANs MCCLK MKR MacridVAE MultiDAE MultiVAE NAIS NARM NCEPLRec NCL NFM NGCF NNCF NPE NeuMF
    PNN RaCT RecVAE RepeatNet RippleNet S3Rec SASRecCPR SASRecF SGL SHAN SINE SLIMElastic SRGNN STAMP SimpleX SpectralCF TransRec
    WideDeep lightgbm xDeepFM xgboost
"""
RECBOLE_MODELS = frozenset(_RECBOLE_MODELS.split())
"""Models of RecBole 1.2.1 that gaterec lacks."""


def changes_nothing(name: str, value: object) -> bool:
    """Whether a setting that gaterec lacks has a value at which it changes nothing."""
    entry = REFUSED.get(name) or WITHOUT_MEANING.get(name) or REPLACED.get(name)
    if entry is None:
        return False
    types = tuple(one for one in entry.harmless if isinstance(one, type))
    same = [one for one in entry.harmless if not isinstance(one, type)]
    return value in same or none_word(value) in same or isinstance(value, types)
