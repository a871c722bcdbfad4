"""Functions that several distributions use."""

import copy
import math

import torch
from torch.distributions import Distribution

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Stirling's series has all digits from here on
_STIRLING_FROM = 16.0


def detach(distribution):
    """Return a distribution with the same, constant parameters.

    A distribution of other attributes than tensors and distributions has a method of
    that name.
    """
    if hasattr(distribution, "detach"):
        return distribution.detach()
    constant = copy.copy(distribution)
    for name, value in vars(distribution).items():
        if isinstance(value, torch.Tensor):
            setattr(constant, name, value.detach())
        elif isinstance(value, Distribution):
            setattr(constant, name, detach(value))
    return constant


def without_autocast(tensor):
    """Return a context in which products keep the precision of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)


def stirling_error(t):
    """Return log Γ(t) - [(t - 1/2) log t - t + log(2π) / 2], small for large t."""
    small, large = t.clamp(max=_STIRLING_FROM), t.clamp(min=_STIRLING_FROM)
    exact = torch.lgamma(small) - (small - 0.5) * small.log() + small - HALF_LOG_2PI
    r = 1 / large**2
    series = (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r / 1680))) / large
    return torch.where(t < _STIRLING_FROM, exact, series)
