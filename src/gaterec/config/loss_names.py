"""The names of losses, and how each draws its negatives: what settings are checked against, readable without PyTorch.

gaterec.training.losses.loss registers a loss under a name. The names of gaterec's own are also listed here, for the settings' types and documentation.
"""

from typing import Any, Literal, get_args

from pydantic_core import PydanticKnownError

Loss = Literal["CE", "BPR", "SSM", "gBCE", "BPRmax", "TOP1max"]
"""gaterec's own losses."""

LOSS_NAMES: list[str] = list(get_args(Loss))
"""All losses, also those that were registered from outside gaterec."""

FULL_LOSSES = {"CE"}
"""The losses over the whole catalog, which draw no negatives."""

SHARED_NEGATIVES = {"SSM": 1024, "gBCE": 256, "BPRmax": 2048, "TOP1max": 2048}
"""The losses whose negatives are drawn once a step for all of its targets -> how many, unless sample_num is given."""


def add_loss_name(name: str, own_negatives: bool, shared_negatives: int | None) -> None:
    """List a loss that draws negatives for each target (own), or once a step for all targets (shared: how many by default), or none.

    Raises:
        ValueError: the loss is one of gaterec's own and draws its negatives otherwise.
    """
    full = shared_negatives is None and not own_negatives
    if name in get_args(Loss):
        if (name in FULL_LOSSES, SHARED_NEGATIVES.get(name)) != (full, shared_negatives):
            raise ValueError(f"loss {name!r}: draws its negatives otherwise than gaterec.config.loss_names says")
        return
    if name not in LOSS_NAMES:
        LOSS_NAMES.append(name)
    FULL_LOSSES.discard(name)
    SHARED_NEGATIVES.pop(name, None)
    if full:
        FULL_LOSSES.add(name)
    if shared_negatives is not None:
        SHARED_NEGATIVES[name] = shared_negatives


def known_loss(value: Any) -> Any:
    """The value if it names a loss; pydantic's error for a Literal otherwise."""
    if not isinstance(value, str) or value not in LOSS_NAMES:
        *names, last = map(repr, LOSS_NAMES)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(names)} or {last}"})
    return value
