"""Columns of a row, each with a distribution given the columns before it."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch.distributions import Bernoulli, constraints
from typing_extensions import override

from .._utils._missing import find_incomplete_rows, list_incomplete
from ._base import UncheckedDistribution, broadcast_shapes

# draws of the missing cells of a row for every draw of z
_N_CELL_DRAWS = 4
# draws that variances are averaged over
_N_MOMENT_DRAWS = 16


def draw_at(distribution, level):
    """Return the draws of a distribution that uniform levels stand for.

    They depend on level and parameters alone: rows with the same levels share their
    noise.
    """
    if isinstance(distribution, Bernoulli):
        return (level < distribution.probs).to(level)
    if hasattr(distribution, "draw_at"):
        return distribution.draw_at(level)
    try:
        return distribution.icdf(level)
    except NotImplementedError:
        name = type(distribution).__name__
        raise NotImplementedError(
            f"Scores of rows with missing cells need a method {name}.icdf(level), or "
            "draw_at(level), that turns uniform levels into draws."
        ) from None


# all chunks of a table have the same noise
@lru_cache(maxsize=16)
def _draw_levels(noise, n_rows, n_draws, n_features):
    """Return levels (n_draws, n_rows, n_features), those of a row from its bytes."""
    words = np.frombuffer(noise, dtype=np.uint32).reshape(n_rows, -1).tolist()
    shape = n_draws, n_features
    return np.stack([np.random.default_rng(row).random(shape) for row in words], 1)


class KnownColumns(UncheckedDistribution):
    """Columns that are known: every draw is their value."""

    def __init__(self, value):
        self.value = value
        super().__init__(value.shape)

    @property
    @override
    def mean(self):
        return self.value


class ScaledColumns(UncheckedDistribution):
    """Columns whose distribution is known in units of their own, exp(log_unit)."""

    def __init__(self, base, log_unit):
        self.base, self.log_unit = base, log_unit
        super().__init__(base.batch_shape, log_unit.shape)

    @property
    @override
    def support(self):
        return self.base.support

    @property
    @override
    def mean(self):
        return self.base.mean * self.log_unit.exp()

    @property
    @override
    def variance(self):
        return self.base.variance * (2 * self.log_unit).exp()

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.base.sample(sample_shape) * self.log_unit.exp()

    def draw_at(self, level):
        """Return the draws that uniform levels stand for."""
        return draw_at(self.base, level) * self.log_unit.exp()

    @override
    def log_prob(self, value):
        return self.base.log_prob(value * (-self.log_unit).exp()) - self.log_unit


class ColumnChain(UncheckedDistribution):
    r"""A distribution of one row, p(x) = Π_j p(x_j | x_<j).

    With missing cells, ``log_prob`` is an estimate by importance sampling: missing
    cells are drawn, in the order of the columns, from p(x_j | x_<j), or numbers from a
    distribution q that takes account of known columns behind them, and the density of
    the others, times p / q, is averaged over the draws. The mean of the estimate is the
    density of the observed cells.

    Parameters
    ----------
    shape : tuple of int
        Batch shape and number of columns.
    conditionals : object
        ``given(x)`` is the distribution of all columns, independent of one another,
        where those before have the values x. ``encode(x)`` returns what columns depend
        on, ``at(codes, j, rows)`` the distribution of column j given that, of some
        rows, and ``update(codes, values, j, rows)`` writes a new value of column j of
        these rows into it. None stands for all rows. ``look_ahead(x, missing,
        n_draws)`` returns a `LookAhead` or None.
    noise : Tensor (n_draws, ...) or None
        Draws of the first dimension, which all rows share. The draws of missing cells
        are derived from them, and are the same for all rows. None makes new ones.
    """

    support = constraints.real_vector
    # whether missing cells are drawn given all observed ones, also later ones
    completes_exactly = False

    def __init__(self, shape, conditionals, noise=None):
        self.conditionals, self.noise = conditionals, noise
        super().__init__(shape, event_dim=1)

    def _make_levels(self, n_draws):
        """Return levels, ``(n_draws, len(noise), 1, ..., n_features)``.

        They are functions of the noise, however it is cut into blocks.
        """
        (n_features,) = self.event_shape
        noise = self.noise.detach().reshape(len(self.noise), -1).double().cpu()
        levels = _draw_levels(noise.numpy().tobytes(), len(noise), n_draws, n_features)
        n_between = len(self.batch_shape) - 1
        shape = (n_draws, len(noise), *[1] * n_between, n_features)
        return torch.as_tensor(levels).reshape(shape)

    @torch.no_grad()
    def _walk(self, value, missing, choose, guide=None):
        """Return values with missing cells filled.

        ``choose(distribution, j, shape)`` returns those of column j, of the
        distributions of a `LookAhead` if there is one.
        """
        x = value.clone()
        codes = self.conditionals.encode(x)
        for j in list_incomplete(missing):
            cell, rows = slice(j, j + 1), find_incomplete_rows(missing, j)
            n_rows = x.shape[-2] if rows is None else len(rows)
            shape = *x.shape[:-2], n_rows, 1
            conditional = self.conditionals.at(codes, j, rows)
            if guide is not None:
                conditional = guide.twist(conditional, j, x, rows)
            found = choose(conditional, j, shape).to(x)
            if rows is None:
                found = torch.where(missing[..., cell], found, x[..., cell])
                x[..., cell] = found
            else:
                x[..., rows, cell] = found.expand(shape)
            self.conditionals.update(codes, x, j, rows)
        return x

    @torch.no_grad()
    def _fill(self, value, missing, n_draws):
        """Return draws of the missing cells, ``(n_draws, ..., n_features)``.

        Beside them is log p(x_j | x_<j) less the log density that they come from, 0
        where that is the same.
        """
        leading = broadcast_shapes(value.shape[:-1], self.batch_shape)
        value = value.expand(*leading, -1)
        guide = self.conditionals.look_ahead(value, missing, n_draws)
        value = value.expand(n_draws, *leading, -1)
        if self.noise is None:

            def choose(found, j, shape):
                return found.sample()

        else:
            limits = torch.finfo(value.dtype).tiny, 1 - torch.finfo(value.dtype).eps
            levels = self._make_levels(n_draws).to(value).clamp(*limits)

            def choose(found, j, shape):
                return draw_at(found, levels[..., j : j + 1].expand(shape))

        x = self._walk(value, missing, choose, guide)
        return x, 0.0 if guide is None else guide.log_ratio(x)

    def _score_filled(self, value, missing, n_draws):
        """Return log p(x_j | x_<j) of draws, in missing cells less what they come from.

        In the gradient drawn cells count with their share of the weight (Bornschein &
        Bengio 2015, "Reweighted wake-sleep", eq. 5): that of log p(x_observed), more
        exactly the more draws there are.
        """
        x, log_ratio = self._fill(value, missing, n_draws)
        log_prob = self.conditionals.given(x).log_prob(x)
        drawn = log_prob - log_prob.detach() + log_ratio
        return x, torch.where(missing, drawn, log_prob)

    @override
    def log_prob(self, value, missing=None):
        """Return the log density of the columns that are not missing, ``(...)``."""
        if missing is None:
            return self.log_prob_by_column(value).sum(dim=-1)
        _, log_prob = self._score_filled(value, missing, _N_CELL_DRAWS)
        total = log_prob.sum(dim=-1).logsumexp(dim=0)
        return total - math.log(_N_CELL_DRAWS)

    def log_prob_by_column(self, value, missing=None):
        """Return log p(x_j | x_1, ..., x_{j-1}), ``(..., n_features)``."""
        if missing is None:
            return self.conditionals.given(value).log_prob(value)
        _, log_prob = self._score_filled(value, missing, _N_CELL_DRAWS)
        total = log_prob.cumsum(dim=-1).logsumexp(dim=0) - math.log(_N_CELL_DRAWS)
        # what was reached at the last known column
        found, before = [], torch.zeros_like(total[..., :1])
        for known, reached in zip(
            (~missing).split(1, dim=-1), total.split(1, dim=-1), strict=True
        ):
            found.append(torch.where(known, reached - before, 0.0))
            before = torch.where(known, reached, before)
        return torch.cat(found, dim=-1)

    def complete(self, value, missing, mean=False):
        """Return values with the missing cells drawn, and the density of the others.

        Draws are given z and the columns before. Averages over draws weighed by that
        density are averages given all observed cells. With ``mean``, missing cells have
        their means given the columns before instead.
        """
        if mean:
            leading = broadcast_shapes(value.shape[:-1], self.batch_shape)
            value = value.expand(*leading, -1)
            x = self._walk(value, missing, lambda found, *_: found.mean)
            log_prob = self.conditionals.given(x).log_prob(x)
            return x, log_prob.masked_fill(missing, 0.0).sum(dim=-1)
        x, log_prob = self._score_filled(value, missing, 1)
        return x[0], log_prob[0].sum(dim=-1)

    def _start_from_nothing(self, sample_shape=()):
        """Return a row of zeros for every draw, and a mask that hides all of it."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        value = self.conditionals.new_zeros(shape)
        return value, torch.ones_like(value, dtype=torch.bool)

    @property
    @override
    def mean(self):
        """Mean of every column, where those before are at their means."""
        start = self._start_from_nothing()
        return self._walk(*start, lambda found, *_: found.mean)

    @property
    @override
    def variance(self):
        """Variance of every column, averaged over draws of those before.

        The draws are the same at every call.
        """
        start = self._start_from_nothing((_N_MOMENT_DRAWS,))
        generator = np.random.default_rng(0)
        levels = generator.random((_N_MOMENT_DRAWS, *self.event_shape))
        levels = torch.as_tensor(levels).to(start[0])
        between = [1] * len(self.batch_shape)
        levels = levels.reshape(_N_MOMENT_DRAWS, *between, -1)
        columns = []

        def choose(found, j, shape):
            noise, mean = found.variance.mean(dim=0), found.mean
            columns.append(noise + mean.var(dim=0))
            return draw_at(found, levels[..., j : j + 1].expand(shape))

        self._walk(*start, choose)
        shape = self.batch_shape + self.event_shape
        return torch.cat(columns, dim=-1).expand(shape)

    @override
    def sample(self, sample_shape=()):
        start = self._start_from_nothing(sample_shape)
        return self._walk(*start, lambda found, *_: found.sample())
