"""Models of every kind with weights far from their start, and histories to encode."""

import torch
from torch import Tensor

from gaterec.models import model_class
from gaterec.models.encoder import SequenceEncoder
from gaterec.models.hgn import HGN

USERS, ITEMS, LENGTH = 7, 23, 40


def window_of(name: str) -> int:
    """L: a tenth of the rows, or as long as they are for models that see the whole row."""
    return LENGTH if model_class(name).full_context else 4


def make(name: str) -> SequenceEncoder:
    """A model in evaluation mode whose weights are far from their start, save the rows of padding and of the unknown person."""
    torch.manual_seed(0)
    kind = model_class(name)
    model = kind(USERS, ITEMS, window_of(name), kind.Settings())
    users, items = histories()
    model.fit_counts(torch.arange(ITEMS) % 5, lambda: (users.repeat_interleave(LENGTH), items.flatten()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) * (parameter != 0))
    return model.eval()


def histories() -> tuple[Tensor, Tensor]:
    items = torch.randint(1, ITEMS, (5, LENGTH), generator=torch.Generator().manual_seed(1))
    return torch.arange(5), items


L = 4


def anew(model: SequenceEncoder, user: int, events: list[int]) -> Tensor:
    """(D,) the query behind the last event, by the definition."""
    queries: Tensor = model(torch.tensor([user]), torch.tensor([events[-L:]]))
    return queries[0, -1]


@torch.no_grad()
def hgn(**changes: object) -> HGN:
    torch.manual_seed(1)
    model = HGN(5, ITEMS, L, HGN.Settings.model_validate({"embedding_size": 6, **changes})).double().eval()
    for parameter in model.parameters():
        parameter.add_(0.5 * torch.randn_like(parameter) * (parameter != 0))
    return model
