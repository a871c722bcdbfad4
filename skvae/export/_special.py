"""Special functions that ONNX lacks, in terms of operators that it has.

They are Chebyshev series, exact to double precision, whose coefficients are those of
the functions of scipy.
"""

import numpy as np
import torch
from numpy.polynomial.chebyshev import chebinterpolate
from scipy.special import erfcx as scipy_erfcx
from scipy.special import i0e as scipy_i0e

_DEGREE = 28
# exp(-x) I0(x) is one series of x up to here, and another of 1 / x beyond
_BORDER = 8.0
# exp(x²) erfc(x) times 1 + 2 x is one series of (x - c) / (x + c) (Shepherd &
# Laframboise 1981, "Chebyshev approximation of (1 + 2x) exp(x²) erfc x")
_CENTRE = 3.75


def _sum_series(x, coefficients):
    """Return the sum of a Chebyshev series of x in [-1, 1] (Clenshaw 1955)."""
    last = before = torch.zeros_like(x)
    for coefficient in coefficients[:0:-1]:
        last, before = 2 * x * last - before + float(coefficient), last
    return x * last - before + float(coefficients[0])


def _scale_far(t):
    x = 2 * _BORDER / (t + 1)
    return np.sqrt(x) * scipy_i0e(x)


_NEAR = chebinterpolate(lambda t: scipy_i0e(_BORDER / 2 * (t + 1)), _DEGREE)
_FAR = chebinterpolate(_scale_far, _DEGREE)


def _scale_tail(t):
    x = _CENTRE * (1 + t) / (1 - t)
    return (1 + 2 * x) * scipy_erfcx(x)


_TAIL = chebinterpolate(_scale_tail, _DEGREE)


def i0e(x):
    """Return exp(-|x|) I0(x)."""
    size = x.abs()
    near = _sum_series(size.clamp(max=_BORDER) * (2 / _BORDER) - 1, _NEAR)
    far = size.clamp(min=_BORDER)
    beyond = _sum_series(2 * _BORDER / far - 1, _FAR) * far.rsqrt()
    return torch.where(size > _BORDER, beyond, near)


def atan2(y, x):
    """Return the angle of vectors, between -π and π."""
    # half of it is that of (r + x, y), and of (y, r - x) beside the negative axis
    radius = (x * x + y * y).sqrt()
    is_right = x >= 0
    above = torch.where(is_right, y, radius - x)
    below = torch.where(is_right, radius + x, y)
    # on the negative axis, and at the origin
    half = torch.atan(above / torch.where(below == 0, 1e-300, below))
    return 2 * half


def erfcx(x):
    """Return exp(x²) erfc(x)."""
    size = x.abs()
    series = _sum_series((size - _CENTRE) / (size + _CENTRE), _TAIL)
    found = series / (1 + 2 * size)
    return torch.where(x < 0, 2 * torch.exp(x * x) - found, found)
