"""A network that tells rows of the table from drawn ones, and its own steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import softplus
from typing_extensions import override

from .._distributions._base import broadcast_shapes
from .._distributions._column_chain import ColumnChain
from .._distributions._groups import ColumnGroups
from .._distributions._levels import CategoricalColumns
from .._distributions._monotone import TransformedColumns
from .._utils._missing import NEUTRAL, find_missing
from ..networks import MLP, Linear
from ..networks._layers import squash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Adam's memory of squares; without momentum, as is usual for discriminators
_MEMORY, _TINY = 0.99, 1e-8
# least variance whose root has a gradient, relative to that of a column
_LEAST_VARIANCE = 1e-4


class Discriminator(nn.Module):
    """Log-odds that a row is real, and features of it, the last hidden units.

    Its inputs are numbers in standard deviations, bounded smoothly, the categories of a
    column as ones and zeros, zeros where a cell is missing, and flags of these cells.

    Parameters
    ----------
    likelihood : Distribution
        p(x|z) of any rows, of which kinds of columns are read.
    x : Tensor (..., n, n_features)
        Rows, of which units of columns are read, and whether cells are missing.
    hidden_layer_sizes : sequence of int
    """

    def __init__(
        self, likelihood: Any, x: torch.Tensor, hidden_layer_sizes: Sequence[int]
    ) -> None:
        super().__init__()
        n_features = x.shape[-1]
        rows = x.detach().reshape(-1, n_features)
        # the columns of every group, and its number of categories, 0 for numbers
        self.groups = [
            (columns, part.logits.shape[-2] if _is_categorical(part) else 0)
            for part, columns in _list_parts(likelihood, n_features)
        ]
        known = ~rows.isnan()
        count = known.sum(dim=0).clamp_min(1)
        centre = rows.nan_to_num(0.0).sum(dim=0) / count
        square = torch.where(known, rows - centre, 0.0).square().sum(dim=0) / count
        is_constant = square == 0
        self.centre: torch.Tensor
        self.unit: torch.Tensor
        self.n_steps: torch.Tensor
        self.register_buffer("centre", centre)
        self.register_buffer("unit", torch.where(is_constant, 1.0, square.sqrt()))
        self.has_flags = not bool(known.all())
        n_inputs = sum(len(c) * max(k, 1) for c, k in self.groups)
        n_inputs += n_features * self.has_flags
        self.body, n_hidden = MLP(hidden_layer_sizes).make_encoder(n_inputs)
        self.head = Linear(n_hidden, 1)
        self.to(x)
        for i, p in enumerate(self.parameters()):
            self.register_buffer(f"square_{i}", torch.zeros_like(p.detach()))
        self.register_buffer("n_steps", x.new_zeros(()))

    @override
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """Return log-odds of inputs (..., n, n_inputs), ``(..., n)`` nats."""
        return self.head(self.body(u)).squeeze(-1)

    def represent(self, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs for rows, missing cells being NaN."""
        missing = find_missing(x)
        if missing is not None:
            x = torch.where(missing, NEUTRAL, x)
        parts = []
        for columns, n_categories in self.groups:
            values = x.index_select(-1, columns.to(x.device))
            parts.append(_mark(values, n_categories) if n_categories else values)
        return self._join(parts, missing, x)

    def represent_draws(self, likelihood: Any, x: torch.Tensor) -> torch.Tensor:
        """Return the inputs for a draw of p(x|z), with the missing cells of rows x.

        They are what `represent` returns for the drawn row, and have a gradient.
        """
        parts = [part for part, _ in _list_parts(likelihood, x.shape[-1])]
        found = [
            _draw(part, self.unit[columns])
            for part, (columns, _) in zip(parts, self.groups, strict=True)
        ]
        return self._join(found, find_missing(x), x)

    def _join(
        self, parts: list[torch.Tensor], missing: torch.Tensor | None, x: torch.Tensor
    ) -> torch.Tensor:
        found = []
        for values, (columns, n_categories) in zip(parts, self.groups, strict=True):
            columns = columns.to(x.device)
            hidden = None if missing is None else missing.index_select(-1, columns)
            if n_categories:
                # (..., n_categories, n_columns)
                hidden = None if hidden is None else hidden.unsqueeze(-2)
            else:
                values = squash((values - self.centre[columns]) / self.unit[columns])
            if hidden is not None:
                values = values.masked_fill(hidden, 0.0)
            found.append(values.flatten(-2) if n_categories else values)
        # categories of z are the same for all rows
        leading = broadcast_shapes(*(part.shape[:-1] for part in found), x.shape[:-1])
        found = [part.expand(*leading, -1) for part in found]
        if self.has_flags:
            flags = torch.zeros_like(x) if missing is None else missing.to(x)
            found.append(flags.expand(*leading, -1))
        return torch.cat(found, dim=-1)

    def learn(
        self,
        real: torch.Tensor,
        fake: torch.Tensor,
        share: torch.Tensor,
        lr: float,
        penalty: float,
    ) -> None:
        """Take a step on the inputs of real and of drawn rows.

        It lowers the cross-entropy and ``penalty / 2`` times the squared gradient of
        the log-odds at real rows; ``share`` are weights of the rows.
        """
        parameters = list(self.parameters())
        with torch.enable_grad():
            real = real.detach().requires_grad_()
            odds = self(real)
            loss = (share * compute_entropy(odds, self(fake.detach()))).sum()
            if penalty:
                (slope,) = torch.autograd.grad(odds.sum(), real, create_graph=True)
                loss = loss + penalty / 2 * (share * slope.square().sum(dim=-1)).sum()
            gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            self.n_steps.add_(1)
            correction = 1 - _MEMORY**self.n_steps
            for i, (p, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                square = self.get_buffer(f"square_{i}")
                square.mul_(_MEMORY).add_((1 - _MEMORY) * gradient.square())
                p.sub_(lr * gradient / ((square / correction).sqrt() + _TINY))


def compute_entropy(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return -log D(x) - log(1 - D(x')) from log-odds of real and of drawn rows."""
    return softplus(-real) + softplus(fake)


def _list_parts(likelihood: Any, n_features: int) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield the distribution of every group of columns, and the columns."""
    if isinstance(likelihood, ColumnGroups):
        yield from zip(likelihood.distributions, likelihood.columns, strict=True)
    else:
        yield likelihood, torch.arange(n_features)


def _is_categorical(part: Any) -> bool:
    return isinstance(part, CategoricalColumns)


def _mark(codes: torch.Tensor, n_categories: int) -> torch.Tensor:
    """Return ones at codes (..., n), zeros elsewhere, ``(..., n_categories, n)``."""
    levels = torch.arange(n_categories, device=codes.device).unsqueeze(-1)
    return (codes.long().unsqueeze(-2) == levels).to(codes.dtype)


def _draw(part: Any, unit: torch.Tensor) -> torch.Tensor:
    """Return a draw, whose gradient is that of its mean and standard deviation.

    x = mean + scale · r, with r held constant. It is exact for families of location and
    scale. Of a category, or of zeros and ones, it is half of the gradient at either
    value: the trapezoidal rule of Liu et al. (2023), which is exact for
    quadratic functions of the draw, where the straight-through one is for linear ones.
    """
    if isinstance(part, TransformedColumns):
        # through the map: its mean and variance are sums over hundreds of nodes
        return part.invert(_draw(part.base, torch.ones_like(unit)))
    if part.has_rsample:
        return part.rsample()
    if not torch.is_grad_enabled():
        value = part.sample()
        return _mark(value, part.probs.shape[-2]) if _is_categorical(part) else value
    # a background is for scores
    part = getattr(part, "mixture", part)
    if _is_categorical(part):
        mean = part.probs
        value, variance = _mark(part.sample(), mean.shape[-2]), mean * (1 - mean)
        unit = torch.ones_like(unit)
    else:
        value = part.sample()
        if isinstance(part, ColumnChain):
            # given the columns before, as drawn: those of the row have no gradient
            part = part.conditionals.given(value)
        mean, variance = part.mean, part.variance
    variance = variance / unit**2
    # such as that of a t distribution of few degrees of freedom
    variance = torch.where(variance < torch.inf, variance, 1.0)
    scale = (variance + _LEAST_VARIANCE).sqrt() * unit
    return mean + scale * ((value - mean) / scale).detach()
