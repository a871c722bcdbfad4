"""Distributions of several groups of columns, side by side."""

import torch
from torch.distributions import Distribution, constraints
from typing_extensions import override


class ColumnGroups(Distribution):
    """Independent columns, whose distributions differ between groups.

    Parameters
    ----------
    distributions : list of Distribution
        One for each group, batch shape (..., columns of the group).
    columns : list of Tensor of int
        Columns of each group; each column is in one group.
    order : Tensor of int (n_features,)
        Position of each column among those of all groups in turn.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, distributions, columns, order, validate_args=False):
        self.distributions, self.columns, self.order = distributions, columns, order
        shapes = [d.batch_shape[:-1] for d in distributions]
        shape = (*torch.broadcast_shapes(*shapes), len(order))
        super().__init__(torch.Size(shape), validate_args=validate_args)

    @property
    @override
    def support(self):
        parts = [d.support for d in self.distributions]
        sizes = [len(columns) for columns in self.columns]
        return constraints.cat(parts, dim=-1, lengths=sizes)

    def _merge(self, parts):
        """Return values of the groups in the order of the columns."""
        leading = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
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
