"""Numbers that are known up to a limit only, such as a detection limit."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import norm
from torch.distributions import constraints
from typing_extensions import override

from .._closed_form._moments import compute_mean
from .._columns import Support
from .._distributions._censored import Censored as _CensoredDistribution
from .._distributions._censored import widen
from .._distributions._column_chain import ScaledColumns
from .._distributions._log_normal import LogMap
from .._distributions._log_normal import LogNormal as _LogNormalDistribution
from .._distributions._monotone import Identity
from ._base import Wrapper
from ._gaussian import Gaussian
from ._laplace import Laplace
from ._link import Link, stack_offsets
from ._log_normal import LogNormal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._base import Likelihood

_BASES = {"gaussian": Gaussian, "laplace": Laplace, "log_normal": LogNormal}
# of the variance, what the linear model leaves at least where limits blur it
_LEAST_LEFT = 0.05
# share of values between the limits that the linear model reckons with
_LEAST_KEPT = 0.05
# smallest standard deviation as a share of the size
_LEAST_SPREAD = 1e-7


class CensoredLink(Link):
    """Factor analysis of numbers cut to their limits, as one of the whole numbers.

    Mean and standard deviation of a column without limits are those of a normal
    distribution with the same shares of rows beyond the limits and the same mean
    between them. Limits shrink covariances with z by the share of rows between them
    (Greene 1981, "On the asymptotic bias of the ordinary least squares estimator of the
    Tobit model", theorem 3). Inputs are in these units.
    """

    n_offsets = 2

    def __init__(self, map: Any, noise_floor: Any, limits: Any) -> None:
        self.map, self.noise_floor = map, noise_floor
        self.lower, self.upper = limits
        self.loc, self.scale, self.kept = 0.0, 1.0, 1.0
        # of the inputs, the same in all folds
        self.centre, self.unit = 0.0, 1.0

    @override
    def represent(self, x: Any) -> Any:
        given = self.lower, self.upper, self.centre, self.unit
        lower, upper, centre, unit = (
            torch.as_tensor(value, dtype=x.dtype, device=x.device) for value in given
        )
        cut = torch.minimum(torch.maximum(x, lower), upper)
        return (self.map.forward(cut)[0] - centre) / unit

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        # in units of the whole column
        slope = loadings * scale * (self.unit / self.scale) / self.kept
        explained = (slope**2).sum(axis=0)
        most = 1 - np.minimum(noise, _LEAST_LEFT)
        slope = slope * np.sqrt(np.minimum(1, most / np.maximum(explained, 1e-12)))
        left = 1 - np.minimum(explained, most)
        log_noise = np.log(self.scale) + 0.5 * np.log(left)
        return stack_offsets(self.scale * slope, self.loc + 0.0 * mean, log_noise)

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        part = copy.copy(self)
        lower, upper = (np.broadcast_to(end, x.shape[1]) for end in self._ends)

        def transform(rows):
            rows = rows.astype(np.float64)
            least, most = widen(self.lower), -widen(-self.upper)
            is_low, is_high = rows <= least, rows >= most
            cut = torch.as_tensor(np.clip(rows, self.lower, self.upper))
            t = self.map.forward(cut)[0].numpy()
            t = np.where(is_low | is_high, 0.0, t)
            return np.concatenate([is_low, is_high, t, t**2], axis=1)

        low, high, first, second = np.split(compute_mean(x, weight, transform), 4)
        between = np.maximum(1 - low - high, 1e-9)
        mean = first / between
        spread = np.sqrt(np.maximum(second / between - mean**2, 0))
        part.loc, part.scale = _match_normal(
            (low, lower), (high, upper), mean, spread, 0.5 / (len(x) + 1)
        )
        part.kept = np.clip(1 - low - high, _LEAST_KEPT, 1)
        return part

    @property
    def _ends(self):
        """The limits as the map has them."""
        ends = []
        for limit in (self.lower, self.upper):
            known = np.where(np.isfinite(limit), limit, 1.0)
            t = self.map.forward(torch.as_tensor(known))[0].numpy()
            ends.append(np.where(np.isfinite(limit), t, limit))
        return ends


class Censored(Wrapper):
    r"""Numbers censored at known limits, such as concentrations.

    .. math::
        p(x|z) = \prod_j \begin{cases} P(y_j \le L_j | z) & x_j \le L_j \\
        p_b(x_j|z) & L_j < x_j < U_j \\ P(y_j \ge U_j | z) & x_j \ge U_j \end{cases}

    y has the distribution of the base, without limits. With normal noise and one limit
    this is the Tobit model. Values at or beyond a limit have a probability, others a
    density.

    Parameters
    ----------
    base : {'gaussian', 'laplace', 'log_normal'} or Likelihood, default='gaussian'
        The likelihood of y: these, or an instance of `Gaussian`, `Laplace` or
        `LogNormal` with noise by column or from the network.
    lower, upper : float, sequence of float or None, default=0.0, None
        Limits L and U, in the units of X: one for all columns or one for each, where
        NaN means no limit.

    See Also
    --------
    HurdleLogNormal : Zeros that are exact, not amounts too small to measure.

    Notes
    -----
    Means, as those of `reconstruct` and `impute`, are those of y, and may be beyond a
    limit; `impute` keeps them in the range at fit unless ``bounded=False``. Draws are
    those of x, at the limit where y is beyond it. Limits are known and the same in all
    rows. `standardize` has no effect.

    References
    ----------
    Tobin (1958), "Estimation of relationships for limited dependent variables".

    Helsel (2012), "Statistics for censored environmental data", chapter 6.
    """

    _named = {"base": _BASES}  # noqa: RUF012

    def __init__(
        self,
        base: Likelihood | str = "gaussian",
        lower: float | Sequence[float] | None = 0.0,
        upper: float | Sequence[float] | None = None,
    ) -> None:
        self.base = base
        self.lower = lower
        self.upper = upper

    @override
    def check_parameters(self) -> None:
        base, name = self.base, f"Censored(base={self.base!r})"
        if isinstance(base, str) and base not in _BASES:
            names = ", ".join(map(repr, _BASES))
            raise ValueError(f"{name} is not known; use {names} or an instance.")
        if not isinstance(base, str):
            if not isinstance(base, tuple(_BASES.values())):
                raise TypeError(
                    f"{name} is not supported; use a Gaussian, Laplace or LogNormal."
                )
            base.check_parameters()
            if base.noise not in ("feature", "network"):
                raise ValueError(
                    f"{name} is not supported: the noise of a base is 'feature' or "
                    "'network'."
                )
        self._check_limits()

    def _check_limits(self):
        given = f"Censored(lower={self.lower!r}, upper={self.upper!r})"
        try:
            lower, upper = self._limits
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{given} is of the wrong kind; numbers, sequences of them with one "
                "for each column, or None are accepted."
            ) from error
        is_one = np.ndim(lower) == 0 or np.ndim(upper) == 0
        if max(np.ndim(lower), np.ndim(upper)) > 1 or not (
            is_one or len(lower) == len(upper)
        ):
            raise ValueError(f"{given} has limits for different numbers of columns.")
        if not (lower < upper).all():
            raise ValueError(f"{given} is out of range; lower must be below upper.")
        if not (np.isfinite(lower) | np.isfinite(upper)).any():
            raise ValueError(f"{given} has no limit; use the base itself.")
        if self._is_positive and not (np.isneginf(lower) | (lower > 0)).all():
            raise ValueError(
                f"{given} is out of range; limits of log-normal numbers are positive."
            )

    @property
    def _limits(self):
        """Lower and upper limits, arrays; infinite where there is none."""
        found = []
        for limit, none in ((self.lower, -np.inf), (self.upper, np.inf)):
            array = np.asarray(none if limit is None else limit, dtype=np.float64)
            found.append(np.where(np.isnan(array), none, array))
        return found

    @property
    def _base(self):
        """The likelihood of y, or of its logarithm."""
        base = _BASES[self.base]() if isinstance(self.base, str) else self.base
        return base._base if isinstance(base, LogNormal) else base

    @property
    def _is_positive(self):
        return isinstance(self.base, LogNormal) or self.base == "log_normal"

    @property
    def _map(self):
        return LogMap() if self._is_positive else Identity()

    @property
    @override
    def n_raw(self) -> int:
        return self._base.n_raw

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return self._base.free_shape(n_features)

    # once rows have been seen
    _link: Any

    @property
    def link(self) -> CensoredLink:
        """Factor analysis of numbers cut to their limits."""
        if hasattr(self, "_link"):
            return self._link
        return CensoredLink(self._map, self._base.link.noise_floor, self._limits)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        self.__dict__.pop("_link", None)
        link: Any = self.link.refit(x, weight)
        self._link = link
        link.centre, link.unit = link.loc, link.scale

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        for name, limit in zip(("lower", "upper"), self._limits, strict=True):
            if limit.ndim:
                setattr(part, name, float(limit[column]))
        if hasattr(self, "_link"):
            part._link = copy.copy(self._link)
            part._link.lower, part._link.upper = part._limits
            for name in ("loc", "scale", "kept", "centre", "unit"):
                setattr(part._link, name, getattr(self._link, name)[[column]])
        return part

    @property
    def support(self) -> Support:
        """The numbers that are accepted, a `Support`."""
        lower, upper = self._limits
        # of as many columns as there are limits
        shape = np.broadcast_shapes(lower.shape, upper.shape)
        needs_positive = self._is_positive & np.isinf(lower)
        low = np.broadcast_to(np.where(needs_positive, 0.0, -np.inf), shape)
        words = "positive numbers" if needs_positive.any() else "finite numbers"
        return Support(words, low, np.full(shape, np.inf), is_open=True)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        loc, log_unit = offset.unbind(dim=-2)
        rate = torch.exp(-log_unit)
        base, map = self._base(raw, free, loc * rate, log_range), self._map
        whole: torch.distributions.Distribution = ScaledColumns(base, log_unit)
        if self._is_positive:
            whole = _LogNormalDistribution(base, log_unit, map)
        lower, upper = (
            torch.as_tensor(end, dtype=loc.dtype, device=loc.device).expand(
                loc.shape[-1]
            )
            for end in self._limits
        )
        # where there is no limit any number will do
        ends = [
            map.forward(end.masked_fill(end.isinf(), 1.0))[0] * rate
            for end in (lower, upper)
        ]
        return _CensoredDistribution(
            whole, base, ends, (lower, upper), self._get_constraint(lower)
        )

    def _get_constraint(self, lower):
        if not self._is_positive:
            return constraints.real
        return constraints.greater_than(torch.where(lower.isinf(), 0.0, -torch.inf))


def _match_normal(low, high, mean, spread, least):
    """Return mean and standard deviation of normal distributions that are cut.

    Parameters
    ----------
    low, high : tuple of ndarray
        Shares beyond the lower, and the upper limits, and these limits.
    mean, spread : ndarray
        Mean and standard deviation between the limits.
    least : float
        Smallest share.
    """
    (low, lower), (high, upper) = low, high
    # in units of the standard deviation, from the mean
    at_low = ndtri(np.clip(low, least, 1 - least))
    at_high = -ndtri(np.clip(high, least, 1 - least))
    has_low, has_high = low > 0, high > 0
    # sums of shares are rounded
    has_between = low + high < 1 - least
    lower, upper = np.where(has_low, lower, 0.0), np.where(has_high, upper, 0.0)
    mean = np.where(has_between, mean, lower + upper)
    with np.errstate(all="ignore"):
        below = np.exp(norm.logpdf(at_high) - norm.logcdf(at_high))
        above = np.exp(norm.logpdf(at_low) - norm.logsf(at_low))
        by_both = (upper - lower) / (at_high - at_low)
        by_low = (mean - lower) / (above - at_low)
        by_high = (upper - mean) / (at_high + below)
    has_both = has_low & has_high & (at_high > at_low)
    only_low, only_high = has_low & ~has_high, has_high & ~has_low
    scale = np.select(
        [has_both, only_low, only_high], [by_both, by_low, by_high], spread
    )
    # all beyond one limit: their spread is not known
    size = np.maximum(np.abs(lower), np.abs(upper))
    scale = np.where(has_between, scale, np.maximum(size, 1.0))
    scale = np.maximum(scale, _LEAST_SPREAD * np.maximum(np.abs(mean), 1.0))
    locs = lower - scale * at_low, upper - scale * at_high
    return np.select([has_low, has_high], locs, mean), scale
