"""The laws of several groups of columns, side by side."""

import torch
from torch.distributions import Distribution, constraints


class ColumnGroups(Distribution):
    """Independent columns, some of one law and some of another.

    Parameters
    ----------
    laws : list of Distribution
        One a group, batch shape (..., columns of the group).
    columns : list of Tensor of int
        Which columns the groups have; all together every column once.
    order : Tensor of int (n_features,)
        Where every column stands among those of all groups in turn.
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, laws, columns, order, validate_args=False):
        self.laws, self.columns, self.order = laws, columns, order
        shapes = [law.batch_shape[:-1] for law in laws]
        shape = (*torch.broadcast_shapes(*shapes), len(order))
        super().__init__(torch.Size(shape), validate_args=validate_args)

    @property
    def support(self):
        """Supports of the groups side by side."""
        parts = [law.support for law in self.laws]
        sizes = [len(columns) for columns in self.columns]
        return constraints.cat(parts, dim=-1, lengths=sizes)

    def _merge(self, parts):
        """Return values of the groups in the order of the columns."""
        leading = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        parts = [part.expand(*leading, -1) for part in parts]
        return torch.cat(parts, dim=-1).index_select(-1, self.order)

    @property
    def mean(self):
        """Mean of every column, or what its law has in the place of one."""
        return self._merge([law.mean for law in self.laws])

    @property
    def variance(self):
        """Variance of every column, ``(..., n_features)``."""
        return self._merge([law.variance for law in self.laws])

    def sample(self, sample_shape=()):
        """Draw one value of every column, ``sample_shape + (..., n_features)``."""
        return self._merge([law.sample(sample_shape) for law in self.laws])

    def log_prob(self, value):
        """Return the log density of every column, ``(..., n_features)``."""
        parts = [
            law.log_prob(value.index_select(-1, columns))
            for law, columns in zip(self.laws, self.columns, strict=True)
        ]
        return self._merge(parts)
