"""Columns of codes and of integers."""

import torch
from torch.distributions import constraints
from torch.nn.functional import logsigmoid
from typing_extensions import override

from ._base import UncheckedDistribution, pick


def _log_between(below, above, width, is_lowest, is_highest):
    """Return log(σ(above) - σ(below)), with open ends at the lowest and highest.

    σ(a) - σ(b) = σ(a) σ(-b) (1 - exp(-(a - b))): three factors, none of which loses
    digits, where the difference itself is 0 in floating point as soon as a and b are
    far from 0 or close to each other.
    """
    up = torch.where(is_highest, 0.0, logsigmoid(above))
    down = torch.where(is_lowest, 0.0, logsigmoid(-below))
    between = torch.where(is_lowest | is_highest, 0.0, (-torch.expm1(-width)).log())
    return up + down + between


class CategoricalColumns(UncheckedDistribution):
    """One of some categories in every column, coded 0, 1, ..., ``highest``.

    ``logits`` are (..., n_categories, n_features). ``has_gaps`` is whether any column
    has fewer categories than others; False saves a mask.
    """

    def __init__(self, logits, highest, has_gaps=True):
        if has_gaps:
            codes = torch.arange(logits.shape[-2], device=logits.device).unsqueeze(-1)
            logits = logits.masked_fill(codes > highest, -1e30)
        self.logits, self.highest = logits, highest
        self.support = constraints.integer_interval(0, highest)
        super().__init__(logits.shape[:-2] + logits.shape[-1:])

    @property
    def probs(self):
        """Probability of every category, ``(..., n_categories, n_features)``."""
        return torch.softmax(self.logits, dim=-2)

    @property
    @override
    def mean(self):
        """Likeliest code: names of categories have no mean."""
        return self.logits.argmax(dim=-2).to(self.logits)

    @property
    @override
    def variance(self):
        """Variance of the indicators of all categories together, 1 - Σ p²."""
        return 1 - self.probs.square().sum(dim=-2)

    def _draw(self, shape):
        # where the cumulated probabilities exceed a uniform draw, which takes no more
        # memory than the code
        cumulated = self.probs.movedim(-2, -1).contiguous().cumsum(dim=-1)
        # rounding may leave the last below 1
        top = cumulated[..., -1]
        level = top * torch.rand(shape, dtype=top.dtype, device=top.device)
        # (..., n_features, n_draws)
        by_column = level.reshape(-1, *self.batch_shape).movedim(0, -1)
        index = torch.searchsorted(cumulated, by_column.contiguous(), right=True)
        code = index.movedim(-1, 0).reshape(shape).to(top)
        return torch.minimum(code, self.highest.to(top))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        cumulated = self.probs.cumsum(dim=-2)
        # rounding may leave the last below 1
        level = cumulated[..., -1, :] * level
        code = (cumulated <= level.unsqueeze(-2)).sum(dim=-2).to(level)
        return torch.minimum(code, self.highest.to(level))

    @override
    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        Values are cut to codes: the 0.5 that replaces a missing value counts as 0.
        """
        index = value.long().clamp(0, self.logits.shape[-2] - 1)
        # with the categories next to each other in memory: a third of the time
        total = self.logits.mT.contiguous().logsumexp(dim=-1)
        return pick(self.logits, index) - total


class OrdinalColumns(UncheckedDistribution):
    """Codes of ordered categories, up to ``highest``: P(x <= k) = σ(t_k - loc).

    ``first`` is the lowest threshold t_0 of every column, (..., n_features); ``gaps``
    are the distances of the others from the one below, (..., n_categories - 2,
    n_features). ``steps`` (n_categories - 1, n_features) are the distances of the
    numbers that the codes stand for, None where they are equal.
    """

    def __init__(self, loc, first, gaps, highest, steps=None):
        self.loc, self.highest, self.steps = loc, highest, steps
        self.support = constraints.integer_interval(0, highest)
        first = first.unsqueeze(-2)
        # one more, never used, since columns of two categories have no gap
        self.gaps = torch.cat([torch.ones_like(first), gaps], dim=-2)
        self.thresholds = torch.cat([first, first + gaps.cumsum(dim=-2)], dim=-2)
        super().__init__(loc.shape)

    @property
    def _exceeding(self):
        """P(x > k) for all k but the last, ``(..., n_categories - 1, n_features)``."""
        n = self.thresholds.shape[-2]
        codes = torch.arange(n, device=self.loc.device).unsqueeze(-1)
        beyond = torch.sigmoid(self.loc.unsqueeze(-2) - self.thresholds)
        return torch.where(codes >= self.highest, 0.0, beyond)

    @property
    def probs(self):
        """Probability of every category, ``(..., n_categories, n_features)``."""
        exceeding = self._exceeding
        edge = torch.ones_like(exceeding[..., :1, :])
        bounds = torch.cat([edge, exceeding, 0 * edge], dim=-2)
        return bounds[..., :-1, :] - bounds[..., 1:, :]

    @property
    @override
    def mean(self):
        """Expected code or, with steps, where the expected number is among the codes.

        There it lies between two codes as the expected number between theirs.
        """
        if self.steps is None:
            return self._exceeding.sum(dim=-2)
        expected = (self._exceeding * self.steps).sum(dim=-2, keepdim=True)
        below = self.steps.cumsum(dim=-2) - self.steps
        return ((expected - below) / self.steps).clamp(0.0, 1.0).sum(dim=-2)

    @property
    @override
    def variance(self):
        exceeding = self._exceeding
        odd = 2 * torch.arange(exceeding.shape[-2], device=self.loc.device) + 1
        square = (odd.unsqueeze(-1) * exceeding).sum(dim=-2)
        return (square - exceeding.sum(dim=-2) ** 2).clamp_min(0.0)

    def _draw(self, shape):
        return self.draw_at(torch.rand_like(self.loc.expand(shape)))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        return (level.unsqueeze(-2) < self._exceeding).sum(dim=-2).to(self.loc)

    @override
    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        Values are cut to codes: the 0.5 that replaces a missing value counts as 0.
        """
        n = self.thresholds.shape[-2]
        index = value.long()
        upper, lower = index.clamp(0, n - 1), (index - 1).clamp(0, n - 1)
        above = pick(self.thresholds, upper) - self.loc
        below = pick(self.thresholds, lower) - self.loc
        width = pick(self.gaps, upper)
        return _log_between(below, above, width, index <= 0, index >= self.highest)


class DiscretizedLogistic(UncheckedDistribution):
    """A logistic variable, rounded to an integer and cut at two bounds."""

    def __init__(self, loc, log_scale, low, high):
        self.loc, self.log_scale, self.low, self.high = loc, log_scale, low, high
        self.support = constraints.integer_interval(low, high)
        super().__init__(loc.shape, log_scale.shape)

    def _sum_tails(self):
        """Return Σ P(x >= k) and Σ (2 (k - low) - 1) P(x >= k) over all k above low.

        It goes one level at a time, since a tensor of all may be too large.
        """
        rate = torch.exp(-self.log_scale)
        first, second = (self.loc.new_zeros(self.batch_shape) for _ in range(2))
        for k in range(self.low + 1, self.high + 1):
            tail = torch.sigmoid((self.loc - (k - 0.5)) * rate)
            first = first + tail
            second = second + (2 * (k - self.low) - 1) * tail
        return first, second

    @property
    @override
    def mean(self):
        first, _ = self._sum_tails()
        return self.low + first

    @property
    @override
    def variance(self):
        first, second = self._sum_tails()
        return (second - first**2).clamp_min(0.0)

    def _draw(self, shape):
        return self.draw_at(torch.rand_like(self.loc.expand(shape)))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        x = self.loc + self.log_scale.exp() * torch.logit(level, eps=1e-7)
        return x.round().clamp(self.low, self.high)

    @override
    def log_prob(self, value):
        rate = torch.exp(-self.log_scale)
        residual = value - self.loc
        return _log_between(
            (residual - 0.5) * rate,
            (residual + 0.5) * rate,
            rate,
            value <= self.low,
            value >= self.high,
        )
