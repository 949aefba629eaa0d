"""HGN window by window, straight from the equations in gaterec.models.hgn: slow, plain, and what the fast one is held to."""

import torch
from torch import Tensor

from gaterec.models.hgn import HGN


def encode(model: HGN, users: Tensor, items: Tensor) -> Tensor:
    """(B,), (B, T) -> (B, T, D)."""
    return torch.stack(
        [torch.stack([query(model, int(user), row.tolist(), t) for t in range(len(row))]) for user, row in zip(users, items, strict=True)]
    )


def query(model: HGN, user: int, items: list[int], t: int) -> Tensor:
    """(D,) what the person wants after position t."""
    switches = model.settings
    u = model.user.weight[user]
    window = [(items[t - p], p) for p in range(model.window) if t - p >= 0 and items[t - p] != 0]
    result = torch.zeros_like(u)
    if switches.user_term:
        result = result + u
    if switches.item_item:
        for i, _ in window:
            result = result + model.item.weight[i]
    if window:
        result = result + pooled(model, u, window)
    return result


def pooled(model: HGN, u: Tensor, window: list[tuple[int, int]]) -> Tensor:
    """(D,) the window's events after both gates, as one vector."""
    gates: list[Tensor] = []
    gated: list[Tensor] = []
    for i, p in window:
        s = model.item.weight[i]
        if model.settings.feature_gate:
            s = s * torch.sigmoid(model.feature_item.weight @ s + model.feature_user.weight @ u + model.feature_item.bias)
        a = torch.ones_like(s[0])
        if model.settings.instance_gate:
            a = torch.sigmoid(model.instance_item.weight[0] @ s + (model.instance_user.weight @ u)[p])
        gates.append(a)
        gated.append(a * s)
    if model.settings.pooling_type == "max":
        return torch.stack(gated).max(0).values
    return torch.stack(gated).sum(0) / torch.stack(gates).sum()
