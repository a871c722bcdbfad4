"""Positive columns with noise in proportion."""

import numpy as np
import torch

from .._closed_form._linear import NOISE_FLOOR
from .._distributions import LogNormal as _LogNormalDistribution
from ._base import LikelihoodPass, bound
from ._gaussian import GaussianPass
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
    support = "positive numbers"

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

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return LogNormalPass(program, self.has_network_noise)

    def find_unsupported(self, x):
        """Return a mask of the values of x that are not positive."""
        return ~(x > 0)


def _log(x):
    # what single precision rounds to zero has a logarithm all the same
    info = torch.finfo(x.dtype)
    return x.clamp(info.tiny, info.max).log()


class LogNormalPass(LikelihoodPass):
    """The pass of normal noise for u = (log x - loc) / unit, loc and unit the start's.

    With its gradient g by the raw location, which is -d/du: d/dloc = g / unit,
    d/dlog_unit = g u - 1.

    Parameters
    ----------
    program : Program
    is_network : bool
        Whether the decoder gives the scales.
    """

    takes_missing = True

    def __init__(self, program, is_network):
        super().__init__(program)
        self.normal = GaussianPass(program, is_network)

    def represent(self, x):
        """Write down the logarithms."""
        program, info = self.program, torch.finfo(x.dtype)
        log_x = program.clip(x, info.tiny, info.max, program.empty(*x.shape))
        return program.log(log_x, log_x)

    def forward(self, x, raw, free, predicted, log_range):
        """Write down log p(x|z) of every row, ``(..., n)``."""
        program, self.predicted = self.program, predicted
        log_x = self.represent(x)
        jacobian = self.add_up(log_x)
        self.u = log_x
        if predicted is not None:
            loc, log_unit = predicted.split(x.shape[-1], dim=-1)
            self.rate = program.negative(log_unit, program.empty(*log_unit.shape))
            program.exp(self.rate, self.rate)
            self.u = program.subtract(log_x, loc, program.empty(*x.shape))
            program.multiply(self.u, self.rate, self.u)
            if self.observed is not None:
                # of other columns in every row
                log_unit = program.copy(log_unit, program.empty(*x.shape))
            program.add(jacobian, self.add_up(log_unit), jacobian)
        self.normal.observed = self.observed
        log_prob = self.normal.forward(self.u, raw, free, None, log_range)
        return program.subtract(log_prob, jacobian, log_prob)

    def backward(self, weight):
        """Write down the gradients of raw, of the start, and that of free."""
        program = self.program
        by_raw, by_loc = self.normal.backward(weight)
        if self.predicted is None:
            return by_raw, by_loc
        n_features = self.u.shape[-1]
        by_predicted = program.empty(*self.u.shape[:-1], 2 * n_features)
        by_start_loc, by_unit = by_predicted.split(n_features, dim=-1)
        program.multiply(by_loc, self.rate, by_start_loc)
        program.multiply(by_loc, self.u, by_unit)
        program.subtract(by_unit, self.weigh_cells(weight), by_unit)
        return by_raw, by_predicted
