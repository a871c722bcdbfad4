"""Different likelihoods for different columns."""

import copy
import math

import numpy as np
import torch

from .._distributions import ColumnGroups
from ._base import Likelihood


class PerColumn(Likelihood):
    r"""Groups of columns, each with a likelihood of its own.

    .. math:: p(x|z) = \prod_g p_g(x_g | z)

    Given z columns are independent, so densities of numbers and probabilities of
    categories multiply. Raw outputs, values of the start and what the encoder sees of
    the groups lie side by side in the order of the groups.

    Parameters
    ----------
    members : sequence of Likelihood
        One a group; none of them a `PerColumn`, and none with columns that depend on
        one another given z.
    columns : sequence of sequence of int
        Numbers of the columns of every group; all together every column once.

    References
    ----------
    Nazábal, Olmos, Ghahramani & Valera (2020), "Handling incomplete heterogeneous data
    using VAEs", eq. 4 and section 3.
    """

    is_scaled = False
    # those of the groups differ, see `list_groups`
    n_raw = n_start = support = None

    def __init__(self, members, columns):
        self.members = members
        self.columns = columns

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        for member in self.members:
            member.check_parameters()

    def list_groups(self, n_features=None):
        """Return every member, with the numbers of its columns."""
        columns = [np.asarray(c, dtype=np.int64) for c in self.columns]
        return list(zip(self.members, columns, strict=True))

    def get_member(self, column):
        """Return the likelihood of one column."""
        for member, columns in self.list_groups():
            if column in columns:
                return member
        raise IndexError(column)

    def restrict(self, is_kept):
        """Return the likelihood of some of the columns alone.

        Parameters
        ----------
        is_kept : ndarray of bool (n_features,)
        """
        numbers = np.cumsum(is_kept) - 1
        kept = [(m, numbers[c[is_kept[c]]]) for m, c in self.list_groups()]
        kept = [(m, c) for m, c in kept if len(c)]
        return type(self)([m for m, _ in kept], [c for _, c in kept])

    def _map(self, function):
        """Return what a function of member and columns gives, one a group."""
        return [function(member, columns) for member, columns in self.list_groups()]

    @property
    def has_start(self):
        """Whether there is something better to start from than zeros."""
        return any(member.has_start for member in self.members)

    def raw_shape(self, n_features):
        """Return the number of raw outputs for one row, in a tuple."""
        return (sum(map(math.prod, self.list_shapes("raw_shape"))),)

    def start_shape(self, n_features):
        """Return the number of values the start predicts for one row, in a tuple."""
        return (sum(map(math.prod, self.list_shapes("start_shape"))),)

    def free_shape(self, n_features):
        """Return the number of learned values without z, in a tuple."""
        return (sum(map(math.prod, self.list_shapes("free_shape"))),)

    def list_shapes(self, name):
        """Return what a method like `raw_shape` says of every group."""
        return self._map(lambda m, c: getattr(m, name)(len(c)))

    def _split(self, tensor, name):
        """Return the parts of the groups of (..., n), in their shapes."""
        shapes = self.list_shapes(name)
        parts = tensor.split([math.prod(shape) for shape in shapes], dim=-1)
        return [p.unflatten(-1, s) for p, s in zip(parts, shapes, strict=True)]

    def _select(self, x):
        """Return the columns of every group."""
        index = [torch.as_tensor(c, device=x.device) for _, c in self.list_groups()]
        return [x.index_select(-1, columns) for columns in index]

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        parts = zip(
            self.members,
            self._split(raw, "raw_shape"),
            self._split(free, "free_shape"),
            self._split(start, "start_shape"),
            self._select(log_range),
            strict=True,
        )
        laws = [member(*inputs) for member, *inputs in parts]
        columns = [torch.as_tensor(c, device=raw.device) for _, c in self.list_groups()]
        return ColumnGroups(laws, columns, torch.cat(columns).argsort())

    def adapt(self, x, weight=None):
        """Let every member learn from its columns.

        Parameters
        ----------
        x : ndarray (n, n_features)
        weight : ndarray (n,) or None
        """
        for member, columns in self.list_groups():
            member.adapt(x[:, columns], weight)

    def adapt_to_part(self, x, weight):
        """Return a copy whose members have learned from some of the rows.

        Parameters
        ----------
        x : ndarray (n, n_features)
        weight : ndarray (n,)
        """
        part = copy.copy(self)
        part.members = self._map(lambda m, c: m.adapt_to_part(x[:, c], weight))
        return part

    def count_inputs(self, n_features):
        """Return the number of values that `represent` makes of a row."""
        return sum(self._map(lambda m, c: m.count_inputs(len(c))))

    def get_input_columns(self, n_features):
        """Return which column each value that `represent` makes comes from."""

        def list_columns(member, columns):
            own = member.get_input_columns(len(columns))
            return columns if own is None else columns[own]

        return np.concatenate(self._map(list_columns))

    def represent(self, x):
        """Return what the members make of their columns, group by group."""
        parts = zip(self.members, self._select(x), strict=True)
        return torch.cat([member.represent(part) for member, part in parts], dim=-1)

    def fit_start(self, x, predicted, log_range):
        """Return what raw outputs and free values of the members start at.

        Parameters
        ----------
        x : Tensor (n, n_features)
        predicted : Tensor (n, *start_shape)
        log_range : Tensor (n_features,)
        """
        parts = zip(
            self.members,
            self._select(x),
            self._split(predicted, "start_shape"),
            self._select(log_range),
            strict=True,
        )
        found = []
        for member, *inputs in parts:
            if member.has_start:
                found.append(member.fit_start(*inputs))
                continue
            n_columns = inputs[0].shape[-1]
            shapes = member.raw_shape(n_columns), member.free_shape(n_columns)
            found.append([x.new_zeros(shape) for shape in shapes])
        raw, free = zip(*found, strict=True)
        return torch.cat([r.flatten() for r in raw]), torch.cat(
            [f.flatten() for f in free]
        )

    def summarise(self, law):
        """Return what is averaged where p(x|z) of several z is, group by group."""
        parts = zip(self.members, law.distributions, strict=True)
        found = [member.summarise(part) for member, part in parts]
        leading = torch.broadcast_shapes(*(part.shape[:-1] for part in found))
        return torch.cat([part.expand(*leading, -1) for part in found], dim=-1)

    def conclude(self, summary):
        """Return the value of every column that an average of summaries stands for."""
        values, begin = [], 0
        for member, columns in self.list_groups():
            size = member.count_summaries(len(columns))
            values.append(member.conclude(summary[..., begin : begin + size]))
            begin += size
        order = torch.as_tensor(np.argsort(np.concatenate(self.columns)))
        return torch.cat(values, dim=-1).index_select(-1, order.to(summary.device))
