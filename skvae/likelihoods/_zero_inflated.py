"""Counts with more zeros than their distribution has."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import clone
from typing_extensions import override

from .._closed_form._moments import compute_mean
from .._distributions._zeros import ZeroInflated as _ZeroInflatedDistribution
from .._utils._missing import list_chunks
from ._base import Wrapper
from ._counts import CountLikelihood
from ._link import Link, stack_offsets
from ._negative_binomial import NegativeBinomial
from ._poisson import Poisson

if TYPE_CHECKING:
    from .._columns._support import Support
    from ._base import Likelihood

_COUNTS = {"poisson": Poisson, "negative_binomial": NegativeBinomial}
_SHARES = 0.01, 0.95


class ZeroInflatedLink(Link):
    """The offset of the counts alone, and log-odds of the shares of extra zeros."""

    def __init__(self, counts: Any, extra: Any = None) -> None:
        self.counts, self.extra = counts, extra
        self.n_offsets = counts.n_offsets + 1
        self.ceiling = counts.ceiling

    @override
    def represent(self, x: Any) -> Any:
        return self.counts.represent(x)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        # extra zeros shrink covariances by 1 - π, which is undone
        kept = 1 - self.extra
        weight, bias = self.counts.convert(mean / kept, scale / kept, loadings, noise)
        return stack_offsets(weight, bias, np.log(self.extra / kept))

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        # A negative binomial distribution of the same two moments tells how many zeros
        # there would be without extra ones: the rest are extra. E[x (x - 1)] / E[x]
        # does not change, however many zeros are added.
        counts = self.counts.refit(x, weight)
        share = np.ones(len(x)) if weight is None else weight
        zeros = compute_mean(x, share, lambda part: part == 0)
        extra, mean, ratio = np.zeros_like(zeros), counts.mean, counts.ratio
        for _ in range(30):
            kept = 1 - extra
            theta = 1 / np.maximum(ratio * kept - 1, 1e-6)
            expected = np.exp(-theta * np.log1p(mean / kept / theta))
            extra = np.clip((zeros - expected) / np.maximum(1 - expected, 1e-9), 0, 1)
            extra = np.minimum(extra, _SHARES[1])
        # a column of zeros alone has rare counts, not extra zeros
        extra = np.where(zeros == 1, 0.0, extra)
        cells = CellWeights(x, 1 - extra / np.maximum(zeros, 1e-9), share)
        counts = counts.refit(x, cells[:] if isinstance(x, np.ndarray) else cells)
        return ZeroInflatedLink(counts, np.clip(extra, *_SHARES))


class CellWeights:
    """Weights of the cells of rows, of which zeros have a share; a chunk at a time.

    It is as much of an array as `compute_mean` needs.
    """

    def __init__(self, x, of_zeros, share, total=1.0):
        self.x, self.of_zeros, self.share, self.total = x, of_zeros, share, total

    def __getitem__(self, rows):
        """Return the weights of the cells of some rows, ``(n, n_features)``."""
        cells = np.where(self.x[rows] == 0, self.of_zeros, 1.0)
        return cells * self.share[rows][:, None] / self.total

    def sum(self, axis):
        """Return the sum of the weights of every column."""
        total = np.zeros((1, self.x.shape[1]))
        for rows in list_chunks(self.x):
            # row by row, as all of them would be added
            total = np.concatenate([total, self[rows]]).sum(axis=axis, keepdims=True)
        return total[0]

    def __truediv__(self, total):
        """Return the weights divided by a number for every column."""
        return CellWeights(self.x, self.of_zeros, self.share, self.total * total)


class ZeroInflated(Wrapper, CountLikelihood):
    r"""A likelihood of counts, and zeros that have another reason.

    .. math:: p(x|z) = \prod_j \left[ \pi_j(z)\, 1(x_j = 0)
        + (1 - \pi_j(z))\, p_c(x_j|z) \right]

    The decoder gives the log-odds of π beside the raw outputs of the counts p_c.

    Parameters
    ----------
    count : {'poisson', 'negative_binomial'} or CountLikelihood, default='poisson'
        The likelihood of the counts p_c. The parameters of an instance can be searched,
        such as ``count__dispersion``.

    References
    ----------
    Lambert (1992), "Zero-inflated Poisson regression, with an application to defects in
    manufacturing", section 2.

    Lopez, Regier, Cole, Jordan & Yosef (2018), "Deep generative modeling for
    single-cell transcriptomics", Methods: the zero-inflated negative binomial.
    """

    _named = {"count": _COUNTS}  # noqa: RUF012

    def __init__(self, count: Likelihood | str = "poisson") -> None:
        self.count = count

    @override
    def check_parameters(self) -> None:
        is_name = isinstance(self.count, str) and self.count in _COUNTS
        is_count = isinstance(self.count, CountLikelihood)
        if not is_name and (not is_count or isinstance(self.count, ZeroInflated)):
            names = ", ".join(repr(name) for name in _COUNTS)
            error = ValueError if isinstance(self.count, str) else TypeError
            raise error(
                f"ZeroInflated(count={self.count!r}) is not known; use {names} or a "
                "CountLikelihood other than ZeroInflated."
            )
        self._counts.check_parameters()

    @property
    def _counts(self):
        """The likelihood of counts, adapted to the training rows if there are any."""
        if hasattr(self, "_adapted"):
            return self._adapted
        return _COUNTS[self.count]() if isinstance(self.count, str) else self.count

    @property
    @override
    def link(self) -> ZeroInflatedLink:
        return getattr(self, "_link", None) or ZeroInflatedLink(self._counts.link)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        self.__dict__.pop("_adapted", None)
        adapted = clone(self._counts)
        self._link = ZeroInflatedLink(adapted.link).refit(x, weight)
        adapted._link = self._link.counts
        self._adapted = adapted

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        if hasattr(self, "_adapted"):
            part._adapted = self._adapted.select(column)
        return part

    @property
    @override
    def n_raw(self) -> int:
        return self._counts.n_raw + 1

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return self._counts.free_shape(n_features)

    @property
    def support(self) -> Support:
        """The counts that are accepted, a `Support`."""
        return self._counts.support

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        logits = offset[..., -1, :] + raw[..., -1, :]
        offset = offset[..., :-1, :]
        if self.link.n_offsets == 2:
            offset = offset.squeeze(-2)
        counts = self._counts(raw[..., :-1, :], free, offset, log_range)
        return _ZeroInflatedDistribution(counts, logits)
