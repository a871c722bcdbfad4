"""Positive columns with noise in proportion."""

import torch

from .._columns._support import POSITIVE_REALS
from .._distributions import LogNormal as _LogNormalDistribution
from ._base import bound
from ._link import MappedLink
from ._location_scale import LocationScale


class LogNormal(LocationScale):
    r"""Positive columns whose logarithm has normal noise.

    .. math::
        p(x|z) = \prod_j \frac{1}{x_j} N(\log x_j; \mu_j(z), \sigma_j^2)

    Columns are not standardised, and need not be: a change of units shifts μ alone. The
    density is that of X, with the Jacobian 1/x in it. Training starts at factor
    analysis of log X.

    Parameters
    ----------
    noise : {'feature', 'network'}, default='feature'
        One learned standard deviation of log x per column; or one per column and row,
        given by the decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the variance of the column's logarithm.
        'auto' is 1e-12 where the noise does not depend on z, and 1e-3 (or what the
        linear start found, if less) where it does.

    References
    ----------
    Johnson, Kotz & Balakrishnan (1994), "Continuous univariate distributions",
    volume 1, chapter 14.
    """

    support = POSITIVE_REALS

    _noise_names = ("feature", "network")

    @property
    def link(self):
        """Factor analysis of log x."""
        return MappedLink(_Logarithm(), self._noise_floor)

    def __call__(self, raw, free, offset, log_range):
        """Return p(x|z)."""
        loc, log_unit = offset.unbind(dim=-2)
        return _LogNormalDistribution(
            loc + log_unit.exp() * raw[..., 0, :],
            log_unit + bound(self.get_raw_scale(raw, free), log_range),
        )


class _Logarithm:
    """The natural logarithm as a map."""

    def to(self, like):
        """Return the map for tensors of a kind."""
        return self

    def forward(self, x):
        """Return logarithms, and the logarithm of the slope there."""
        # what single precision rounds to zero has a logarithm all the same
        info = torch.finfo(x.dtype)
        log = x.clamp(info.tiny, info.max).log()
        return log, -log
