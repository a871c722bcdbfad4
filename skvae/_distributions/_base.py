"""What the distributions share."""

import copy
import math

import torch
from torch.distributions import Distribution

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def detach(distribution):
    """Return a distribution with the same, constant parameters.

    One that holds anything but tensors and distributions has a method of that name.
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
