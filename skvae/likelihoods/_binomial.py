"""Successes out of a known number of trials."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit
from scipy.stats import binom
from typing_extensions import override

from .._closed_form._roots import match_normal_moments
from .._columns import Support
from .._distributions._binomial import LogitBinomial
from .._utils._checks import is_integer
from ._base import Likelihood
from ._link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

# beyond, double precision has no longer all integers
_MOST_TRIALS = 10**15
# of the linear model: logits of z = 0, and how far one standard deviation of z moves
_MAX_BIAS, _MAX_SLOPE = 40.0, 10.0
# all zeros, or all successes, are not taken at their word
_MAX_SHARE = 0.998
# trials up to which means of empirical logits are sums, and logits where these are made
_MOST_SUMMED = 100
_GRID = np.linspace(-_MAX_BIAS - 8 * _MAX_SLOPE, _MAX_BIAS + 8 * _MAX_SLOPE, 2401)


class BinomialLink(Link):
    """Factor analysis of empirical logits, log((k + 1/2) / (n - k + 1/2)).

    With z ~ N(0, I) the logit of p is linear in z, such that the mean of the empirical
    logit and its covariances with z are those of the linear model.
    """

    def __init__(self, n_trials: Any) -> None:
        self.n_trials = np.asarray(n_trials, dtype=np.float64)

    @property
    def least_scale(self) -> Any:
        """About half the noise of an empirical logit, so that noise is not blown up."""
        return 1 / np.sqrt(self.n_trials)

    @override
    def represent(self, x: Any) -> Any:
        n = torch.as_tensor(self.n_trials, dtype=x.dtype, device=x.device)
        return torch.log(x + 0.5) - torch.log(n - x + 0.5)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        n = np.broadcast_to(self.n_trials, mean.shape)
        tables = {size: _compute_empirical_mean(size) for size in np.unique(n)}

        def compute_mean(logits):
            pairs = zip(n, logits, strict=True)
            return np.stack([np.interp(row, _GRID, tables[k]) for k, row in pairs])

        limit = _MAX_SHARE * np.log(2 * n + 1)
        loadings = loadings * scale
        length = np.sqrt((loadings**2).sum(axis=0))
        bias, slope = match_normal_moments(
            np.clip(mean, -limit, limit), length, compute_mean, _MAX_BIAS, _MAX_SLOPE
        )
        return loadings * (slope / np.maximum(length, 1e-12)), bias


class Binomial(Likelihood):
    r"""Successes out of a known number of trials, such as right answers.

    .. math:: p(x|z) = \prod_j \binom{n_j}{x_j} \pi_j(z)^{x_j}
        (1 - \pi_j(z))^{n_j - x_j}

    The decoder gives the logit of π.

    Parameters
    ----------
    n_trials : int or sequence of int, default=1
        Number of trials n, one for all columns or one for each. It is the same in all
        rows. If it differs between rows, model the shares instead, by a likelihood for
        numbers from 0 to 1 such as `ContinuousBernoulli`; their precision is then lost.

    See Also
    --------
    Bernoulli : One trial in every column.
    Poisson : Counts without an upper bound.

    Notes
    -----
    Encoder and linear model see empirical logits. Columns with other numbers of trials
    are named in a dict, ``likelihood={"a": Binomial(10), "b": Binomial(25)}``.

    References
    ----------
    McCullagh & Nelder (1989), "Generalized linear models", chapter 4; section 4.1.5 for
    empirical logits.
    """

    def __init__(self, n_trials: int | Sequence[int] = 1) -> None:
        self.n_trials = n_trials

    @override
    def check_parameters(self) -> None:
        given = np.ravel(np.asarray(self.n_trials, dtype=object))
        name = f"Binomial(n_trials={self.n_trials!r})"
        accepted = "an integer from 1 to 1e15, or one for each column, is accepted."
        if np.ndim(self.n_trials) > 1 or not all(map(is_integer, given)):
            raise TypeError(f"{name} is of the wrong kind; {accepted}")
        if not len(given) or min(given) < 1 or max(given) > _MOST_TRIALS:
            raise ValueError(f"{name} is out of range; {accepted}")

    @property
    def link(self) -> Link:
        """Factor analysis of empirical logits."""
        return BinomialLink(self.n_trials)

    @property
    def support(self) -> Support:
        """The numbers of successes that are accepted, a `Support`."""
        has_one = np.ndim(self.n_trials) == 0
        words = f"n_trials={self.n_trials}" if has_one else "the column's n_trials"
        if has_one and self.n_trials == 1:
            # the default, and so that of likelihood="binomial"
            words += ", which Binomial(n_trials=...) sets"
        high = np.asarray(self.n_trials, dtype=np.float64)
        return Support(f"integers from 0 to {words}", 0, high, is_integer=True)

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        given: Any = self.n_trials
        if np.ndim(given):
            part.n_trials = given[column]
        return part

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        return summary.round()

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        logits = offset + raw[..., 0, :]
        n_trials = torch.as_tensor(
            np.asarray(self.n_trials, dtype=np.float64),
            dtype=logits.dtype,
            device=logits.device,
        )
        return LogitBinomial(logits, n_trials.expand(logits.shape[-1]))


def _compute_empirical_mean(n):
    """Return the mean of the empirical logit of n trials, for the logits of a grid."""
    p, q = expit(_GRID), expit(-_GRID)
    if n > _MOST_SUMMED:
        return np.log((n * p + 0.5) / (n * q + 0.5))
    k = np.arange(n + 1)
    return binom.pmf(k, n, p[:, None]) @ np.log((k + 0.5) / (n - k + 0.5))
