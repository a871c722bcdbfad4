"""Increasing maps of columns, and distributions that are simple after such a map."""

import copy
import math

import torch
from torch.distributions import Normal
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution

# values are clipped at so many standard deviations: squares stay finite
_FARTHEST = 1e12
# nodes of the quadrature, as sinh of an even grid: dense where most of the mass is
_STEP = 0.02
_N_NODES = 200
# least mass of a node: a normal has less beyond 8 standard deviations
_LEAST_MASS = 1e-15


class Identity:
    """The identity, for columns of unknown shape."""

    def to(self, like):
        """Return the map with the dtype and device of a tensor."""
        return self

    def select(self, column):
        """Return the map of one column."""
        return self

    def forward(self, x):
        """Return the mapped values, and the logarithm of the slope there."""
        return x, torch.zeros_like(x)

    def inverse(self, t):
        """Return the values that are mapped to t."""
        return t


class MonotoneMap:
    """Base of maps T(x) = (f((x - centre) / scale) - shift) / unit, one per column.

    A subclass defines f as `bend` and its inverse as `unbend`. In attributes that are
    tensors columns come first.
    """

    def __init__(self, centre, scale):
        self.centre, self.scale = centre, scale
        self.shift, self.unit = torch.zeros_like(centre), torch.ones_like(scale)

    def _convert(self, function):
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(moved, name, function(value))
        return moved

    def to(self, like):
        """Return the map with the dtype and device of a tensor."""
        return self._convert(lambda value: value.to(like))

    def select(self, column):
        """Return the map of one column."""
        return self._convert(lambda value: value[column : column + 1])

    def bend(self, v):
        """Return f and log f' of standardised columns (..., n_features)."""
        raise NotImplementedError

    def unbend(self, y):
        """Return the standardised columns whose f is y."""
        raise NotImplementedError

    def forward(self, x):
        """Return T(x) and log T'(x), both ``(..., n_features)``."""
        v = ((x - self.centre) / self.scale).clamp(-_FARTHEST, _FARTHEST)
        y, log_slope = self.bend(v)
        jacobian = log_slope - (self.scale * self.unit).log()
        return (y - self.shift) / self.unit, jacobian

    def inverse(self, t):
        """Return x with T(x) = t, ``(..., n_features)``."""
        return self.centre + self.scale * self.unbend(self.shift + self.unit * t)


def _compute_ratio(function, t, slope):
    """Return f(t) / t, 1 at 0 with the given slope there."""
    is_small = t.abs() < 1e-5
    ratio = function(t) / t.masked_fill(is_small, 1.0)
    return torch.where(is_small, 1 + slope * t, ratio)


class YeoJohnsonMap(MonotoneMap):
    r"""The power transform of Yeo and Johnson, with straight ends.

    .. math::
        f(v) = \operatorname{sign}(v) \frac{(1 + |v|)^\mu - 1}{\mu}, \qquad
        \mu = \lambda \text{ for } v \ge 0, \text{ else } 2 - \lambda

    For μ < 0 this is bounded, and the distribution of x would lack a part of its mass.
    So f is continued by straight lines beyond ``low`` and ``high``, two values of
    standardised columns.
    """

    def __init__(self, centre, scale, power, low, high):
        super().__init__(centre, scale)
        self.power, self.low, self.high = power, low, high
        self.y_low, below = self._bend_inside(low)
        self.y_high, above = self._bend_inside(high)
        # lines as steep as f, at least 1 over the whole interval: a draw a little above
        # the highest row must not become a thousand times as far
        least = -(high - low).clamp_min(1e-12).log()
        self.log_below = torch.maximum(below, least)
        self.log_above = torch.maximum(above, least)

    def _get_power(self, v):
        return torch.where(v < 0, 2 - self.power, self.power)

    def _bend_inside(self, v):
        # with u = log(1 + |v|) as sign(v) u (exp(μ u) - 1) / (μ u), whose last factor
        # loses no digits near μ = 0
        power, log_size = self._get_power(v), torch.log1p(v.abs())
        ratio = _compute_ratio(torch.expm1, power * log_size, 0.5)
        y = v.sign() * log_size * ratio
        return y, (power - 1) * log_size

    @override
    def bend(self, v):
        y, log_slope = self._bend_inside(torch.clamp(v, self.low, self.high))
        below, above = (v - self.low).clamp_max(0), (v - self.high).clamp_min(0)
        y = y + below * self.log_below.exp() + above * self.log_above.exp()
        log_slope = torch.where(v < self.low, self.log_below, log_slope)
        return y, torch.where(v > self.high, self.log_above, log_slope)

    @override
    def unbend(self, y):
        inside = torch.clamp(y, self.y_low, self.y_high)
        size, power = inside.abs(), self._get_power(inside)
        # rounding must not reach the bound of f
        product = (power * size).clamp_min(-1 + 4 * torch.finfo(y.dtype).eps)
        ratio = _compute_ratio(torch.log1p, product, -0.5)
        v = inside.sign() * torch.expm1(size * ratio)
        v = torch.clamp(v, self.low, self.high)
        below, above = (y - self.y_low).clamp_max(0), (y - self.y_high).clamp_min(0)
        return v + below / self.log_below.exp() + above / self.log_above.exp()


class PiecewiseLinearMap(MonotoneMap):
    """Straight lines between knots, and beyond the first and the last.

    ``knots`` and ``values`` (n_features, n_knots) are standardised x and f at the
    knots, increasing, inf for missing knots; ``slopes`` (n_features, n_knots + 1) those
    below the first knot, between them, and above the last.
    """

    def __init__(self, centre, scale, knots, values, slopes):
        super().__init__(centre, scale)
        self.knots, self.values, self.slopes = knots, values, slopes

    def _find(self, bounds, values):
        """Return columns first, ``(n_features, n)``, and the piece that each is in."""
        flat = values.movedim(-1, 0).reshape(values.shape[-1], -1).contiguous()
        piece = torch.searchsorted(bounds.contiguous(), flat, right=True)
        return flat, piece, (piece - 1).clamp_min(0)

    @staticmethod
    def _restore(flat, like):
        return flat.reshape(like.shape[-1], *like.shape[:-1]).movedim(0, -1)

    @override
    def bend(self, v):
        flat, piece, knot = self._find(self.knots, v)
        slope = self.slopes.gather(1, piece)
        y = self.values.gather(1, knot) + (flat - self.knots.gather(1, knot)) * slope
        return self._restore(y, v), self._restore(slope.log(), v)

    @override
    def unbend(self, y):
        flat, piece, knot = self._find(self.values, y)
        slope = self.slopes.gather(1, piece)
        v = self.knots.gather(1, knot) + (flat - self.values.gather(1, knot)) / slope
        return self._restore(v, y)


class TransformedColumns(UncheckedDistribution):
    r"""Independent columns x for which T(x) / u has a simple distribution.

    .. math:: \log p(x) = \log p_b(T(x) / u) - \log u + \log T'(x)

    The base is a mixture of normals, or a distribution with ``loc`` and ``scale``; the
    map T has the dtype and device of its parameters.

    Mean and variance are sums over 401 nodes at most, for every component of a mixture.
    If the map has a corner far from the mean, the variance has an error of some 3 %.
    The nodes end at 27 scales: the variance of Student's t below 4 degrees of freedom
    comes out too small, and finite where it is infinite.
    """

    def __init__(self, base, log_unit, map):
        self.base, self.log_unit, self.map = base, log_unit, map
        super().__init__(base.batch_shape, log_unit.shape)

    @override
    def log_prob(self, value):
        t, log_slope = self.map.forward(value)
        log_prob = self.base.log_prob(t * torch.exp(-self.log_unit))
        return log_prob - self.log_unit + log_slope

    def invert(self, u):
        """Return the columns x of values u of the base."""
        return self.map.inverse(u * self.log_unit.exp())

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            u = self.base.sample(sample_shape)
            return self.invert(u.expand(self._extended_shape(sample_shape)))

    def draw_at(self, level):
        """Return the draws that uniform levels stand for, ``(..., n_features)``."""
        if hasattr(self.base, "draw_at"):
            return self.invert(self.base.draw_at(level))
        return self.invert(self.base.icdf(level))

    def _list_components(self):
        """Return weights, locations and scales, one component at a time."""
        if hasattr(self.base, "list_components"):
            return self.base.list_components()
        return [(1.0, self.base.loc, self.base.scale)]

    def _weigh(self, e, loc, scale):
        """Return the density of a standardised component at e."""
        if isinstance(self.base, Normal) or hasattr(self.base, "list_components"):
            return math.exp(-0.5 * e * e - HALF_LOG_2PI)
        return (self.base.log_prob(loc + scale * e)).exp() * scale

    def _integrate(self):
        """Return mean and variance: the nodes one by one, in bounded memory."""
        first = second = 0.0
        centre = self.invert(self.base.mean)
        for weight, loc, scale in self._list_components():
            sums = [0.0, 0.0, 0.0]
            for i in range(-_N_NODES, _N_NODES + 1):
                e = math.sinh(_STEP * i)
                mass = self._weigh(e, loc, scale) * math.cosh(_STEP * i) * _STEP
                if isinstance(mass, float) and mass < _LEAST_MASS:
                    continue
                x = self.invert(loc + scale * e) - centre
                for power in range(3):
                    sums[power] = sums[power] + mass * x**power
            first = first + weight * sums[1] / sums[0]
            second = second + weight * sums[2] / sums[0]
        return centre + first, (second - first**2).clamp_min(0)

    @property
    @override
    def mean(self):
        return self._integrate()[0].expand(self.batch_shape)

    @property
    @override
    def variance(self):
        return self._integrate()[1].expand(self.batch_shape)
