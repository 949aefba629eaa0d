"""NextItNet: A Simple Convolutional Generative Network for Next Item Recommendation (Yuan et al., WSDM 2019).

    conv_d(x)(t) = sum_i W_i x(t - i d) + b                    the kernel_size events that stand d apart, up to t; zeros before the row
    block_d(x)   = x + relu(norm(conv_2d(relu(norm(conv_d(x))))))                      (the paper's residual block b)
    query(t)     = W block_d(... block_d(E)) (t) + b           one block for each dilation d, and all that block_num times over
    score(t,j)   = query(t) . E_j

With dilations that grow, a few layers see a long row. What a query sees ends at its own event, so all queries of a row come from one pass.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import SequenceEncoder

Dilation = Annotated[int, Field(ge=1, le=100_000)]


class NextItNetSettings(Section):
    embedding_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")
    kernel_size: int = Field(3, ge=1, le=1000, description="how many events a convolution sees")
    block_num: int = Field(5, ge=1, le=1000, description="how many times the dilations are gone through")
    dilations: list[Dilation] = Field([1, 4], min_length=1, max_length=1000, description="how far apart these events stand, block by block")
    reg_weight: float = Field(1e-5, ge=0.0, description="weight of the L2 norms of all layers' weights, and of the embeddings in the batch")


class Convolution(nn.Module):
    """relu(norm(conv_d(x)))"""

    def __init__(self, size: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        self.conv = nn.Conv1d(size, size, kernel, dilation=dilation)
        self.norm = nn.LayerNorm(size, 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        seen = F.pad(x.mT, (self.before, 0))  # (B, D, before + T)
        return F.relu(self.norm(self.conv(seen).mT))


class NextItNet(SequenceEncoder):
    """See the equations above."""

    Settings = NextItNetSettings
    full_context = True

    def __init__(self, users: int, items: int, window: int, settings: NextItNetSettings) -> None:
        super().__init__()
        size, kernel = settings.embedding_size, settings.kernel_size
        self.reg_weight = settings.reg_weight
        self.item = nn.Embedding(items, size, padding_idx=0)  # E
        self.blocks = nn.ModuleList(
            nn.Sequential(Convolution(size, kernel, dilation), Convolution(size, kernel, 2 * dilation))
            for dilation in settings.dilations * settings.block_num
        )
        self.leave = nn.Linear(size, size)  # W, b
        nn.init.uniform_(self.item.weight, -(items**-0.5), items**-0.5)
        nn.init.xavier_normal_(self.leave.weight)
        nn.init.constant_(self.leave.bias, 0.1)
        with torch.no_grad():
            self.item.weight[0] = 0.0

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        x = self.item(items)  # (B, T, D)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(x)  # type: ignore[no-any-return]

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self.item.weight, None

    def penalty(self, users: Tensor, items: Tensor, targets: Tensor) -> Tensor | None:
        if not self.reg_weight:
            return None
        weights = [weight for name, weight in self.named_parameters() if name.endswith("weight") and weight is not self.item.weight]
        looked_up = (self.item(items), self.item(targets))
        return self.reg_weight * torch.stack([part.norm() for part in (*weights, *looked_up)]).sum()
