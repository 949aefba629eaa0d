"""The models: one file each, with its settings above it. To add one: a file here and a line in MODELS.

encoder.py         the contract of all models
state.py           the last events of some users, for cheap queries after new events
hgn.py             the flagship
sasrec.py · nextitnet.py · caser.py · gru4rec.py · gru4rec_plus.py · fpmc.py · bpr.py · item_knn.py · pop.py
"""

import importlib
from typing import cast

from gaterec.errors import SettingsError, nearest
from gaterec.models.encoder import SequenceEncoder

MODELS: dict[str, tuple[str, str]] = {
    "HGN": ("gaterec.models.hgn", "hierarchical gates over features and events, and an item-item product (KDD 2019)"),
    "SASRec": ("gaterec.models.sasrec", "causal self-attention over the row; post-norm, pre-norm or gated blocks (ICDM 2018)"),
    "NextItNet": ("gaterec.models.nextitnet", "causal dilated convolutions over the row (WSDM 2019)"),
    "Caser": ("gaterec.models.caser", "convolutions over the last events, along them and across their features (WSDM 2018)"),
    "BPR": ("gaterec.models.bpr", "matrix factorization: a user's long-term preference, without order (UAI 2009)"),
    "FPMC": ("gaterec.models.fpmc", "long-term preference and a Markov chain on the last item (WWW 2010)"),
    "GRU4Rec": ("gaterec.models.gru4rec", "a recurrent network over the events (ICLR 2016)"),
    "GRU4RecPlus": ("gaterec.models.gru4rec_plus", "GRU4Rec under a ranking loss against many shared negatives (CIKM 2018)"),
    "ItemKNN": ("gaterec.models.item_knn", "items chosen by the same users as the latest items; counted, not trained"),
    "Pop": ("gaterec.models.pop", "the most chosen items, the same for all users; a baseline"),
}
"""Name of the class -> its module, and what it is in one line."""


def model_class(name: str) -> type[SequenceEncoder]:
    """The encoder of that name.

    Raises:
        SettingsError: there is none; names the nearest.
    """
    if name not in MODELS:
        raise SettingsError(f"model: there is no model {name!r}; {nearest(name, MODELS)}")
    return cast(type[SequenceEncoder], getattr(importlib.import_module(MODELS[name][0]), name))
