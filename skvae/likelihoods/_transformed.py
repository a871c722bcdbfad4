"""Numbers that have a simple distribution after an increasing map of their column.

How the map is found is here; maps themselves are in `skvae._distributions`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.preprocessing import PowerTransformer
from typing_extensions import override

from .._closed_form._moments import compute_mean
from .._columns._normal_scores import find_normal_scores
from .._distributions._monotone import (
    Identity,
    PiecewiseLinearMap,
    TransformedColumns,
    YeoJohnsonMap,
)
from .._utils._checks import check_choice
from .._utils._missing import NEUTRAL, find_missing
from ._base import Wrapper
from ._gaussian import Gaussian
from ._gaussian_mixture import GaussianMixture
from ._link import MappedLink
from ._location_scale import LocationScale

if TYPE_CHECKING:
    from ._base import Likelihood

_BASES = {"gaussian": Gaussian, "gaussian_mixture": GaussianMixture}
# rows that the powers are fitted to
_MAX_ROWS = 10_000
# λ: beyond, slopes leave single precision
_POWERS = -3.0, 5.0
# knots of the quantile map, and rows between two of them, at least
_MAX_KNOTS = 100
_ROWS_APART = 20
# distance of knots in standard deviations: steeper maps would make spikes
_LEAST_GAP = 0.01


class Transformed(Wrapper):
    r"""A likelihood of columns after an increasing map, with its Jacobian.

    .. math:: p(x|z) = \prod_j p_b(T_j(x_j) | z)\, T_j'(x_j)

    T is learned from the training rows before anything else, and has mean 0 and
    variance 1 there. Training starts at factor analysis of T(x). Scores, means and
    samples are in the units of X.

    Parameters
    ----------
    method : {'yeo_johnson', 'quantile'}, default='yeo_johnson'
        The power transform of a standardised column, with scikit-learn's
        maximum-likelihood λ (between -3 and 5); or normal scores, interpolated between
        up to 99 quantiles. Both are continued by straight lines outside the training
        rows.
    base : {'gaussian_mixture', 'gaussian'} or Likelihood, default='gaussian_mixture'
        The likelihood of T(x): a `GaussianMixture` without atoms, or `Gaussian`,
        `Laplace` or `StudentT` with noise by column or from the network. The parameters
        of an instance can be searched, such as ``base__n_mixture``.

    Notes
    -----
    Quantiles and moments have sample weights. λ is fitted to 10,000 rows at most, in
    proportion to the weights; the background of a mixture is as wide as the rows that
    its components start from, 4,000 at most. Training runs in single precision: centre
    columns whose mean is a million times their spread before.

    References
    ----------
    Yeo & Johnson (2000), "A new family of power transformations to improve normality or
    symmetry", eq. 2.1.

    van der Waerden (1952), "Order tests for the two-sample problem and their power":
    normal scores.
    """

    _named = {"base": _BASES}  # noqa: RUF012

    def __init__(
        self, method: str = "yeo_johnson", base: Likelihood | str = "gaussian_mixture"
    ) -> None:
        self.method = method
        self.base = base

    @override
    def check_parameters(self) -> None:
        check_choice(self, "method", tuple(_METHODS))
        base = self.base
        if isinstance(base, str) and base in _BASES:
            return
        if not isinstance(base, (LocationScale, GaussianMixture)):
            error = ValueError if isinstance(base, str) else TypeError
            raise error(
                f"Transformed(base={base!r}) is not known; use 'gaussian', "
                "'gaussian_mixture', or a GaussianMixture, Gaussian, Laplace or "
                "StudentT."
            )
        base.check_parameters()
        is_simple = (
            base.n_atoms == 0
            if isinstance(base, GaussianMixture)
            else base.noise in ("feature", "network")
        )
        if not base.link.is_scaled or not is_simple:
            raise ValueError(
                f"Transformed(base={base!r}) is not supported: a base has no atoms, "
                "and its noise is 'feature' or 'network'."
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Keep mixtures as they are in files of format 2 and before."""
        super().__setstate__(state)
        if "_map" in state and "_named_base" not in state:
            self._named_base = self._make_base()
            if isinstance(self._named_base, GaussianMixture):
                self._named_base.n_constant = 0
                self._named_base.background_weight = 0.0

    def _make_base(self):
        return _BASES[self.base]() if isinstance(self.base, str) else None

    @property
    def _base(self):
        """The likelihood of T(x): once rows have been seen the one that they had."""
        if not isinstance(self.base, str):
            return self.base
        return getattr(self, "_named_base", None) or self._make_base()

    @override
    def _without_background(self):
        part = copy.copy(self)
        part.base = self._base._without_background()
        return part

    @property
    @override
    def n_raw(self) -> int:
        return self._base.n_raw

    @property
    def link(self) -> Any:
        """Factor analysis of T(x). T is that of the whole table in every fold."""
        return MappedLink(
            getattr(self, "_map", Identity()), self._base.link.noise_floor
        )

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return self._base.free_shape(n_features)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum()
        centre = compute_mean(x, share)
        scale = np.sqrt(compute_mean(x, share, lambda part: (part - centre) ** 2))
        # a constant column has no other unit than its size
        least = 1e-7 * np.maximum(np.abs(centre), 1e-30)
        scale = np.maximum(scale, least)
        found = _METHODS[self.method](x, share, centre, scale)

        def transform(part):
            t = found.forward(torch.as_tensor(part.astype(np.float64)))[0].numpy()
            return np.concatenate([t, t**2], axis=1)

        mean, square = np.split(compute_mean(x, share, transform), 2)
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        found.shift = torch.as_tensor(mean)
        # a constant column has no spread: there T only standardises
        found.unit = torch.as_tensor(np.where(spread > 1e-6, spread, 1.0))
        self._map, self._named_base = found, self._make_base()

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        part._map = self.link.map.select(column)
        return part

    @property
    def initialize(self) -> Any:
        """A method that initializes the base, or None where zeros are good."""
        return None if self._base.initialize is None else self._initialize_base

    def _initialize_base(self, x, offset, log_range):
        # given T(x) in units of the noise
        loc, log_unit = offset.unbind(dim=-2)
        rate, missing = torch.exp(-log_unit), find_missing(x)
        if missing is not None:
            x = torch.where(missing, NEUTRAL, x)
        t = self.link.represent(x) * rate
        if missing is not None:
            t = t.masked_fill(missing, torch.nan)
        return self._base.initialize(t, loc * rate, log_range)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        loc, log_unit = offset.unbind(dim=-2)
        base = self._base(raw, free, loc * torch.exp(-log_unit), log_range)
        return self._invert(base, log_unit)

    def _invert(self, base, log_unit):
        """Return the distribution of x, given that of T(x) in units of the noise."""
        return TransformedColumns(base, log_unit, self.link.map.to(log_unit))


def _find_powers(v):
    """Return scikit-learn's λ of every column of standardised rows."""
    powers = np.ones(v.shape[1])
    varies = np.ptp(v, axis=0) > 1e-6
    if varies.any():
        transformer = PowerTransformer(method="yeo-johnson", standardize=False)
        with np.errstate(all="ignore"):
            powers[varies] = transformer.fit(v[:, varies]).lambdas_
    return np.where(np.isfinite(powers), powers, 1.0)


def _fit_powers(x, share, centre, scale):
    # rows in proportion to their weights, or every so many
    n_used = min(len(x), _MAX_ROWS)
    levels = (np.arange(n_used) + 0.5) / n_used
    rows = np.searchsorted(np.cumsum(share), levels).clip(0, len(x) - 1)
    powers = _find_powers((x[rows].astype(np.float64) - centre) / scale)
    low, high = ((f(x, axis=0) - centre) / scale for f in (np.min, np.max))
    arrays = centre, scale, powers.clip(*_POWERS), low, high
    return YeoJohnsonMap(*(torch.as_tensor(a, dtype=torch.float64) for a in arrays))


def _fit_quantiles(x, share, centre, scale):
    # number of equal rows whose mean has the same variance
    n_effective = 1 / np.square(share).sum()
    n_pieces = int(np.clip(n_effective // _ROWS_APART, 2, _MAX_KNOTS))
    found = [
        find_normal_scores(
            (column.astype(np.float64) - c) / s, share, n_pieces, _LEAST_GAP
        )
        for column, c, s in zip(x.T, centre, scale, strict=True)
    ]
    widest = max(len(knots) for knots, _, _ in found)
    tables = [np.full((len(found), widest + extra), np.inf) for extra in (0, 0, 1)]
    tables[2][:] = 1.0
    for j, parts in enumerate(found):
        for table, part in zip(tables, parts, strict=True):
            table[j, : len(part)] = part
    arrays = centre, scale, *tables
    return PiecewiseLinearMap(*(torch.as_tensor(a) for a in arrays))


_METHODS = {"yeo_johnson": _fit_powers, "quantile": _fit_quantiles}
