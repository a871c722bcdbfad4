"""The affine layer that bodies and heads are made of."""

from __future__ import annotations

import math

import torch
from torch import nn

_LIMIT = 8.0


def squash(u: torch.Tensor) -> torch.Tensor:
    """Return inputs of a network in standard deviations, bounded smoothly by ±8.

    An outlier cannot distort what is learned from ordinary rows.
    """
    return _LIMIT * torch.tanh(u / _LIMIT)


class Linear(nn.Module):
    """An affine map, or a stack of ``n_copies`` of them trained side by side.

    A stack maps ``(..., n_copies, n, in)``, each copy its own rows, in one batched
    product; small networks are several times faster that way than one after the other.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Widths.
    n_copies : int or None
        None is a plain affine map.
    zero : bool
        Start at zero rather than at torch's default uniform distribution.
    rows_last : bool
        Whether memory holds all rows of an output side by side: what is done to one of
        several outputs is then one long loop.
    """

    # whether every row of (n, n_draws, in) has a product of its own, of its own draws:
    # its rounding then depends on no other row, also in single precision
    by_row = False

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        n_copies: int | None = None,
        zero: bool = False,
        rows_last: bool = False,
    ) -> None:
        super().__init__()
        self.rows_last = rows_last
        copies = () if n_copies is None else (n_copies,)
        limit = 1 / math.sqrt(max(n_inputs, 1))
        parameters = []
        for n_rows in (n_inputs, 1):
            # every copy starts at the same point: they differ by their rows alone
            one = torch.zeros(n_rows, n_outputs, dtype=torch.float32)
            if not zero:
                one.uniform_(-limit, limit)
            parameters.append(nn.Parameter(one.expand(*copies, -1, -1).contiguous()))
        self.weight, self.bias = parameters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x @ weight + bias, each copy its own rows."""
        if self.by_row:
            weight = self.weight.expand(len(x), -1, -1)
            return torch.baddbmm(self.bias, x, weight)
        return self.apply_affine(x, self.weight, self.bias, self.rows_last)

    @staticmethod
    def apply_affine(
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        rows_last: bool = False,
    ) -> torch.Tensor:
        """Return x @ weight + bias for plain or stacked weights.

        Plain x is (..., n, n_inputs), weight (n_inputs, n_outputs), bias (1,
        n_outputs); stacked they have ``n_copies`` as third last dimension.
        """
        if weight.dim() == 2:
            if not rows_last:
                return nn.functional.linear(x, weight.mT, bias[0])
            y = torch.addmm(bias.mT, weight.mT, x.flatten(0, -2).mT).mT
            return y.unflatten(0, x.shape[:-1])
        # draws become rows: (..., n_copies, n, in) -> (n_copies, rows, in) and back
        by_copy = x.movedim(-3, 0)
        flat = by_copy.flatten(1, -2)
        if rows_last:
            y = torch.baddbmm(bias.mT, weight.mT, flat.mT).mT
        else:
            y = torch.baddbmm(bias, flat, weight)
        return y.unflatten(1, by_copy.shape[1:-1]).movedim(0, -3)
