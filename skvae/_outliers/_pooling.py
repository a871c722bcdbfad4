"""Pooling: two scores of a row as one, the mean logarithm of their p-values."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import logsigmoid

# share of normal rows more than a standard deviation below the mean
_BELOW = 0.1587


@dataclass(frozen=True)
class Pooling:
    r"""Centres and spreads of scores, and what they are together.

    .. math::
        s(x) = \frac{1}{K} \sum_k \log \sigma\Big(\frac{s_k(x) - c_k}{w_k} \Big)

    where the logistic function is a smooth p-value, :math:`c_k` is the median of
    scores, and :math:`w_k` by how much the lowest 16 in 100 are below it. Fisher (1932)
    combines p-values by the sum of their logarithms; scores above the median add next
    to nothing.
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
        return logsigmoid(self._standardize(scores)).mean(dim=-1)

    def _standardize(self, scores):
        centres, spreads = torch.as_tensor(self.centres), torch.as_tensor(self.spreads)
        return (scores - centres) / spreads

    def weigh(self, scores):
        """Return the derivatives of pooled scores, ``(n, n_scores)``."""
        slopes = (-self._standardize(torch.as_tensor(scores))).sigmoid()
        return slopes.numpy() / (self.spreads * scores.shape[-1])
