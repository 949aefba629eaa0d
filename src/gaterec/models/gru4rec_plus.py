"""GRU4Rec+: the network of GRU4Rec under a ranking loss against many shared negatives (Hidasi and Karatzoglou, CIKM 2018).

What is new in that paper is how it is trained: BPR-max (TOP1max is the other one, see gaterec.training.losses), and 2,048 negatives a step, drawn by the
items' counts to a power between 0, all items alike, and 1, by popularity. The authors tune the power for each log; here it is halfway.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from gaterec.models.gru4rec import GRU4Rec, GRU4RecSettings


class GRU4RecPlusSettings(GRU4RecSettings):
    general: ClassVar[Mapping[str, Any]] = {"loss_type": "BPRmax", "train_neg_sample_args": {"distribution": "popularity", "alpha": 0.5}}


class GRU4RecPlus(GRU4Rec):
    """GRU4Rec with other defaults of training."""

    Settings = GRU4RecPlusSettings
