"""Columns of categories without an order."""

import numpy as np
import torch

from .._distributions import CategoricalColumns
from ._levels import LevelLikelihood

# a category is at most exp(6) times as likely by one standard deviation of z
_MAX_SLOPE = 6.0
_MASKED = -1e30
# of categories that a column lacks
_LEAST_LOG_SHARE = -50.0
# categories rarer than this share, or these rows, have no contrasts of their own: one
# row would be a dozen standard deviations from the others
_RARE = 0.02
_RARE_ROWS = 10
# draws of z over which the start's frequencies are averaged
_N_DRAWS = 256


class Categorical(LevelLikelihood):
    r"""Columns of integer codes 0, 1, ..., whose order means nothing.

    .. math:: p(x|z) = \prod_j \frac{\exp l_{j x_j}(z)}{\sum_{k < K_j} \exp l_{jk}(z)}

    The decoder gives the logits l; columns may have different numbers of categories. A
    code has no mean: where others return E[x|z], this returns the likeliest code, and
    as variance that of the indicators of the categories together, 1 - Σ p².

    Encoder and linear start see every column as K - 1 uncorrelated contrasts of its
    categories, with variance 1 over the training rows. (Indicators would be correlated
    among themselves, and a linear model would spend its components on that.) There,
    not in p(x|z), categories of less than 2 % of the rows are one.

    Parameters
    ----------
    n_categories : int, sequence of int or None, default=None
        Numbers of categories, one for all columns or one for each. None is what `fit`
        sees: the largest code and 1.

    See Also
    --------
    Ordinal : Where the order of the codes means something.

    References
    ----------
    Bishop (2006), "Pattern recognition and machine learning", eqs. 4.104-4.105.

    Greenacre (1984), "Theory and applications of correspondence analysis": p_k(z) / p_k
    as an expansion in contrasts.
    """

    @property
    def n_raw(self):
        """Raw decoder outputs per column: a logit for each category."""
        return self.n_levels

    @property
    def n_start(self):
        """Values per column that the linear start predicts from z."""
        return self.n_levels

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        highest = self.get_highest(raw)
        return CategoricalColumns(start + raw, highest, has_gaps=self.has_gaps)

    def adapt(self, x, weight=None):
        """Learn the categories of every column, and contrasts of them."""
        super().adapt(x, weight)
        n_levels, n_features = self._shares.shape
        rare = max(_RARE, min(_RARE_ROWS / len(x), 5 * _RARE))
        groups = [
            _pool(self._shares[:size, j], rare) for j, size in enumerate(self._sizes)
        ]
        # of no column more than 50: memory does not grow with the square of n_levels
        n_groups = max(group.max() for group in groups) + 1
        width = max(n_groups - 1, 1)
        # beyond its own a column has groups that are empty, and contrasts that are zero
        self._groups = np.full((n_features, n_levels), n_groups)
        self._contrasts = np.zeros((n_features, n_groups + 1, width))
        is_used = np.zeros((n_features, width), dtype=bool)
        is_used[:, 0] = True
        for j, (size, group) in enumerate(zip(self._sizes, groups, strict=True)):
            self._groups[j, :size] = group
            root = np.sqrt(np.bincount(group, weights=self._shares[:size, j]))
            basis = np.column_stack([root, np.eye(len(root))[:, 1:]])
            basis, _ = np.linalg.qr(basis)
            # orthonormal over the categories, and to the constant
            found = basis[:, 1:] / root[:, None]
            self._contrasts[j, : len(root), : found.shape[1]] = found
            is_used[j, 1 : found.shape[1]] = True
        self._used = np.flatnonzero(is_used)

    def count_inputs(self, n_features):
        """Return the number of contrasts of all columns."""
        return len(self._used)

    def get_input_columns(self, n_features):
        """Return which column each contrast comes from."""
        return self._used // self._contrasts.shape[-1]

    def make_lookup(self, like):
        """Return what makes contrasts of codes, see `_Lookup`."""
        return _Lookup(self._groups, self._contrasts, self._used, like)

    def represent(self, x):
        """Return the contrasts of every column, ``(..., n, n_inputs)``."""
        return self.make_lookup(x)(x)

    def link(self, mean, scale, loadings, noise):
        """Return the linear model of the contrasts as one of the logits.

        With contrasts f_a, uncorrelated and of variance 1, any law of a column is
        p_k(z) = p_k (1 + Σ_a f_a(k) E[f_a|z]). The linear model says that E[f_a|z] is
        linear; to first order so is log p_k(z). The biases are such that the mean of
        p_k(z) over z is p_k.
        """
        n_levels, n_features = self._shares.shape
        width = self._contrasts.shape[-1]
        padded = np.zeros((len(loadings), n_features * width))
        padded[:, self._used] = loadings * scale
        padded = padded.reshape(len(loadings), n_features, width)
        slope = np.einsum("qja,jga->qgj", padded, self._contrasts)
        length = np.sqrt((slope**2).sum(axis=0))
        slope *= np.minimum(1, _MAX_SLOPE / np.maximum(length, 1e-12))
        # Categories of a group have one slope, and shares of it that do not depend on
        # z: where the mean of the group's probability is right, so are all of theirs.
        group = self._groups.T
        shares = np.zeros(slope.shape[1:])
        np.add.at(shares, (group, np.arange(n_features)), self._shares)
        shift = _match_shares(slope, shares)
        with np.errstate(divide="ignore"):
            log_share = np.maximum(np.log(self._shares), _LEAST_LOG_SHARE)
        bias = log_share + np.take_along_axis(shift, group, axis=0)
        slope = np.take_along_axis(slope, group[None], axis=1)
        return slope.reshape(len(loadings), n_levels * n_features), bias.ravel()


def _pool(shares, rare):
    """Return the group of every category: rare ones have one in common.

    Where all rare ones together are rare, that of the most frequent category. Where all
    there are are rare, as many of the most frequent as are not are the one group, and
    the rest the other.
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


class _Lookup:
    """Contrasts of codes: a table of those of all groups, and where each code is in it.

    Parameters
    ----------
    groups : ndarray (n_features, n_levels)
        Group of every code.
    contrasts : ndarray (n_features, n_groups, width)
        Padded: columns of few groups have few contrasts.
    used : ndarray of int
        Which of the n_features * width contrasts there are.
    like : Tensor
        Has the data type and device of the codes.
    """

    def __init__(self, groups, contrasts, used, like):
        n_features, n_levels = groups.shape
        device = like.device
        columns = np.arange(n_features)
        rows = groups + contrasts.shape[1] * columns[:, None]
        self.rows = torch.as_tensor(rows.ravel(), device=device)
        self.first = torch.as_tensor(n_levels * columns, device=device)
        self.table = torch.as_tensor(contrasts, dtype=like.dtype, device=device)
        self.table = self.table.flatten(0, 1)
        self.used = torch.as_tensor(used, device=device)
        self.n_values = n_features * contrasts.shape[2]

    def __call__(self, x, out=None):
        """Return the contrasts of codes (..., n, n_features), ``(..., n, n_inputs)``.

        A code that is missing has 0.5 in its place, which counts as 0.
        """
        rows = self.rows.take(x.long() + self.first)
        found = self.table.index_select(0, rows.flatten())
        found = found.view(*x.shape[:-1], self.n_values)
        if out is not None:
            return torch.index_select(found, -1, self.used, out=out)
        is_all = len(self.used) == self.n_values
        return found if is_all else found.index_select(-1, self.used)


def _match_shares(slope, shares):
    """Return what to add to log shares for the mean softmax over z to be the shares.

    Parameters
    ----------
    slope : ndarray (n_components, n_groups, n_features)
        Of the logits, for z ~ N(0, I).
    shares : ndarray (n_groups, n_features)
        Zero where a column has no such group.

    Returns
    -------
    ndarray (n_groups, n_features)
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
