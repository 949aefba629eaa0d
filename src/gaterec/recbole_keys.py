"""RecBole 1.2.1's settings that gaterec can't honour, and why.

A key in this table is accepted at the values where it changes nothing (RecBole's own defaults, so that a file which spells them all
out still runs) and refused with its reason at every other. RecBole's other keys are fields of gaterec.settings or of a model.
"""

from typing import Any, NamedTuple


class Refusal(NamedTuple):
    harmless: tuple[Any, ...]
    reason: str


_NO_KNOWLEDGE_GRAPH = "gaterec has no knowledge-graph models"
_NO_FEATURES = "the models learn from the order of items alone; user and item columns are used for filtering and for display"
_NO_WINDOWS = "histories are not cut into padded windows, so there is no such column to name"
_NO_PICKLES = "datasets are not pickled; known datasets are cached by themselves"

REFUSED: dict[str, Refusal] = {
    "worker": Refusal((0,), "batches are cut from memory by the training process itself; there are no workers to wait for"),
    "save_dataset": Refusal((False,), _NO_PICKLES),
    "dataset_save_path": Refusal((None,), _NO_PICKLES),
    "save_dataloaders": Refusal((False,), _NO_PICKLES),
    "dataloaders_save_path": Refusal((None,), _NO_PICKLES),
    "require_pow": Refusal((False,), "it belongs to RecBole's EmbLoss, which no sequential model uses"),
    "enable_scaler": Refusal((False,), "enable_amp computes in bfloat16, which needs no gradient scaling"),
    "transform": Refusal((None,), "it changes RecBole's padded windows, and gaterec has none"),
    "seq_len": Refusal((None,), _NO_FEATURES),
    "LABEL_FIELD": Refusal(("label",), "every event is a choice; keep the good ones with val_interval, say {'rating': '[4,inf)'}"),
    "threshold": Refusal((None,), "every event is a choice; keep the good ones with val_interval, say {'rating': '[4,inf)'}"),
    "NEG_PREFIX": Refusal(("neg_",), "negatives are drawn by the loss and are no column of the data"),
    "numerical_features": Refusal(([], None), _NO_FEATURES),
    "additional_feat_suffix": Refusal(([], None), _NO_FEATURES),
    "alias_of_user_id": Refusal(([], None), _NO_FEATURES),
    "alias_of_item_id": Refusal(([], None), _NO_FEATURES),
    "alias_of_entity_id": Refusal(([], None), _NO_KNOWLEDGE_GRAPH),
    "alias_of_relation_id": Refusal(([], None), _NO_KNOWLEDGE_GRAPH),
    "preload_weight": Refusal((None,), _NO_FEATURES),
    "normalize_field": Refusal(([], None), _NO_FEATURES),
    "normalize_all": Refusal((None, False), _NO_FEATURES),
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

OTHER_MODELS: dict[str, str] = {
    "hidden_size": "GRU4Rec",
    "num_layers": "GRU4Rec",
    "dropout_prob": "GRU4Rec",
    "k": "ItemKNN",
    "shrink": "ItemKNN",
    "knn_method": "ItemKNN",
}
"""Settings of RecBole's other models that are not here yet: refused with the name of one that has them, as those of the models here are."""
