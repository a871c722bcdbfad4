"""Operators of torch that ONNX lacks, in terms of those that it has.

All are for double precision, whose digits they keep.
"""

import math

import torch

from ._special import atan2, erfcx, i0e

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
# Stirling's series has all digits from here on
_STIRLING_FROM = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)

# Wichura (1988), "Algorithm AS 241: the percentage points of the normal distribution",
# PPND16: numerators and denominators, highest power first
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_MIDDLE = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def cholesky_ex(matrix, *, upper=False, check_errors=False):
    """Return the lower triangular root, one column at a time, and no error."""
    rest, columns = matrix, []
    for j in range(matrix.shape[-1]):
        column = rest[..., j] * rest[..., j, j].rsqrt().unsqueeze(-1)
        columns.append(column)
        rest = rest - column.unsqueeze(-1) * column.unsqueeze(-2)
    root = torch.stack(columns, dim=-1).tril()
    info = torch.zeros_like(matrix[..., 0, 0], dtype=torch.int32)
    return (root.mT if upper else root), info


def solve_triangular(matrix, rows, *, upper, left=True, unitriangular=False):
    """Return X with ``matrix @ X = rows``, one row at a time."""
    if not left:
        return solve_triangular(matrix.mT, rows.mT, upper=not upper).mT
    n = matrix.shape[-1]
    found, rest = [None] * n, rows
    for j in reversed(range(n)) if upper else range(n):
        row = rest[..., j, :] / matrix[..., j, j].unsqueeze(-1)
        found[j] = row
        rest = rest - matrix[..., :, j].unsqueeze(-1) * row.unsqueeze(-2)
    return torch.stack(found, dim=-2)


def cholesky_solve(rows, root, upper=False):
    """Return X with ``root @ root.mT @ X = rows``."""
    lower = root.mT if upper else root
    half = solve_triangular(lower, rows, upper=False)
    return solve_triangular(lower.mT, half, upper=True)


def lgamma(x):
    """Return log Γ(x) of positive numbers, by Stirling's series."""
    # Γ(x + 8) = Γ(x) x (x + 1) ... (x + 7)
    is_small = x < _STIRLING_FROM
    small = torch.where(is_small, x, 1.0)
    product = small
    for k in range(1, _STIRLING_FROM):
        product = product * (small + k)
    large = torch.where(is_small, small + _STIRLING_FROM, x)
    inverse = large.reciprocal()
    square, series = inverse * inverse, torch.zeros_like(large)
    for coefficient in reversed(_STIRLING):
        series = series * square + coefficient
    found = (large - 0.5) * large.log() - large + _HALF_LOG_2PI + series * inverse
    return torch.where(is_small, found - product.log(), found)


def ndtri(p):
    """Return the quantiles of the normal distribution."""
    centred = p - 0.5
    inner = 0.180625 - centred * centred
    middle = centred * _divide(*_CENTRE, inner)
    depth = torch.minimum(p, 1 - p).log().neg().sqrt()
    outer = torch.where(
        depth <= 5, _divide(*_MIDDLE, depth - 1.6), _divide(*_TAIL, depth - 5)
    )
    outer = torch.where(centred < 0, -outer, outer)
    return torch.where(centred.abs() <= 0.425, middle, outer)


def erfinv(x):
    """Return the inverse of the error function."""
    return ndtri(0.5 * (x + 1)) * math.sqrt(0.5)


def _divide(numerator, denominator, x):
    return _evaluate(numerator, x) / _evaluate(denominator, x)


def _evaluate(coefficients, x):
    value = torch.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def searchsorted(
    bounds, values, *, out_int32=False, right=False, side=None, sorter=None
):
    """Return how many bounds are below values, or not above them where `right`."""
    bounds, values = bounds.unsqueeze(-2), values.unsqueeze(-1)
    is_right = right or side == "right"
    return (bounds <= values if is_right else bounds < values).sum(dim=-1)


def multiply_nothing(first, second):
    """Return a product of matrices that have no values; ONNX cannot shape them."""
    if first.shape[-1] != 0:
        return NotImplemented
    return first.new_zeros(*first.shape[:-1], second.shape[-1])


def add_nothing(bias, first, second, *, beta=1, alpha=1):
    """Return a sum with a product of matrices that have no values."""
    product = multiply_nothing(first, second)
    return product if product is NotImplemented else product + beta * bias


def group_norm(x, weight, bias, n, n_channels, n_pixels, n_groups, eps):
    """Return values that are standardised by groups of channels."""
    groups = x.reshape(n, n_groups, -1)
    centred = groups - groups.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    found = (centred * (variance + eps).rsqrt()).reshape(x.shape)
    shape = (1, n_channels) + (1,) * (x.dim() - 2)
    if weight is not None:
        found = found * weight.reshape(shape)
    found = found if bias is None else found + bias.reshape(shape)
    return found, variance, variance


def upsample_nearest2d(x, size, *scales):
    """Return images whose pixels are repeated a whole number of times."""
    n, n_channels, height, width = x.shape
    if size is None or size[0] % height or size[1] % width:
        return NotImplemented
    shape = n, n_channels, height, size[0] // height, width, size[1] // width
    return x[:, :, :, None, :, None].expand(shape).reshape(n, n_channels, *size)


_ATEN = torch.ops.aten
# for tracing: what takes the place of an operator
DECOMPOSITIONS = {
    _ATEN.linalg_cholesky_ex.default: cholesky_ex,
    _ATEN.linalg_solve_triangular.default: solve_triangular,
    _ATEN.cholesky_solve.default: cholesky_solve,
    _ATEN.lgamma.default: lgamma,
    _ATEN.special_ndtri.default: ndtri,
    _ATEN.erfinv.default: erfinv,
    _ATEN.special_i0e.default: i0e,
    _ATEN.special_erfcx.default: erfcx,
    _ATEN.atan2.default: atan2,
    _ATEN.searchsorted.Tensor: searchsorted,
    _ATEN.native_group_norm.default: group_norm,
    _ATEN.upsample_nearest2d.default: upsample_nearest2d,
    _ATEN.addmm.default: add_nothing,
    _ATEN.mm.default: multiply_nothing,
    _ATEN.bmm.default: multiply_nothing,
}
