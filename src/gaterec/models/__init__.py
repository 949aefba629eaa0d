"""The models: each file holds one encoder, with its settings above it. To add one: a file here and a line in MODELS."""

import difflib
import importlib
from typing import cast

from gaterec.errors import SettingsError
from gaterec.models.encoder import SequenceEncoder

MODELS: dict[str, tuple[str, str]] = {
    "HGN": ("gaterec.models.hgn", "hierarchical gates over features and events, and an item-item product (KDD 2019)"),
    "SASRec": ("gaterec.models.sasrec", "causal self-attention over the row; post-norm, pre-norm or gated blocks (ICDM 2018)"),
    "NextItNet": ("gaterec.models.nextitnet", "causal convolutions with growing gaps between the events that they see (WSDM 2019)"),
    "Caser": ("gaterec.models.caser", "convolutions over the last events, along them and across their features (WSDM 2018)"),
    "Pop": ("gaterec.models.pop", "what most people chose, the same for everyone; the floor that a model must beat"),
}
"""Name of the class -> its module, and what it is in one line."""


def model_class(name: str) -> type[SequenceEncoder]:
    """The encoder of that name.

    Raises:
        SettingsError: there is none; names the nearest.
    """
    if name not in MODELS:
        by_lower = {known.lower(): known for known in MODELS}
        near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
        hint = f"did you mean {by_lower[near[0]]}?" if near else f"known: {', '.join(MODELS)}"
        raise SettingsError(f"model: there is no model {name!r}; {hint}")
    return cast(type[SequenceEncoder], getattr(importlib.import_module(MODELS[name][0]), name))
