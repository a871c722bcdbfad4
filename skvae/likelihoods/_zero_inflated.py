"""Counts with more zeros than their law has."""

import numpy as np
from sklearn.base import clone

from .._closed_form._moments import compute_mean
from .._distributions import ZeroInflated as _ZeroInflatedDistribution
from ._counts import CountLikelihood
from ._negative_binomial import NegativeBinomial
from ._poisson import Poisson

_COUNTS = {"poisson": Poisson, "negative_binomial": NegativeBinomial}
_SHARES = 0.01, 0.95


class ZeroInflated(CountLikelihood):
    r"""A likelihood of counts, and zeros that have another reason.

    .. math:: p(x|z) = \prod_j \left[ \pi_j(z)\, 1(x_j = 0)
        + (1 - \pi_j(z))\, p_c(x_j|z) \right]

    The decoder gives the log-odds of π beside what the law of counts p_c asks for.

    Parameters
    ----------
    count : {'poisson', 'negative_binomial'} or CountLikelihood, default='poisson'
        The law of counts. The parameters of an instance can be searched, such as
        ``count__dispersion``.

    References
    ----------
    Lambert (1992), "Zero-inflated Poisson regression, with an application to defects in
    manufacturing", section 2.

    Lopez, Regier, Cole, Jordan & Yosef (2018), "Deep generative modeling for
    single-cell transcriptomics", Methods: the zero-inflated negative binomial.
    """

    named = {"count": _COUNTS}  # noqa: RUF012

    def __init__(self, count="poisson"):
        self.count = count

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        is_name = isinstance(self.count, str) and self.count in _COUNTS
        is_count = isinstance(self.count, CountLikelihood)
        if not is_name and (not is_count or isinstance(self.count, ZeroInflated)):
            names = ", ".join(repr(name) for name in _COUNTS)
            error = ValueError if isinstance(self.count, str) else TypeError
            raise error(
                f"ZeroInflated(count={self.count!r}) is not known; use {names} or a "
                "CountLikelihood other than ZeroInflated."
            )
        self._law.check_parameters()

    @property
    def _law(self):
        """The law of counts, as adapted to the training rows once there are any."""
        if hasattr(self, "_adapted"):
            return self._adapted
        return _COUNTS[self.count]() if isinstance(self.count, str) else self.count

    @property
    def n_raw(self):
        """Raw decoder outputs per column."""
        return self._law.n_raw + 1

    @property
    def n_start(self):
        """Values per column that the linear start predicts from z."""
        return self._law.n_start + 1

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return self._law.free_shape(n_features)

    @property
    def support(self):
        """The counts that are accepted, a `Support`."""
        return self._law.support

    def represent(self, x):
        """Return rows as the law of counts has them."""
        return self._law.represent(x)

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        logits = start[..., -1, :] + raw[..., -1, :]
        start = start[..., :-1, :]
        if self._law.n_start == 1:
            start = start.squeeze(-2)
        law = self._law(raw[..., :-1, :], free, start, log_range)
        return _ZeroInflatedDistribution(law, logits)

    def adapt(self, x, weight=None):
        """Learn the share of extra zeros, and the moments of the other counts.

        A negative binomial law of the same two moments says how many zeros there would
        be without: what exceeds them is extra. E[x (x - 1)] / E[x] is that of the law
        itself, however many zeros are added.
        """
        vars(self).pop("_adapted", None)
        law = clone(self._law)
        law.adapt(x, weight)
        share = np.ones(len(x)) if weight is None else weight
        zeros = compute_mean(x, share, lambda part: part == 0)
        extra, mean, ratio = np.zeros_like(zeros), law._mean, law._ratio
        for _ in range(30):
            kept = 1 - extra
            theta = 1 / np.maximum(ratio * kept - 1, 1e-6)
            expected = np.exp(-theta * np.log1p(mean / kept / theta))
            extra = np.clip((zeros - expected) / np.maximum(1 - expected, 1e-9), 0, 1)
            extra = np.minimum(extra, _SHARES[1])
        # a column of zeros alone has rare counts, not extra zeros
        extra = np.where(zeros == 1, 0.0, extra)
        cells = np.where(x == 0, 1 - extra / np.maximum(zeros, 1e-9), 1.0)
        law.adapt(x, cells * share[:, None])
        self._adapted, self._extra = law, np.clip(extra, *_SHARES)

    def link(self, mean, scale, loadings, noise):
        """Return the law's own start, and the log-odds of the extra zeros.

        Extra zeros shrink covariances by 1 - π, which is undone.
        """
        kept = 1 - self._extra
        weight, bias = self._law.link(mean / kept, scale / kept, loadings, noise)
        logits = np.log(self._extra / kept)
        none = np.zeros((len(weight), len(logits)))
        return np.concatenate([weight, none], axis=1), np.concatenate([bias, logits])
