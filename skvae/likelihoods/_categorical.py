"""Columns of categories without an order."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import embedding
from typing_extensions import override

from .._distributions._levels import CategoricalColumns
from ._levels import LevelLikelihood, LevelLink

if TYPE_CHECKING:
    from ._link import Link

# a category is at most exp(6) times as likely by one standard deviation of z
_MAX_SLOPE = 6.0
_MASKED = -1e30
# log share of categories that a column does not have
_LEAST_LOG_SHARE = -50.0
# categories of a smaller share, or of fewer rows, have no contrasts of their own: one
# row would be a dozen standard deviations from the others
_RARE = 0.02
_RARE_ROWS = 10
# of rows of a category, that columns after it may depend on
_RARE_ROWS_OF_RULES = 2
# contrasts of a column for columns after it, at most
_MOST_CONTRASTS = 50
# draws of z over which the frequencies of the linear model are averaged
_N_DRAWS = 256


class ContrastLink(LevelLink):
    """The linear model of contrasts as one of the logits.

    With contrasts f_a, uncorrelated and of variance 1, any distribution of a column is
    p_k(z) = p_k (1 + Σ_a f_a(k) E[f_a|z]). The linear model has E[f_a|z] linear in z;
    to first order so is log p_k(z). The biases are such that the mean of p_k(z) over z
    is p_k.
    """

    def __init__(
        self, n_levels: Any, sizes: Any = None, shares: Any = None, n_rows: Any = None
    ) -> None:
        super().__init__(n_levels, sizes, shares)
        self.n_rows = n_rows
        if shares is not None:
            rare = max(_RARE, min(_RARE_ROWS / n_rows, 5 * _RARE))
            self._make_contrasts([rare] * len(sizes))

    @override
    def refine(self) -> Link:
        if self.shares is None:
            return self
        # a rule of a rare category is a rule all the same
        least = _RARE_ROWS_OF_RULES / self.n_rows
        most = np.sort(self.shares, axis=0)[::-1][:_MOST_CONTRASTS][-1]
        found = copy.copy(self)
        found._make_contrasts(np.maximum(least, most))
        return found

    def _make_contrasts(self, rare):
        """Find the contrasts of every column; categories below a share are pooled."""
        n_levels, n_features = self.shares.shape
        groups = [
            _pool(self.shares[:size, j], rare[j]) for j, size in enumerate(self.sizes)
        ]
        # at most 50 per column: memory does not grow with the square of n_levels
        n_groups = max(group.max() for group in groups) + 1
        width = max(n_groups - 1, 1)
        # columns of few categories have empty groups, and contrasts that are zero
        self.groups = np.full((n_features, n_levels), n_groups)
        self.contrasts = np.zeros((n_features, n_groups + 1, width))
        is_used = np.zeros((n_features, width), dtype=bool)
        is_used[:, 0] = True
        for j, (size, group) in enumerate(zip(self.sizes, groups, strict=True)):
            self.groups[j, :size] = group
            root = np.sqrt(np.bincount(group, weights=self.shares[:size, j]))
            basis = np.column_stack([root, np.eye(len(root))[:, 1:]])
            basis, _ = np.linalg.qr(basis)
            # orthonormal over the categories, and to the constant
            found = basis[:, 1:] / root[:, None]
            self.contrasts[j, : len(root), : found.shape[1]] = found
            is_used[j, 1 : found.shape[1]] = True
        self.used = np.flatnonzero(is_used)

    @override
    def count_inputs(self, n_features: int) -> int:
        return len(self.used)

    @override
    def get_input_columns(self, n_features: int) -> Any:
        return self.used // self.contrasts.shape[-1]

    @override
    def represent(self, x: Any) -> Any:
        # a code that is missing has 0.5 in its place, which counts as 0
        n_features, n_levels = self.groups.shape
        columns = np.arange(n_features)
        # one table has the contrasts of all groups; where each code is in it
        rows = self.groups + self.contrasts.shape[1] * columns[:, None]
        arrays = rows, n_levels * columns, self.used
        rows, first, used = (torch.as_tensor(a, device=x.device) for a in arrays)
        table = torch.as_tensor(self.contrasts, dtype=x.dtype, device=x.device)
        found = embedding(rows.take(x.long() + first), table.flatten(0, 1)).flatten(-2)
        return found if len(used) == found.shape[-1] else found.index_select(-1, used)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        n_levels, n_features = self.shares.shape
        width = self.contrasts.shape[-1]
        padded = np.zeros((len(loadings), n_features * width))
        padded[:, self.used] = loadings * scale
        padded = padded.reshape(len(loadings), n_features, width)
        slope = np.einsum("qja,jga->qgj", padded, self.contrasts)
        length = np.sqrt((slope**2).sum(axis=0))
        slope *= np.minimum(1, _MAX_SLOPE / np.maximum(length, 1e-12))
        # Categories of a group have one slope, and shares of it that do not depend on
        # z: where the mean of the group's probability is right, so are all of theirs.
        group = self.groups.T
        shares = np.zeros(slope.shape[1:])
        np.add.at(shares, (group, np.arange(n_features)), self.shares)
        shift = _match_shares(slope, shares)
        with np.errstate(divide="ignore"):
            log_share = np.maximum(np.log(self.shares), _LEAST_LOG_SHARE)
        bias = log_share + np.take_along_axis(shift, group, axis=0)
        slope = np.take_along_axis(slope, group[None], axis=1)
        return slope.reshape(len(loadings), n_levels * n_features), bias.ravel()


class Categorical(LevelLikelihood):
    r"""Columns of integer codes whose order means nothing.

    .. math:: p(x|z) = \prod_j \frac{\exp l_{j x_j}(z)}{\sum_{k < K_j} \exp l_{jk}(z)}

    The decoder gives the logits l; columns may have different numbers of categories. A
    code has no mean: where others return E[x|z], this returns the likeliest code, and
    as variance that of the indicators of the categories together, 1 - Σ p².

    Encoder and linear model see every column as K - 1 uncorrelated contrasts of its
    categories, with variance 1 over the training rows. (Indicators would be correlated
    among themselves.) There, not in p(x|z), categories of less than 2 % of the rows are
    one.

    Parameters
    ----------
    n_categories : int, sequence of int or None, default=None
        Numbers of categories, one for all columns or one for each: the codes are 0, 1,
        ... up to one less. None are the codes that `fit` sees; 1, 2 and 5 are three.

    See Also
    --------
    Ordinal : Where the order of the codes means something.

    References
    ----------
    Bishop (2006), "Pattern recognition and machine learning", eqs. 4.104-4.105.

    Greenacre (1984), "Theory and applications of correspondence analysis": p_k(z) / p_k
    as an expansion in contrasts.
    """

    _link_type = ContrastLink

    @property
    def n_raw(self) -> int:
        """Raw outputs of the decoder per column: a logit for each category."""
        return self.n_levels

    @property
    def spread(self):
        """Standard deviations of the indicators of categories, in units of the largest.

        ``(n_raw, n_features)``; one where no rows have been seen.
        """
        link: Any = self.link
        shares = link.shares
        return 1.0 if shares is None else 2 * np.sqrt(shares * (1 - shares))

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        highest = self.get_highest(raw)
        return CategoricalColumns(offset + raw, highest, has_gaps=self.has_gaps)


def _pool(shares, rare):
    """Return the group of every category: rare ones have one in common.

    If all rare ones together are rare, it is that of the most frequent category. If all
    categories are rare, there are two groups: just enough of the most frequent ones not
    to be rare, and the rest.
    """
    is_rare = shares < rare
    if is_rare.all():
        order = np.argsort(-shares, kind="stable")
        n_frequent = np.searchsorted(shares[order].cumsum(), rare) + 1
        group = np.ones(len(shares), dtype=np.int64)
        group[order[:n_frequent]] = 0
        return group
    group = np.cumsum(~is_rare) - 1
    is_enough = shares[is_rare].sum() >= rare
    group[is_rare] = group.max() + 1 if is_enough else group[shares.argmax()]
    return group


def _match_shares(slope, shares):
    """Return what to add to log shares for the mean softmax over z to be the shares.

    The slope of the logits (n_components, n_groups, n_features) is for z ~ N(0, I);
    shares (n_groups, n_features) are zero where a column has no such group.
    """
    n_components, n_groups, n_features = slope.shape
    shift = np.zeros((n_groups, n_features))
    if not slope.any():
        return shift
    exists = shares > 0
    log_share = np.log(np.where(exists, shares, 1.0))
    half = np.random.default_rng(0).standard_normal((_N_DRAWS // 2, n_components))
    z = np.concatenate([half, -half])
    # a block of columns at a time: memory stays bounded
    size = max(1, 2_000_000 // (len(z) * n_groups))
    for begin in range(0, n_features, size):
        part = slice(begin, begin + size)
        moved = np.tensordot(z, slope[:, :, part], axes=1)
        moved += np.where(exists[:, part], log_share[:, part], _MASKED)
        for _ in range(30):
            logits = moved + shift[:, part]
            logits -= logits.max(axis=1, keepdims=True)
            probs = np.exp(logits)
            probs = (probs / probs.sum(axis=1, keepdims=True)).mean(axis=0)
            step = log_share[:, part] - np.log(np.maximum(probs, 1e-300))
            shift[:, part] += np.where(exists[:, part], step, 0.0)
    return shift
