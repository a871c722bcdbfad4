"""Columns strictly between 0 and 1, such as shares and rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.special import digamma, polygamma
from typing_extensions import override

from .._closed_form._roots import bisect
from .._columns._support import OPEN_UNIT_INTERVAL
from .._distributions._beta import MAX_LOGIT
from .._distributions._beta import Beta as _BetaDistribution
from ._base import to_log_scale
from ._link import Link, stack_offsets
from ._location_scale import LocationScale

# values nearer to an end than this are the same to the encoder
_EDGE = 1e-6
# bounds of the log precision of the linear model
_LOG_PRECISION = -5.0, 25.0
_N_HALVINGS, _N_NEWTON = 14, 5


class BetaLink(Link):
    """Factor analysis of logits, as the mean and the precision of `Beta`.

    E[logit x] = ψ(μφ) - ψ((1 - μ)φ), Var[logit x] = ψ'(μφ) + ψ'((1 - μ)φ), solved at z
    = 0. With z only μ moves, so that E[logit x] moves as in the linear model.
    """

    n_offsets = 2
    least_noise = 1e-6

    def __init__(self, noise_floor: Any) -> None:
        self.noise_floor = noise_floor

    @override
    def represent(self, x: Any) -> Any:
        x = x.clamp(_EDGE, 1 - _EDGE)
        return x.log() - torch.log1p(-x)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        logit, log_precision = _match_moments(mean, scale**2 * noise)
        mu, phi = 1 / (1 + np.exp(-logit)), np.exp(log_precision)
        slope = 1 / (mu * (1 - mu) * phi * _compute_variance(mu * phi, (1 - mu) * phi))
        return stack_offsets(loadings * scale * slope, logit, log_precision)


class Beta(LocationScale):
    r"""Columns strictly between 0 and 1, with a mean and a precision.

    .. math::
        p(x|z) = \prod_j \frac{\Gamma(\phi_j)}
        {\Gamma(\mu_j \phi_j) \Gamma((1 - \mu_j) \phi_j)}\,
        x_j^{\mu_j \phi_j - 1} (1 - x_j)^{(1 - \mu_j) \phi_j - 1}, \quad
        \mu_j = \mu_j(z)

    The variance is μ (1 - μ) / (1 + φ). The ends themselves are refused: the density is
    zero or infinite there. Where they occur, use `ContinuousBernoulli`, or move them
    inside by half a step of the measurement.

    Parameters
    ----------
    noise : {'feature', 'network'}, default='feature'
        One learned precision φ per column; or one per column and row, given by the
        decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest variance of logit x given z as a share of the column's, about. 'auto'
        is 1e-12 where the precision does not depend on z, and 1e-3 (or what the linear
        model found, if less) where it does.

    Notes
    -----
    Raw outputs for the mean are in units of 2 / √(1 + φ), about the spread of logit x
    given z in the linear model. Training starts at factor analysis of logit x.

    References
    ----------
    Ferrari & Cribari-Neto (2004), "Beta regression for modelling rates and
    proportions", eq. 4.
    """

    support = OPEN_UNIT_INTERVAL

    _noise_names = ("feature", "network")

    @property
    def link(self) -> Link:
        """Factor analysis of logit x, with the same mean and variance."""
        return BetaLink(self._noise_floor)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        logit, log_precision = offset.unbind(dim=-2)
        raw_scale = self.get_raw_scale(raw, free)
        unit = 2 * torch.rsqrt(1 + log_precision.exp())
        return _BetaDistribution(
            logit + unit * raw[..., 0, :],
            log_precision - 2 * to_log_scale(raw_scale, log_range),
        )


def _compute_variance(a, b):
    """Return Var[logit x] for x ~ Beta(a, b)."""
    return polygamma(1, a) + polygamma(1, b)


def _match_moments(mean, variance):
    """Return logit μ and log φ with the given moments of logit x.

    The mean rises with the one, the variance falls with the other: bisection within
    bisection comes near, and steps of Newton's method do the rest.
    """

    def get_shapes(logit, log_precision):
        phi = np.exp(log_precision)
        return phi / (1 + np.exp(-logit)), phi / (1 + np.exp(logit))

    def find_logit(log_precision):
        def is_below(logit):
            a, b = get_shapes(logit, log_precision)
            return digamma(a) - digamma(b) < mean

        limit = np.full_like(mean, MAX_LOGIT)
        return bisect(is_below, -limit, limit, _N_HALVINGS)

    def is_below(log_precision):
        shapes = get_shapes(find_logit(log_precision), log_precision)
        return _compute_variance(*shapes) > variance

    low, high = (np.full_like(mean, end) for end in _LOG_PRECISION)
    log_precision = bisect(is_below, low, high, _N_HALVINGS)
    logit = find_logit(log_precision)
    for _ in range(_N_NEWTON):
        a, b = get_shapes(logit, log_precision)
        mu, rest = a / (a + b), b / (a + b)
        misses = digamma(a) - digamma(b) - mean, _compute_variance(a, b) - variance
        # derivatives of both by log a and log b
        by_a = a * polygamma(1, a), a * polygamma(2, a)
        by_b = -b * polygamma(1, b), b * polygamma(2, b)
        determinant = by_a[0] * by_b[1] - by_b[0] * by_a[1]
        step_a = (misses[1] * by_b[0] - misses[0] * by_b[1]) / determinant
        step_b = (misses[0] * by_a[1] - misses[1] * by_a[0]) / determinant
        moved = logit + step_a - step_b, log_precision + mu * step_a + rest * step_b
        # moments that no distribution within the limits has stay as bisection left them
        is_inside = (
            (np.abs(moved[0]) < MAX_LOGIT) & (low < moved[1]) & (moved[1] < high)
        )
        logit = np.where(is_inside, moved[0], logit)
        log_precision = np.where(is_inside, moved[1], log_precision)
    return logit, log_precision
