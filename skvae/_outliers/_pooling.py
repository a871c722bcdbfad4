"""Pooling: two scores of a row as one, the mean of their p-values."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import logsigmoid

# exponent of the mean: 1 is that of the numbers, 0 that of their logarithms
_EXPONENT = 0.5
# share of normal rows more than a standard deviation below the mean
_BELOW = 0.1587


@dataclass(frozen=True)
class Pooling:
    r"""Centres and spreads of scores, and the mean of what they are as p-values.

    .. math::
        s(x) = \frac{1}{r} \log \frac{1}{K} \sum_k \sigma\Big(
        \frac{s_k(x) - c_k}{w_k} \Big)^r

    where the logistic function is a smooth p-value, :math:`c_k` is the median of
    scores, and :math:`w_k` by how much the lowest 16 in 100 are below it. The mean with
    exponent r = 1/2 is between that of p-values, to which a score that is lower by far
    adds nothing, and that of their logarithms, where the lowest decides alone. For
    means of p-values see Vovk & Wang (2020), "Combining p-values via averaging".
    """

    centres: np.ndarray  # (n_scores,)
    spreads: np.ndarray  # (n_scores,)

    @classmethod
    def of(cls, scores, weight=None):
        """Return that of scores of normal rows, ``(n, n_scores)``."""
        options = {"weights": weight, "method": "inverted_cdf", "axis": 0}
        if weight is not None:
            options["weights"] = np.broadcast_to(weight[:, None], scores.shape)
        low, middle = np.quantile(scores, [_BELOW, 0.5], **options)
        spreads = middle - low
        # most scores are equal
        deviations = np.abs(scores - middle).mean(axis=0)
        spreads = np.where(spreads > 1e-6 * deviations, spreads, deviations)
        return cls(middle, np.where(spreads > 0, spreads, 1.0))

    def pool(self, scores):
        """Return the pooled scores of rows, ``(n,)``, from ``(n, n_scores)``."""
        return self.pool_tensor(torch.as_tensor(scores)).numpy()

    def pool_tensor(self, scores):
        """Return the same of a tensor."""
        parts = _EXPONENT * logsigmoid(self._standardize(scores))
        return (parts.logsumexp(dim=-1) - np.log(parts.shape[-1])) / _EXPONENT

    def _standardize(self, scores):
        centres, spreads = torch.as_tensor(self.centres), torch.as_tensor(self.spreads)
        return (scores - centres) / spreads

    def weigh(self, scores):
        """Return the derivatives of pooled scores, ``(n, n_scores)``."""
        standard = self._standardize(torch.as_tensor(scores))
        share = (_EXPONENT * logsigmoid(standard)).softmax(dim=-1)
        return (share * (-standard).sigmoid()).numpy() / self.spreads
