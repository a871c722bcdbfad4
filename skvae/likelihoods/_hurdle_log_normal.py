"""Amounts: zero, or positive with noise in proportion."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._moments import compute_mean
from .._columns._support import NON_NEGATIVE_REALS
from .._distributions._log_normal import LogMap
from .._distributions._zeros import Hurdle
from ._bernoulli import BernoulliLink
from ._link import Link
from ._log_normal import LogNormal

# shares of positive amounts of the linear model
_SHARES = 1e-3, 1 - 1e-3
# of the variance of log amounts, what the linear model leaves where zeros blur it
_LEAST_LEFT = 0.05


class HurdleLink(Link):
    """Factor analysis of log amounts, and of whether there is one.

    These are two inputs for every column; where there is no amount, the first is that
    of the mean. ``centre`` (n_features,) are the means of log amounts.
    """

    # location and log noise of log amounts, and log-odds of zero
    n_offsets = 3

    def __init__(self, noise_floor: Any, centre: Any = 0.0) -> None:
        self.noise_floor, self.centre = noise_floor, centre
        self.zeros = BernoulliLink()

    @property
    def least_scale(self) -> Any:
        """That of normal numbers, and that of zeros and ones."""
        return np.repeat([0.0, self.zeros.least_scale], np.size(self.centre))

    @override
    def count_inputs(self, n_features: int) -> int:
        return 2 * n_features

    @override
    def get_input_columns(self, n_features: int) -> Any:
        return np.tile(np.arange(n_features), 2)

    @override
    def represent(self, x: Any) -> Any:
        centre = torch.as_tensor(self.centre, dtype=x.dtype, device=x.device)
        is_zero = x == 0
        log, _ = LogMap().forward(torch.where(is_zero, 1.0, x))
        above = torch.where(is_zero, 0.0, log - centre)
        return torch.cat([above, (~is_zero).to(x)], dim=-1)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        (mean, share), (scale, of_share) = (np.split(part, 2) for part in (mean, scale))
        loadings, of_zeros = np.split(loadings, 2, axis=1)
        noise, of_zeros_noise = np.split(noise, 2)
        # Zeros shrink variances of log amounts around the centre, and covariances, by
        # the share of amounts.
        kept = np.clip(share, *_SHARES)
        variance = scale**2 / kept
        slope = loadings * scale / kept
        explained = (slope**2).sum(axis=0) / variance
        most = 1 - np.minimum(noise, _LEAST_LEFT)
        slope = slope * np.sqrt(np.minimum(1, most / np.maximum(explained, 1e-12)))
        left = variance * (1 - np.minimum(explained, most))
        of_zeros, bias = self.zeros.convert(share, of_share, of_zeros, of_zeros_noise)
        biases = self.centre + mean / kept, 0.5 * np.log(left), -bias
        return (
            np.concatenate([slope, np.zeros_like(slope), -of_zeros], axis=1),
            np.concatenate(biases),
        )


class HurdleLogNormal(LogNormal):
    r"""Amounts that are zero, or have log-normal noise, such as rain and claims.

    .. math::
        p(x|z) = \prod_j \begin{cases} \pi_j(z) & x_j = 0 \\
        (1 - \pi_j(z))\, \frac{1}{x_j} N(\log x_j; \mu_j(z), \sigma_j^2) & x_j > 0
        \end{cases}

    The decoder gives the log-odds of π beside μ. Zeros have a probability, amounts a
    density: scores can be compared with those of other likelihoods that have a
    probability at zero.

    Parameters
    ----------
    noise : {'feature', 'network'}, default='feature'
        One learned standard deviation of log x per column; or one per column and row,
        given by the decoder.
    variance_floor : 'auto' or float, default='auto'
        As for `LogNormal`.

    See Also
    --------
    LogNormal : Amounts without zeros.
    ZeroInflated : Counts.

    Notes
    -----
    Means are those of all amounts, (1 - π) exp(μ + σ² / 2), zeros included. Encoder and
    linear model see whether there is an amount, and its logarithm.

    References
    ----------
    Cragg (1971), "Some statistical models for limited dependent variables with
    application to the demand for durable goods", eqs. 7 and 9.
    """

    support = NON_NEGATIVE_REALS
    learns = True

    @property
    def link(self) -> Link:
        """Factor analysis of log amounts, and of whether there is one."""
        return getattr(self, "_link", HurdleLink(self._base.link.noise_floor))

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        centre = _compute_centre(x, weight)
        self._link = HurdleLink(self._base.link.noise_floor, centre)

    @override
    def select(self, column: int) -> LogNormal:
        part = copy.copy(self)
        if hasattr(self, "_link"):
            centre = self._link.centre[[column]]
            part._link = HurdleLink(self._link.noise_floor, centre)
        return part

    @property
    @override
    def n_raw(self) -> int:
        return super().n_raw + 1

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        amounts = super().__call__(
            raw[..., :-1, :], free, offset[..., :-1, :], log_range
        )
        return Hurdle(amounts, offset[..., -1, :] + raw[..., -1, :])


def _compute_centre(x, weight):
    """Return the means of log amounts, 0 where there are none, ``(n_features,)``."""

    def transform(part):
        part = part.astype(np.float64)
        is_positive = part > 0
        log = np.log(np.where(is_positive, part, 1.0))
        return np.concatenate([is_positive, log], axis=1)

    share, log = np.split(compute_mean(x, weight, transform), 2)
    return np.where(share > 0, log / np.maximum(share, 1e-300), 0.0)
