"""Values that are zero with a probability of their own."""

import torch
from torch.distributions import constraints
from torch.nn.functional import logsigmoid
from typing_extensions import override

from ._base import UncheckedDistribution


class _WithZeros(UncheckedDistribution):
    """Zero, with log-odds ``logits``, or else a draw of another distribution."""

    def __init__(self, base, logits):
        self.base, self.logits = base, logits
        super().__init__(base.batch_shape, logits.shape)

    @property
    @override
    def mean(self):
        return torch.sigmoid(-self.logits) * self.base.mean

    @property
    @override
    def variance(self):
        kept, zero = torch.sigmoid(-self.logits), torch.sigmoid(self.logits)
        # squares beyond the largest float
        largest = torch.finfo(self.logits.dtype).max
        square = self.base.mean.square().clamp(max=largest / 2)
        return kept * (self.base.variance.clamp(max=largest / 2) + zero * square)

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            x = self.base.sample(sample_shape)
            return torch.where(torch.rand_like(x) < torch.sigmoid(self.logits), 0.0, x)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        zero = torch.sigmoid(self.logits)
        # above that share the rest of the level is uniform again
        eps = torch.finfo(level.dtype).eps
        rest = ((level - zero) / (1 - zero)).clamp(eps, 1 - eps)
        return torch.where(level < zero, 0.0, self.base.draw_at(rest))


class ZeroInflated(_WithZeros):
    """Counts that may be zero for two reasons: the base has zeros, too."""

    @property
    @override
    def support(self):
        return self.base.support

    @override
    def log_prob(self, value):
        log_prob = self.base.log_prob(value)
        # π + (1 - π) p(0) is (1 - π) (exp(logit) + p(0))
        log_prob = torch.where(
            value == 0, torch.logaddexp(self.logits, log_prob), log_prob
        )
        return log_prob + logsigmoid(-self.logits)


class Hurdle(_WithZeros):
    """Amounts whose base is positive: zero has a probability, others a density."""

    support = constraints.nonnegative

    @override
    def log_prob(self, value):
        is_zero = value == 0
        amount = self.base.log_prob(torch.where(is_zero, 1.0, value))
        amount = logsigmoid(-self.logits) + amount
        return torch.where(is_zero, logsigmoid(self.logits), amount)
