"""Distributions of several groups of columns, side by side."""

import torch
from torch.distributions import constraints
from typing_extensions import override

from ._base import UncheckedDistribution, broadcast_shapes


class ColumnGroups(UncheckedDistribution):
    """Independent columns, whose distributions differ between groups.

    ``columns`` has tensors of int, the numbers of the columns of each group, and
    ``order`` is the place of every column among those of all groups in turn.
    """

    def __init__(self, distributions, columns, order):
        self.distributions, self.columns, self.order = distributions, columns, order
        self.support = constraints.cat(
            [d.support for d in distributions], dim=-1, lengths=list(map(len, columns))
        )
        super().__init__(*((*d.batch_shape[:-1], len(order)) for d in distributions))

    def _merge(self, parts):
        """Return values of the groups in the order of the columns."""
        leading = broadcast_shapes(*(part.shape[:-1] for part in parts))
        parts = [part.expand(*leading, -1) for part in parts]
        return torch.cat(parts, dim=-1).index_select(-1, self.order)

    @property
    @override
    def mean(self):
        """Mean of every column, or what its distribution has instead of one."""
        return self._merge([d.mean for d in self.distributions])

    @property
    @override
    def variance(self):
        return self._merge([d.variance for d in self.distributions])

    @override
    def sample(self, sample_shape=()):
        return self._merge([d.sample(sample_shape) for d in self.distributions])

    @override
    def log_prob(self, value):
        parts = [
            d.log_prob(value.index_select(-1, columns))
            for d, columns in zip(self.distributions, self.columns, strict=True)
        ]
        return self._merge(parts)
