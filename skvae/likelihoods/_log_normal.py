"""Positive columns with noise in proportion."""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from .._columns._support import POSITIVE_REALS
from .._distributions._log_normal import LogMap
from .._distributions._log_normal import LogNormal as _LogNormalDistribution
from .._utils._checks import check_choice
from ._gaussian import Gaussian
from ._transformed import Transformed


class LogNormal(Transformed):
    r"""Positive columns whose logarithm has normal noise.

    .. math::
        p(x|z) = \prod_j \frac{1}{x_j} N(\log x_j; \mu_j(z), \sigma_j^2)

    Columns are not standardised, and need not be: a change of units shifts μ alone. The
    density is that of X, with the Jacobian 1/x in it. Training starts at factor
    analysis of log X. It is `Transformed` with a known map and `Gaussian` as base.

    Parameters
    ----------
    noise : {'feature', 'network'}, default='feature'
        One learned standard deviation of log x per column; or one per column and row,
        given by the decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the variance of the column's logarithm.
        'auto' is 1e-12 where the noise does not depend on z, and 1e-3 (or what the
        linear model found, if less) where it does.

    References
    ----------
    Johnson, Kotz & Balakrishnan (1994), "Continuous univariate distributions",
    volume 1, chapter 14.
    """

    support = POSITIVE_REALS
    # known, so that the rows are not read
    learns = False
    _map = LogMap()

    def __init__(
        self, noise: str = "feature", variance_floor: float | str = "auto"
    ) -> None:
        self.noise = noise
        self.variance_floor = variance_floor

    @override
    def check_parameters(self) -> None:
        check_choice(self, "noise", ("feature", "network"))
        check_choice(self, "variance_floor", ("auto",), positive=True)

    @property
    def _base(self):
        return Gaussian(self.noise, self.variance_floor)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        pass

    @override
    def _invert(self, base, log_unit):
        return _LogNormalDistribution(base, log_unit, self._map)
