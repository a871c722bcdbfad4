"""Draws of missing numbers with an eye to known columns behind them."""

import math
from typing import NamedTuple

import torch

from .._distributions._column_chain import ScaledColumns
from ._coupling import spread

# numbers of a table up to which their precision matrix is taken apart row by row
MAX_NUMBERS = 40
# largest residual of a row, in units of the noise: sums of others have no digits left
_FARTHEST = 1e6
# of one column, beside that of its regression: no more is known than rounding errors
_LEAST_PRECISION = 1e-6
# of draws that are made without a look ahead, since regressions may be wrong
PLAIN_SHARE = 0.2


class Regressions(NamedTuple):
    """Regressions of residuals r of numbers: r = B r + c + s e, and x = r + offset.

    Attributes
    ----------
    columns : Tensor of int
        Those of the numbers, ``layout.scaled`` on the device.
    slope : Tensor (..., n_scaled, n_scaled)
        Bᵀ.
    shift, scale : Tensor (..., n, n_scaled)
        c and s.
    offset : Tensor (..., n, n_scaled)
        In units of the noise, as all of these.
    rate : Tensor (..., n_scaled)
        Inverse units.
    """

    columns: torch.Tensor
    slope: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor
    offset: torch.Tensor
    rate: torch.Tensor


class LookAhead:
    r"""What known columns of rows say about missing numbers before them.

    A draw of x_j given the columns before it may be one that the known columns behind
    it make next to impossible. Twisted (Whiteley & Lee 2014, "Twisted particle
    filters"), its distribution p is multiplied by a normal g: by what regressions make
    of the columns behind, q = (1 - a) p g / ∫ p g + a p. The share a is for wrong
    regressions (Hesterberg 1995, "Weighted average importance sampling and defensive
    mixture distributions").

    Residuals r of numbers obey r = B r + c + s e, where B is strictly lower triangular,
    and e ~ N(0, I). With A = I - B, missing residuals are normal given the known ones,
    of precision (Aᵀ diag(s)⁻² A)_mm = U Uᵀ, U upper triangular. Given those before it
    as well r_j has the precision U_jj²; without the known ones behind it has 1 / s_j².
    The ratio of both densities is g.

    Parameters
    ----------
    shape : tuple of int
        Of all draws of numbers, (n_draws, ..., n, n_scaled).
    layout : CouplingLayout
    regressions : Regressions
    root, mean : Tensor (..., n, n_scaled, n_scaled) and (..., n, n_scaled)
        As `find_missing_residuals` returns them.
    is_near : Tensor of bool (..., n, 1)
        Rows to look ahead in, see `are_near`.

    Leading dimensions that the mask of missing cells does not have, those of draws of
    z, are behind no matrix of a row: these would be large.
    """

    def __init__(self, shape, layout, regressions, root, mean, is_near):
        self.layout = layout
        self.columns, slope, shift, scale, offset, self.rate = regressions
        own = scale.square().reciprocal()
        pivot = root.diagonal(dim1=-2, dim2=-1)
        precision = pivot.square() - own
        # also of columns that are known
        is_known = (precision > _LEAST_PRECISION * own) & is_near
        self.precision = torch.where(is_known, precision, 0.0)
        inverse = torch.where(is_known, 1 / torch.where(is_known, precision, 1.0), 0.0)
        # the mean of g is linear in the values before
        root = root.triu(1)
        by_all = pivot * (pivot * mean + _multiply_rows(mean, root))
        weight = root * -pivot.unsqueeze(-2) - slope.unsqueeze(-3) * own.unsqueeze(-2)
        weight = weight * inverse.unsqueeze(-2)
        centre = (
            (by_all - own * shift) * inverse + offset - _multiply_rows(offset, weight)
        )
        self.centre = torch.where(is_known, centre, 0.0)
        self.weight = weight * self.rate.unsqueeze(-1)
        # of every draw: the mean of g, and log ∫ p g
        self.means, self.log_total = (mean.new_zeros(shape) for _ in range(2))

    def twist(self, conditional, j, x, rows=None):
        """Return the distribution that column j of some rows x is drawn from.

        It is ``conditional``, p(x_j | x_<j), unless column j is a number before others
        and that is a mixture of normals.
        """
        k = self.layout.scaled_number.get(j, len(self.columns))
        if k >= len(self.columns) - 1:
            return conditional
        if not hasattr(conditional.base, "tilt"):
            self.precision[..., k] = 0.0
            return conditional
        precision = _take(self.precision[..., k : k + 1], rows)
        mean = _take(self.centre[..., k : k + 1], rows)
        if k:
            before = _take(x.index_select(-1, self.columns[:k]), rows)
            weight = _take(self.weight[..., :k, k], rows)
            mean = mean + (before * weight).sum(dim=-1, keepdim=True)
        tilted, log_total = conditional.base.tilt(precision, mean, PLAIN_SHARE)
        place = (...,) if rows is None else (..., rows)
        self.means[(*place, slice(k, k + 1))] = mean
        self.log_total[(*place, slice(k, k + 1))] = log_total
        return ScaledColumns(tilted, conditional.log_unit)

    def log_ratio(self, x):
        """Return log p / q of draws x, of every column ``(..., n, n_features)``."""
        distance = x.index_select(-1, self.columns) * self.rate - self.means
        log_twist = -0.5 * (self.precision.sqrt() * distance).square() - self.log_total
        log_twist = log_twist + math.log(1 - PLAIN_SHARE)
        found = -torch.logaddexp(log_twist, log_twist.new_tensor(math.log(PLAIN_SHARE)))
        # 0 for other columns
        return spread(found.to(x), self.layout.of_column)


def _take(values, rows):
    return values if rows is None else values.index_select(-2, rows)


def _multiply_rows(values, matrix):
    """Return values (..., n, D) times the matrix (..., n, D, D) of their row."""
    n_more = values.dim() + 1 - matrix.dim()
    values, shape = _put_behind(values, n_more)
    return _put_before(values.mT @ matrix, shape, -2)


def _put_behind(values, n_more):
    """Return values (..., n, D, L), where L are leading dimensions, and their shape."""
    if n_more <= 0:
        return values.unsqueeze(-1), ()
    shape = values.shape[:n_more]
    return values.flatten(0, n_more - 1).movedim(0, -1), shape


def _put_before(values, shape, dim):
    """Return values with a dimension put back where `_put_behind` found it."""
    return values.movedim(dim, 0).unflatten(0, shape) if shape else values.squeeze(dim)


def are_near(residual, missing):
    """Return which rows have known residuals near those of others, ``(..., n, 1)``."""
    known = residual.masked_fill(missing, 0.0).abs()
    if known.dim() > missing.dim():
        known = known.flatten(0, known.dim() - missing.dim() - 1).amax(dim=0)
    return (known < _FARTHEST).all(dim=-1, keepdim=True)


def find_missing_residuals(slope, shift, residual, missing, scale):
    """Return U, see `LookAhead`, and the means of missing residuals given known ones.

    Known residuals have rows and columns of the identity.
    """
    precise = torch.float32 if missing.device.type == "mps" else torch.float64
    hidden = missing.to(precise)
    # rows of values are multiplied from the left
    one = torch.eye(hidden.shape[-1], dtype=hidden.dtype, device=hidden.device)
    matrix = one - slope.to(hidden)
    weight = scale.to(hidden).square().reciprocal()
    half = matrix.unsqueeze(-3) * weight.sqrt().unsqueeze(-2)
    half = half * hidden.unsqueeze(-1)
    precision = half @ half.mT + torch.diag_embed(1 - hidden)
    root = torch.linalg.cholesky_ex(precision.flip(-1, -2)).L.flip(-1, -2)
    known = residual.to(hidden) * (1 - hidden)
    rest = (shift.to(hidden) - known @ matrix) * weight
    rest = rest @ matrix.mT * hidden
    rest, shape = _put_behind(rest, rest.dim() - missing.dim())
    mean = torch.linalg.solve_triangular(root, rest, upper=True)
    mean = torch.linalg.solve_triangular(root.mT, mean, upper=False)
    return root.to(residual), _put_before(mean, shape, -1).to(residual)
