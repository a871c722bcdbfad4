"""Columns of categories without an order."""

import numpy as np
import torch

from ..distributions import CategoricalColumns
from ._base import LikelihoodPass
from ._levels import LevelLikelihood

# a category is at most exp(6) times as likely by one standard deviation of z
_MAX_SLOPE = 6.0
_MASKED = -1e30
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
        return CategoricalColumns(start + raw, self.get_highest(raw))

    def adapt(self, x, weight=None):
        """Learn the categories of every column, and contrasts of them."""
        super().adapt(x, weight)
        n_levels, n_features = self._shares.shape
        contrasts = np.zeros((n_features, n_levels, n_levels - 1))
        is_used = np.zeros((n_features, n_levels - 1), dtype=bool)
        is_used[:, 0] = True
        rare = max(_RARE, min(_RARE_ROWS / len(x), 5 * _RARE))
        for j, size in enumerate(self._sizes):
            group = _pool(self._shares[:size, j], rare)
            root = np.sqrt(np.bincount(group, weights=self._shares[:size, j]))
            n_groups = len(root)
            basis = np.column_stack([root, np.eye(n_groups)[:, 1:]])
            basis, _ = np.linalg.qr(basis)
            # orthonormal over the categories, and to the constant
            contrasts[j, :size, : n_groups - 1] = (basis[:, 1:] / root[:, None])[group]
            is_used[j, 1 : n_groups - 1] = True
        self._contrasts, self._used = contrasts, np.flatnonzero(is_used)

    def count_inputs(self, n_features):
        """Return the number of contrasts of all columns."""
        return len(self._used)

    def get_contrasts(self, like):
        """Return the contrasts of all codes, and which of them there are."""
        contrasts = torch.as_tensor(
            self._contrasts, dtype=like.dtype, device=like.device
        )
        used = torch.as_tensor(self._used, device=like.device)
        return contrasts, used

    def represent(self, x):
        """Return the contrasts of every column, ``(..., n, n_inputs)``."""
        return _contrast(x, *self.get_contrasts(x))

    def link(self, mean, scale, loadings, noise):
        """Return the linear model of the contrasts as one of the logits.

        With contrasts f_a, uncorrelated and of variance 1, any law of a column is
        p_k(z) = p_k (1 + Σ_a f_a(k) E[f_a|z]). The linear model says that E[f_a|z] is
        linear; to first order so is log p_k(z). The biases are such that the mean of
        p_k(z) over z is p_k.
        """
        n_levels, n_features = self._shares.shape
        padded = np.zeros((len(loadings), n_features * (n_levels - 1)))
        padded[:, self._used] = loadings * scale
        padded = padded.reshape(len(loadings), n_features, n_levels - 1)
        slope = np.einsum("qja,jka->qkj", padded, self._contrasts)
        length = np.sqrt((slope**2).sum(axis=0))
        slope *= np.minimum(1, _MAX_SLOPE / np.maximum(length, 1e-12))
        with np.errstate(divide="ignore"):
            log_share = np.maximum(np.log(self._shares), -50.0)
        bias = _match_shares(slope, log_share, self._shares > 0)
        return slope.reshape(len(loadings), n_levels * n_features), bias.ravel()

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return CategoricalPass(program, self)


def _pool(shares, rare):
    """Return the group of every category: rare ones have one in common.

    Where all rare ones together are rare, that of the most frequent category.
    """
    is_rare = shares < rare
    is_rare[shares.argmax()] = False
    group = np.cumsum(~is_rare) - 1
    is_enough = shares[is_rare].sum() >= rare
    group[is_rare] = group.max() + 1 if is_enough else group[shares.argmax()]
    return group


def _contrast(x, contrasts, used):
    """Return contrasts (n_features, n_levels, m) of codes, the used ones of all."""
    columns = torch.arange(x.shape[-1], device=x.device)
    found = contrasts[columns, x.long()].flatten(-2)
    return found if len(used) == found.shape[-1] else found.index_select(-1, used)


def _match_shares(slope, log_share, exists):
    """Return biases with which the mean softmax over z ~ N(0, I) is the shares."""
    n_components, n_levels, n_features = slope.shape
    bias = log_share.copy()
    if not slope.any():
        return bias
    half = np.random.default_rng(0).standard_normal((_N_DRAWS // 2, n_components))
    z = np.concatenate([half, -half])
    # a block of columns at a time: memory stays bounded
    size = max(1, 2_000_000 // (len(z) * n_levels))
    for begin in range(0, n_features, size):
        part = slice(begin, begin + size)
        moved = np.tensordot(z, slope[:, :, part], axes=1)
        mask = np.where(exists[:, part], 0.0, _MASKED)
        for _ in range(30):
            logits = moved + bias[:, part] + mask
            logits -= logits.max(axis=1, keepdims=True)
            probs = np.exp(logits)
            probs = (probs / probs.sum(axis=1, keepdims=True)).mean(axis=0)
            step = log_share[:, part] - np.log(np.maximum(probs, 1e-300))
            bias[:, part] += np.where(exists[:, part], step, 0.0)
    return bias


class CategoricalPass(LikelihoodPass):
    """With probabilities p: log p(x) = log p_x, and d/dl_k = 1(x = k) - p_k."""

    def __init__(self, program, likelihood):
        super().__init__(program)
        self.likelihood = likelihood

    def represent(self, x):
        contrasts, used = self.likelihood.get_contrasts(x)
        u = self.program.empty(*x.shape[:-1], len(used))
        self.program.call(lambda: u.copy_(_contrast(x, contrasts, used)))
        return u

    def forward(self, x, raw, free, predicted, log_range):
        program, n_features = self.program, x.shape[-1]
        if predicted is not None:
            program.add(raw, predicted, raw)
        logits = raw.unflatten(-1, (-1, n_features))  # (..., n, n_levels, d)
        codes = torch.arange(logits.shape[-2], device=x.device).to(x).unsqueeze(-1)
        mask = torch.where(codes > self.likelihood.get_highest(x), _MASKED, 0.0).to(x)
        program.add(logits, mask, logits)
        highest = program.maximum(logits, -2, program.empty(*x.shape))
        program.subtract(logits, highest.unsqueeze(-2), logits)
        self.is_chosen = torch.empty_like(logits, dtype=torch.bool)
        program.call(torch.eq, x.unsqueeze(-2), codes, out=self.is_chosen)
        self.probs = program.empty(*logits.shape)
        program.multiply(logits, self.is_chosen, self.probs)
        log_prob = program.sum(self.probs, -2, program.empty(*x.shape))
        program.exp(logits, self.probs)
        total = program.sum(self.probs, -2, highest)
        program.divide(self.probs, total.unsqueeze(-2), self.probs)
        program.subtract(log_prob, program.log(total, total), log_prob)
        return program.sum(log_prob, -1, program.empty(*x.shape[:-1]))

    def backward(self, weight):
        program = self.program
        grad = program.negative(self.probs, self.probs)
        program.add(grad, self.is_chosen, grad)
        program.multiply(grad, weight[..., None, None], grad)
        return grad.flatten(-2), grad.flatten(-2)
