"""Functions that several distributions use."""

import copy
import math

import numpy as np
import torch
from torch.distributions import Distribution, constraints
from typing_extensions import override

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Stirling's series has all digits from here on
_STIRLING_FROM = 16.0


class UncheckedDistribution(Distribution):
    """Base of distributions whose parameters and values are not checked.

    Its shape is that of the parameters, broadcast; the last ``event_dim`` dimensions
    are one event. A subclass defines `rsample`, or draws of a shape, ``_draw(shape)``.
    """

    support = constraints.real
    arg_constraints = {}  # noqa: RUF012  (torch's own convention)

    def __init__(self, *shapes, event_dim=0):
        shape = broadcast_shapes(*shapes)
        n_batch = len(shape) - event_dim
        super().__init__(shape[:n_batch], shape[n_batch:], validate_args=False)

    @override
    def sample(self, sample_shape=()):
        if self.has_rsample:
            return super().sample(sample_shape)
        with torch.no_grad():
            return self._draw(self._extended_shape(torch.Size(sample_shape)))


def broadcast_shapes(*shapes):
    """Do as ``torch.broadcast_shapes``, which is slower and imports sympy."""
    n_dims = max(map(len, shapes))
    found = [1] * n_dims
    for shape in shapes:
        for i, size in enumerate(shape, n_dims - len(shape)):
            if size != 1 and found[i] not in (1, size):
                # for its message
                return torch.broadcast_shapes(*shapes)
            found[i] = size if size != 1 else found[i]
    return torch.Size(found)


def pick(values, index):
    """Return values (..., K, d) at index (..., d) of the last dimension but one."""
    shape = broadcast_shapes(values.shape[:-2] + values.shape[-1:], index.shape)
    values = values.expand(*shape[:-1], *values.shape[-2:])
    return values.gather(-2, index.expand(shape).unsqueeze(-2)).squeeze(-2)


def apply_numpy(function, *tensors):
    """Return a function of arrays, which torch lacks, of tensors of one shape."""
    arrays = (tensor.detach().double().cpu().numpy() for tensor in tensors)
    with np.errstate(all="ignore"):
        found = function(*arrays)
    return torch.as_tensor(found).to(tensors[0])


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
