"""Columns of successes out of a known number of trials."""

import torch
from scipy.stats import binom
from torch.distributions import constraints
from torch.nn.functional import logsigmoid
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, apply_numpy, stirling_error


class LogitBinomial(UncheckedDistribution):
    """Successes in ``n_trials`` trials, by the logit of the probability of each.

    ``n_trials`` (n_features,) is a tensor.
    """

    def __init__(self, logits, n_trials):
        self.logits, self.n_trials = logits, n_trials
        super().__init__(logits.shape, n_trials.shape)

    @property
    @override
    def support(self):
        return constraints.integer_interval(0, self.n_trials)

    @property
    @override
    def mean(self):
        return self.n_trials * torch.sigmoid(self.logits)

    @property
    @override
    def variance(self):
        return self.mean * torch.sigmoid(-self.logits)

    @override
    def log_prob(self, value):
        """Return the log-probability of every column, ``(..., n_features)``.

        The large terms of Stirling's formula for the binomial coefficient cancel
        against those of p^k (1 - p)^(n - k); what is left are two deviances, each
        positive (Loader 2000, "Fast and accurate computation of binomial
        probabilities", eq. 7).
        """
        n = self.n_trials
        log_p, log_q = logsigmoid(self.logits), logsigmoid(-self.logits)
        # between the ends; where all or none succeed the coefficient is 1
        yes = torch.minimum(value.clamp(min=1), (n - 1).clamp(min=1))
        no = (n - yes).clamp(min=1)
        by_yes = n.log() + log_p - yes.log()
        by_no = n.log() + log_q - no.log()
        deviance = yes * (torch.expm1(by_yes) - by_yes)
        deviance = deviance + no * (torch.expm1(by_no) - by_no)
        width = 0.5 * (n.log() - yes.log() - no.log()) - HALF_LOG_2PI
        error = stirling_error(n) - stirling_error(yes) - stirling_error(no)
        between = error + width - deviance
        ends = torch.where(value < 1, n * log_q, n * log_p)
        return torch.where((value < 1) | (value > n - 1), ends, between)

    def _draw(self, shape):
        # of the rarer outcome, whose probability keeps its digits
        rarer = torch.sigmoid(-self.logits.abs()).expand(shape).contiguous()
        n = self.n_trials.expand(shape).contiguous()
        draws = torch.binomial(n, rarer)
        return torch.where(self.logits > 0, n - draws, draws)

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        n, p = self.n_trials.expand_as(level), torch.sigmoid(self.logits)
        x = apply_numpy(binom.ppf, level, n, p.expand_as(level))
        return torch.where(x.isfinite(), x, self.mean.round())
