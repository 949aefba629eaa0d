"""SASRec: Self-Attentive Sequential Recommendation (Kang and McAuley, ICDM 2018), and the blocks that later work puts in its place.

    x(t)       = E_i(t) + P_t                                  the t-th event of the row, in its place
    f(x)(t)    = attention of x(t) over x(0) .. x(t)           or a feed-forward layer of x(t) alone, in turns
    post         x <- norm(x + f(x))                           as in RecBole, after BERT
    pre          x <- x + f(norm(x))                           as in GPT-2
    ligr         x <- x + f(norm(x)) * sigmoid(W x + b)        gated residuals (LiGR: Borisyuk et al., 2025; eSASRec: Tikhonovich et al., RecSys 2025)
    query(t)   = x(t) after all blocks
    score(t,j) = query(t) . E_j [+ bias_j]                     or . Q_j, a table of its own, where tied_tables is false

The feed-forward layer is W2 act(W1 x), and in ligr it is gated as well (SwiGLU, Shazeer, 2020): W2 (act(W1 x) * W3 x). Places count from the row's
start. Padding stands after the events, where no event looks, so there is no mask but the causal one. With gBCE this is gSASRec (Petrov and
Macdonald, RecSys 2023), with ligr and SSM it is eSASRec.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from gaterec.config.section import Section
from gaterec.models.encoder import SequenceEncoder

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


class SASRecSettings(Section):
    n_layers: int = Field(2, ge=1, le=1000, description="how many blocks of attention and feed-forward layer")
    n_heads: int = Field(2, ge=1, le=1000, description="heads of each attention; they share hidden_size")
    hidden_size: int = Field(64, ge=1, le=65536, description="D, the length of all vectors")
    inner_size: int = Field(256, ge=1, le=1_000_000, description="width of the feed-forward layers")
    hidden_dropout_prob: float = Field(0.5, ge=0.0, lt=1.0, description="share of the inputs' and layers' features hidden in training")
    attn_dropout_prob: float = Field(0.5, ge=0.0, lt=1.0, description="share of the attention's weights hidden in training")
    hidden_act: Literal["gelu", "relu", "swish", "tanh", "sigmoid"] = Field(
        "gelu", description="activation of the feed-forward layers; swish in block ligr unless it is given"
    )
    layer_norm_eps: float = Field(1e-12, gt=0.0, le=1.0, description="what the norms add to the variance")
    initializer_range: float = Field(0.02, gt=0.0, le=100.0, description="standard deviation of the first weights")
    block: Literal["post", "pre", "ligr"] = Field(
        "post", description="norms after the residuals (RecBole), before them, or before gated residuals and with SwiGLU (eSASRec)"
    )
    item_bias: bool = Field(False, description="a score of each item's own")
    tied_tables: bool = Field(True, description="the items' input vectors are also the vectors that queries are compared with")

    @model_validator(mode="before")
    @classmethod
    def _activation_of_the_block(cls, values: Any) -> Any:
        gated = isinstance(values, dict) and values.get("block") == "ligr"
        return {"hidden_act": "swish", **values} if gated else values

    @model_validator(mode="after")
    def _heads_share_the_vector(self) -> "SASRecSettings":
        if self.hidden_size % self.n_heads:
            raise ValueError(f"n_heads: expected a divisor of hidden_size, which is {self.hidden_size}, found {self.n_heads}")
        return self


class Attention(nn.Module):
    """Each position's mixture of itself and the positions before it."""

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        size = settings.hidden_size
        self.heads, self.dropout = settings.n_heads, settings.attn_dropout_prob
        self.enter = nn.Linear(size, 3 * size)  # what each position asks for, answers to and says
        self.leave = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.enter(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, D / H) each
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.leave(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two linear layers on each position alone, with an activation, or a gate, between them."""

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        self.activation, self.gated = ACTIVATIONS[settings.hidden_act], settings.block == "ligr"
        self.enter = nn.Linear(settings.hidden_size, settings.inner_size * (2 if self.gated else 1))  # W1, and W3
        self.leave = nn.Linear(settings.inner_size, settings.hidden_size)  # W2

    def forward(self, x: Tensor) -> Tensor:
        inner = self.enter(x)
        if self.gated:
            gate, inner = inner.chunk(2, dim=2)
            return self.leave(self.activation(gate) * inner)  # type: ignore[no-any-return]
        return self.leave(self.activation(inner))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """A layer f with its norm and the way around it; see the equations above."""

    def __init__(self, layer: Attention | FeedForward, settings: SASRecSettings) -> None:
        super().__init__()
        self.layer, self.block = layer, settings.block
        self.norm = nn.LayerNorm(settings.hidden_size, settings.layer_norm_eps)
        self.dropout = nn.Dropout(settings.hidden_dropout_prob)
        if self.block == "ligr":
            self.gate = nn.Linear(settings.hidden_size, settings.hidden_size)  # W, b

    def forward(self, x: Tensor) -> Tensor:
        if self.block == "post":
            return self.norm(x + self.dropout(self.layer(x)))  # type: ignore[no-any-return]
        change = self.dropout(self.layer(self.norm(x)))
        return x + (change * torch.sigmoid(self.gate(x)) if self.block == "ligr" else change)  # type: ignore[no-any-return]


class SASRec(SequenceEncoder):
    """See the equations above. The inputs are normed in block post and the queries in block pre, as is usual with each."""

    Settings = SASRecSettings
    full_context = True

    def __init__(self, users: int, items: int, window: int, settings: SASRecSettings) -> None:
        super().__init__()
        size, self.settings = settings.hidden_size, settings
        self.item = nn.Embedding(items, size, padding_idx=0)  # E
        if not settings.tied_tables:
            self.output = nn.Embedding(items, size, padding_idx=0)  # Q
        self.position = nn.Parameter(torch.empty(window, size))  # P
        self.bias = nn.Parameter(torch.zeros(items)) if settings.item_bias else None
        norm = nn.LayerNorm(size, settings.layer_norm_eps)
        self.norm_inputs = norm if settings.block == "post" else nn.Identity()
        self.norm_queries = norm if settings.block == "pre" else nn.Identity()
        self.dropout = nn.Dropout(settings.hidden_dropout_prob)
        layers = [kind(settings) for _ in range(settings.n_layers) for kind in (Attention, FeedForward)]
        self.layers = nn.Sequential(*(Residual(layer, settings) for layer in layers))
        nn.init.normal_(self.position, std=settings.initializer_range)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=settings.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for table in dict.fromkeys((self.item, self._answers)):
            with torch.no_grad():
                table.weight[0] = 0.0

    def encode(self, user_vectors: Tensor, items: Tensor) -> Tensor:
        placed = self.item(items) + self.position[: items.shape[1]]  # (B, T, D)
        return self.norm_queries(self.layers(self.dropout(self.norm_inputs(placed))))  # type: ignore[no-any-return]

    def item_table(self) -> tuple[Tensor, Tensor | None]:
        return self._answers.weight, self.bias

    @property
    def _answers(self) -> nn.Embedding:
        """The table that queries are compared with: E, or Q where the tables are not tied."""
        return self.item if self.settings.tied_tables else self.output
