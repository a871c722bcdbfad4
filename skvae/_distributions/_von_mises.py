"""The von Mises distribution of angles."""

import math

import numpy as np
import torch
from scipy.stats import vonmises
from torch.distributions import VonMises as _TorchVonMises
from typing_extensions import override

from ._base import UncheckedDistribution, apply_numpy

# least length of a vector: that of zero has no direction, and its root no gradient
_LEAST = 1e-9
_N_HALVINGS = 40


def compute_resultant(concentration):
    """Return A(κ) = I1(κ) / I0(κ), the length of the mean of unit vectors."""
    return torch.special.i1e(concentration) / torch.special.i0e(concentration)


class VonMises(UncheckedDistribution):
    r"""Angles by their natural parameters, κ (cos μ, sin μ).

    .. math:: p(x) = \frac{2 \pi}{P}
        \frac{\exp(\kappa \cos(2 \pi x / P - \mu))}{2 \pi I_0(\kappa)}

    Parameters
    ----------
    east, north : Tensor (..., n_features)
        κ cos μ and κ sin μ.
    low : Tensor (n_features,)
        Where the interval of the mean and of draws begins. Densities are periodic.
    period : float
        P, a full turn.
    """

    def __init__(self, east, north, low, period):
        self.east, self.north, self.low, self.period = east, north, low, period
        super().__init__(east.shape, low.shape)

    @property
    def concentration(self):
        """κ, ``(..., n_features)``."""
        return (self.east.square() + self.north.square() + _LEAST**2).sqrt()

    @property
    def moments(self):
        """Mean of cosine and sine, ``(..., 2, n_features)``."""
        concentration = self.concentration
        vector = torch.stack([self.east, self.north], dim=-2)
        ratio = compute_resultant(concentration) / concentration
        return vector * ratio.unsqueeze(-2)

    def wrap(self, angle):
        """Return angles in radians in the units of X, in their interval."""
        x = angle * (self.period / (2 * math.pi)) - self.low
        turned = x - self.period * torch.floor(x / self.period)
        # rounding must not end at the other end of the interval
        return self.low + torch.where(turned < self.period, turned, 0.0)

    @property
    @override
    def mean(self):
        """Mean direction."""
        return self.wrap(torch.atan2(self.north, self.east))

    @property
    @override
    def variance(self):
        """Variance 2 (1 - A(κ)), that of a normal distribution where it is small."""
        resultant = compute_resultant(self.concentration)
        return 2 * (1 - resultant) * (self.period / (2 * math.pi)) ** 2

    @override
    def log_prob(self, value):
        """Return the log density of every column, ``(..., n_features)``.

        κ (cos δ - 1) is -κ / 2 times the squared distance of two unit vectors, without
        the digits that the cosine of a small angle δ has lost. With exp(-κ) in it the
        Bessel function does not overflow.
        """
        concentration = self.concentration
        angle = value * (2 * math.pi / self.period)
        distance = (torch.cos(angle) - self.east / concentration).square()
        distance = distance + (torch.sin(angle) - self.north / concentration).square()
        log_mass = torch.special.i0e(concentration).log() + math.log(self.period)
        return -0.5 * concentration * distance - log_mass

    def _draw(self, shape):
        loc = torch.atan2(self.north, self.east).expand(shape)
        concentration = self.concentration.expand(shape)
        return self.wrap(
            _TorchVonMises(loc, concentration, validate_args=False).sample()
        )

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        loc = torch.atan2(self.north, self.east)
        concentration = self.concentration.expand_as(level)
        return self.wrap(loc + apply_numpy(_invert_cdf, level, concentration))


def _invert_cdf(level, concentration):
    """Return angles between -π and π, around a mean direction of 0, by bisection."""
    low, high = np.full_like(level, -np.pi), np.full_like(level, np.pi)
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        is_low = vonmises.cdf(middle, concentration) < level
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return (low + high) / 2
