"""Positive columns with noise in proportion."""

import numpy as np
import torch

from .._closed_form._linear import NOISE_FLOOR
from .._columns._support import POSITIVE_REALS
from .._distributions import LogNormal as _LogNormalDistribution
from ._base import bound
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

    n_start = 2
    is_scaled = False
    least_noise = NOISE_FLOOR
    support = POSITIVE_REALS

    _noise_names = ("feature", "network")

    def represent(self, x):
        """Return logarithms.

        Parameters
        ----------
        x : Tensor (..., n, n_features)

        Returns
        -------
        Tensor (..., n, n_features)
        """
        return _log(x)

    def link(self, mean, scale, loadings, noise):
        """Return factor analysis of the logarithms: locations, and log noise.

        Parameters
        ----------
        mean, scale : ndarray (n_features,)
        loadings : ndarray (n_components, n_features)
        noise : ndarray (n_features,)

        Returns
        -------
        weight : ndarray (n_components, 2 * n_features)
        bias : ndarray (2 * n_features,)
        """
        weight = np.concatenate([loadings * scale, np.zeros_like(loadings)], axis=1)
        return weight, np.concatenate([mean, np.log(scale * np.sqrt(noise))])

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        loc, log_unit = start.unbind(dim=-2)
        raw_scale = raw[..., 1, :] if self.has_network_noise else free[..., 0, :]
        return _LogNormalDistribution(
            loc + log_unit.exp() * raw[..., 0, :],
            log_unit + bound(raw_scale, log_range),
        )


def _log(x):
    # what single precision rounds to zero has a logarithm all the same
    info = torch.finfo(x.dtype)
    return x.clamp(info.tiny, info.max).log()
