"""Adam for tables of which a step touches a few rows: its cost grows with these rows, and not with the table.

The meaning is that of torch.optim.SparseAdam: the moments of a row move only when the row has a gradient, and so does the row; the correction of
the moments' bias counts all steps. Adam proper (Kingma and Ba, ICLR 2015) lets every row's moments fade at every step, and moves the row by them.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

FADE = (0.9, 0.999)
"""How much of the mean and of the mean square of the gradients is kept at a step; Adam's usual betas."""
TINY = 1e-8
"""What keeps the division by the root of the mean square finite; Adam's usual epsilon."""


class RowAdam(torch.optim.Optimizer):
    """The optimizer.

    Args:
        tables: (rows,) or (rows, D) each, with sparse gradients; a dense gradient touches every row.
        lr: the step size.
    """

    def __init__(self, tables: Iterable[Tensor], lr: float) -> None:
        super().__init__(tables, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the rows that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._move(table, table.grad, group["lr"])

    def _move(self, table: Tensor, gradient: Tensor, rate: float) -> None:
        state: dict[str, Any] = self.state[table]
        if not state:
            state |= {"step": 0, "exp_avg": torch.zeros_like(table), "exp_avg_sq": torch.zeros_like(table)}
        state["step"] += 1
        rows, slope = _touched(gradient)
        mean = state["exp_avg"].index_select(0, rows).lerp_(slope, 1 - FADE[0])
        square = state["exp_avg_sq"].index_select(0, rows).mul_(FADE[1]).addcmul_(slope, slope, value=1 - FADE[1])
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        first, second = (1 - fade ** state["step"] for fade in FADE)
        moved = table.index_select(0, rows).addcdiv_(mean, square.sqrt_().add_(TINY), value=-rate * second**0.5 / first)
        table.index_copy_(0, rows, moved)


def _touched(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) the rows that have a gradient, each once, and (R, ...) what it is."""
    if not gradient.is_sparse:
        return torch.arange(len(gradient), device=gradient.device), gradient
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
