"""Likelihoods: the raw outputs of a decoder become p(x|z).

A likelihood never sees an encoder or a latent. It works in the units of the model, in
which the noise that the linear start leaves unexplained is 1 in every column.
"""

from numbers import Real

import torch
from sklearn.base import BaseEstimator
from torch.distributions import Bernoulli as _BernoulliDistribution
from torch.distributions import Normal
from torch.nn.functional import celu

from ._checks import check_choice, check_count
from ._linear import NOISE_FLOOR
from .distributions import NormalMixture

# exp(12): no column is 160,000 times as noisy as the linear model found it
_MAX_LOG_SCALE = 12.0
# noise that depends on z and is smaller than this is repeated values, not noise
_NARROW_FLOOR = 1e-3
# columns whose mixtures are started at a time
_COLUMN_BLOCK = 256
# share of a column's mixture that starts as the linear model itself
_LINEAR_SHARE = 0.05


def _bound(raw, log_range):
    """Return log scales: raw where positive, bent above -log_range elsewhere."""
    return (log_range * celu(raw / log_range)).clamp(max=_MAX_LOG_SCALE)


def _unbound(log_scale, log_range):
    """Return the raw value that `_bound` maps to log_scale."""
    ratio = (log_scale / log_range).clamp(-0.999, 0.0)
    return torch.where(log_scale < 0, log_range * torch.log1p(ratio), log_scale)


class Likelihood(BaseEstimator):
    """Base of all likelihoods: hyper-parameters, and the map from raw outputs.

    Calling a likelihood with ``(raw, free, start, log_range)`` returns a
    `torch.distributions.Distribution` whose last dimension is one row of the table and
    whose ``log_prob`` has one value a column.

    - ``raw`` (..., n_raw, n_features): what the decoder says, given z;
    - ``free`` (..., n_free, n_features): learned values that do not depend on z;
    - ``start`` (..., n_features): the location that the linear start predicts from z;
    - ``log_range`` (..., n_features): how far a log scale may fall below 0.

    Zero everywhere in ``raw`` and ``free`` is the linear start itself.

    Attributes
    ----------
    n_raw : int
        Raw decoder outputs per column.
    is_scaled : bool
        Whether columns are centred and scaled, with the Jacobian in the score.
    support : str
        What values are accepted, in words.
    fixed_noise : float or None
        A known standard deviation of the noise.
    is_isotropic : bool
        Whether all columns have one noise variance.
    """

    n_raw = 1
    is_scaled = True
    support = "finite numbers"
    fixed_noise = None
    is_isotropic = False

    @property
    def is_limited(self):
        """Whether there are finite numbers that are not accepted."""
        return type(self).find_unsupported is not Likelihood.find_unsupported

    def get_least_variance(self):
        """Return the least variance of the noise, as a share of the column's.

        The first is for the linear start, None where that has its own; the second for
        what the decoder gives.
        """
        return None, _NARROW_FLOOR

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return (0, n_features)

    def start(self, residual, log_range):
        """Fit raw outputs to what the linear start leaves over.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor (n_raw, n_features)
            Zeros unless the likelihood has something better.
        """
        return residual.new_zeros(self.n_raw, residual.shape[-1])

    def find_unsupported(self, x):
        """Return a mask of the values of x (n, n_features) outside the support."""
        return torch.zeros_like(x, dtype=torch.bool)


class Gaussian(Likelihood):
    r"""Normal noise around the decoder's mean.

    .. math:: p(x|z) = \prod_j N(x_j; \mu_j(z), \sigma_j^2)

    Parameters
    ----------
    noise : {'feature', 'shared', 'network'} or float, default='feature'
        One learned standard deviation per column (factor analysis if the decoder is
        linear); one for all (probabilistic PCA); one per column and row, given by the
        decoder; or a known standard deviation in the units of the standardised columns
        (of X with ``standardize=False``).
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the column's variance. 'auto' is that of
        scikit-learn's FactorAnalysis, 1e-12, where the noise does not depend on z, and
        1e-3 (or what the linear start found, if less) where it does.

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.2.
    """

    def __init__(self, noise="feature", variance_floor="auto"):
        self.noise = noise
        self.variance_floor = variance_floor

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "noise", ("feature", "shared", "network"), positive=True)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    @property
    def n_raw(self):
        """Raw decoder outputs per column."""
        return 2 if self.noise == "network" else 1

    @property
    def fixed_noise(self):
        """The known standard deviation, or None."""
        return float(self.noise) if isinstance(self.noise, Real) else None

    @property
    def is_isotropic(self):
        """Whether all columns have one noise variance."""
        return self.noise == "shared"

    def get_least_variance(self):
        """Return the least variances of the linear start and of the decoder."""
        if self.fixed_noise is not None:
            return None, NOISE_FLOOR
        if self.variance_floor == "auto":
            return None, _NARROW_FLOOR if self.noise == "network" else NOISE_FLOOR
        return self.variance_floor, self.variance_floor

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return {"feature": (1, n_features), "shared": (1, 1)}.get(
            self.noise, (0, n_features)
        )

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        loc = start + raw[..., 0, :]
        if self.noise == "network":
            scale = _bound(raw[..., 1, :], log_range).exp()
        elif self.fixed_noise is None:
            scale = _bound(free[..., 0, :], log_range).exp()
        else:
            scale = torch.ones_like(log_range)
        return Normal(loc, scale, validate_args=False)


class GaussianMixture(Likelihood):
    r"""A small mixture of normals for every column, given z.

    .. math:: p(x|z) = \prod_j \sum_k w_{jk}(z) N(x_j; \mu_{jk}(z), \sigma_{jk}^2(z))

    Heavy tails, several modes and repeated values have room here. The mean of the last
    component stays at the linear start, and its scale no narrower than the noise there;
    the decoder gives its weight and how much wider it is. Where the networks
    extrapolate badly it limits what a row can lose.

    Parameters
    ----------
    n_mixture : int, default=4
        Components of every column, at least 2.
    variance_floor : 'auto' or float, default='auto'
        Smallest variance of a component as a share of the column's variance. 'auto' is
        1e-3, or what the linear start found, if less.

    References
    ----------
    Bishop (1994), "Mixture density networks", eqs. 22-25.
    """

    def __init__(self, n_mixture=4, variance_floor="auto"):
        self.n_mixture = n_mixture
        self.variance_floor = variance_floor

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_mixture", 2)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    def get_least_variance(self):
        """Return the least variances of the linear start and of the decoder."""
        if self.variance_floor == "auto":
            return None, _NARROW_FLOOR
        return self.variance_floor, self.variance_floor

    @property
    def n_raw(self):
        """Raw decoder outputs per column: weights and scales, and all means but one."""
        return 3 * self.n_mixture - 1

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        k = self.n_mixture
        logits, narrow, wide, shift = raw.split([k, k - 1, 1, k - 1], dim=-2)
        start = start.unsqueeze(-2)
        loc = torch.cat([start + shift, start], dim=-2)
        narrow = _bound(narrow, log_range.unsqueeze(-2))
        # relu has no gradient at 0, where a start often leaves it
        wide = wide.clamp(0.0, _MAX_LOG_SCALE)
        return NormalMixture(logits, loc, torch.cat([narrow, wide], dim=-2))

    def start(self, residual, log_range, n_iter=30):
        """Fit the mixture of every column to the residuals by EM.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor (n_raw, n_features)
        """
        # columns are independent: a block of them at a time bounds the memory
        blocks = zip(
            residual.split(_COLUMN_BLOCK, dim=1),
            log_range.split(_COLUMN_BLOCK),
            strict=True,
        )
        return torch.cat([self._fit_block(*block, n_iter) for block in blocks], dim=1)

    def _fit_block(self, residual, log_range, n_iter):
        n, n_features = residual.shape
        k = self.n_mixture
        # one pseudo-row keeps a component alive, a share of all rows the linear one
        prior_count = residual.new_ones(k, 1)
        prior_count[-1] = _LINEAR_SHARE * n
        spread = residual.std(dim=0, correction=0).clamp_min(1e-6)
        order = residual.sort(dim=0).values
        levels = [int(n * (2 * i + 1) / (2 * (k - 1))) for i in range(k - 1)]
        loc = torch.cat([order[levels], order.new_zeros(1, n_features)])
        lower = torch.cat(
            [(-log_range).expand(k - 1, -1), torch.zeros_like(spread)[None]]
        )
        log_scale = torch.maximum((spread / k).log().expand(k, -1), lower)
        logits = torch.zeros_like(loc)
        x = residual.unsqueeze(1)  # (n, 1, n_features)
        for _ in range(n_iter):
            e = (x - loc) * torch.exp(-log_scale)
            joint = torch.log_softmax(logits, 0) - log_scale - 0.5 * e * e
            share = torch.softmax(joint, dim=1)  # (n, k, n_features)
            total = share.sum(dim=0) + 1e-6
            logits = (total + prior_count).log()
            loc[:-1] = ((share * x).sum(dim=0) / total)[:-1]
            variance = (share * (x - loc) ** 2).sum(dim=0) + spread**2
            log_scale = torch.maximum((variance / (total + 1)).log() / 2, lower)
        narrow = _unbound(log_scale[:-1], log_range)
        return torch.cat(
            [logits - logits.logsumexp(0), narrow, log_scale[-1:], loc[:-1]]
        )


class Bernoulli(Likelihood):
    r"""Binary columns, 0 or 1.

    .. math:: p(x|z) = \prod_j \pi_j(z)^{x_j} (1 - \pi_j(z))^{1 - x_j}

    References
    ----------
    Kingma & Welling (2014), "Auto-encoding variational Bayes", appendix C.1.
    """

    is_scaled = False
    support = "0 and 1"

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        return _BernoulliDistribution(
            logits=start + raw[..., 0, :], validate_args=False
        )

    def find_unsupported(self, x):
        """Return a mask of the values of x that are neither 0 nor 1."""
        return (x != 0) & (x != 1)


LIKELIHOODS = {
    "gaussian": Gaussian,
    "gaussian_mixture": GaussianMixture,
    "bernoulli": Bernoulli,
}
