"""Different likelihoods for different columns."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from .._distributions._column_chain import KnownColumns
from .._distributions._groups import ColumnGroups
from ._base import Likelihood
from ._gaussian_mixture import GaussianMixture
from ._link import GroupedLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._link import Link


class PerColumn(Likelihood):
    r"""Groups of columns, each with a likelihood of its own.

    .. math:: p(x|z) = \prod_g p_g(x_g | z)

    Given z columns are independent, so densities of numbers and probabilities of
    categories multiply. Raw outputs, offsets and inputs of the groups lie side by side.

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

    support: Any = None

    def __init__(
        self, members: Sequence[Likelihood], columns: Sequence[Sequence[int]]
    ) -> None:
        self.members = members
        self.columns = columns

    @classmethod
    def cover(cls, likelihood, n_features):
        """Return the PerColumn with one likelihood for all columns, or itself."""
        if isinstance(likelihood, PerColumn):
            return likelihood
        if hasattr(likelihood, "cover"):
            # one whose columns are not independent
            return likelihood.cover(n_features)
        return cls([likelihood], [list(range(n_features))])

    @override
    def check_parameters(self) -> None:
        for member in self.members:
            member.check_parameters()

    # groups of columns ----------------------------------------------------------------

    @override
    def _without_background(self):
        part = copy.copy(self)
        part.members = [member._without_background() for member in self.members]
        return part

    @property
    def single(self):
        """The likelihood of all columns in their order, or None for several groups."""
        if self.is_mixed or list(self.columns[0]) != sorted(self.columns[0]):
            return None
        return self.members[0]

    @property
    def is_mixed(self):
        """Whether there are several groups of columns."""
        return len(self.members) > 1

    @property
    def n_features(self):
        """Number of columns."""
        return sum(map(len, self.columns))

    @property
    def is_joint(self) -> bool:
        """Whether columns depend on one another given z."""
        return any(member.is_joint for member in self.members)

    @property
    def accepts_sparse(self) -> bool:
        """Whether X may be sparse."""
        supports = [member.support for member in self.members]
        return not self.is_joint and all(s.accepts_sparse for s in supports)

    def list_groups(self) -> Any:
        """Return every member, with the numbers of its columns."""
        columns = [np.asarray(c, dtype=np.int64) for c in self.columns]
        return list(zip(self.members, columns, strict=True))

    def list_members(self):
        """Return the member of every column."""
        found = [None] * self.n_features
        for member, columns in self.list_groups():
            for column in columns:
                found[column] = member
        return found

    def list_levels(self):
        """Return the codes of every column, sorted; None for numbers."""
        found = [None] * self.n_features
        for member, columns in self.list_groups():
            levels = getattr(member, "levels", None) or [None] * len(columns)
            for column, codes in zip(columns, levels, strict=True):
                found[column] = codes
        return found

    def restrict(self, is_kept):
        """Return the likelihood of some of the columns alone, is_kept (n_features,)."""
        numbers = np.cumsum(is_kept) - 1
        kept = [(m, numbers[c[is_kept[c]]]) for m, c in self.list_groups()]
        # one at least, also for a table of constant columns
        kept = [(m, c) for m, c in kept if len(c)] or kept[:1]
        return type(self)([m for m, _ in kept], [c for _, c in kept])

    # shapes ---------------------------------------------------------------------------

    @property
    def n_raw(self) -> Any:
        """Raw outputs of the decoder per column; None where groups differ."""
        return None if self.is_mixed else self.members[0].n_raw

    @property
    def link(self) -> Link:
        """The links of all groups."""
        if self.single is not None:
            return self.single.link
        return GroupedLink([(m.link, c) for m, c in self.list_groups()])

    def _list_shapes(self):
        """Return the shapes of raw, free and offset, a list of those of all groups."""
        groups = [(m, len(c)) for m, c in self.list_groups()]
        raw = [(member.n_raw, n) for member, n in groups]
        free = [member.free_shape(n) for member, n in groups]
        return raw, free, [member.link.offset_shape(n) for member, n in groups]

    def raw_shape(self, n_features):
        """Return the shape of the raw outputs for one row."""
        return _join(self._list_shapes()[0], self.single)

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return _join(self._list_shapes()[1], self.single)

    def _select(self, x):
        """Return the columns of every group."""
        index = [torch.as_tensor(c, device=x.device) for _, c in self.list_groups()]
        return [x.index_select(-1, columns) for columns in index]

    def _list_parts(self, tensor, kind):
        return [tensor] if self.single is not None else _split(tensor, kind)

    def list_raw(self, raw):
        """Return the raw outputs of every group."""
        return self._list_parts(raw, self._list_shapes()[0])

    def list_free(self, free):
        """Return the learned values of every group, views of ``free``."""
        return self._list_parts(free, self._list_shapes()[1])

    def list_offsets(self, offset):
        """Return the offset of every group."""
        return self._list_parts(offset, self._list_shapes()[2])

    def join_groups(self, parts):
        """Return raw outputs and offset of all groups; raw outputs None are zeros."""
        if self.single is not None:
            return parts[0]
        raw_shapes, _, offset_shapes = self._list_shapes()
        raws, offsets = [], []
        for (raw, offset), raw_shape, offset_shape in zip(
            parts, raw_shapes, offset_shapes, strict=True
        ):
            leading = offset.shape[: offset.dim() - len(offset_shape)]
            if raw is None:
                raw = offset.new_zeros(*leading, *raw_shape)
            raws.append(raw.flatten(len(leading)))
            offsets.append(offset.flatten(len(leading)))
        return torch.cat(raws, dim=-1), torch.cat(offsets, dim=-1)

    # density --------------------------------------------------------------------------

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        if self.single is not None:
            raw = _match_precision(self.single, raw, offset)
            return self.single(raw, free, offset, log_range)
        split = map(_split, (raw, free, offset), self._list_shapes())
        parts = zip(self.members, *split, self._select(log_range), strict=True)
        found = [
            member(_match_precision(member, raw, given[1]), *given)
            for member, raw, *given in parts
        ]
        columns = [torch.as_tensor(c, device=raw.device) for _, c in self.list_groups()]
        return ColumnGroups(found, columns, torch.cat(columns).argsort())

    def get_shared_variance(self, distribution):
        """Return the noise variance that numbers share, (..., 1), a constant; or 1."""
        for member, part in zip(self.members, distribution.distributions, strict=True):
            if getattr(member, "noise", None) == "shared":
                return part.scale[..., :1].detach().square()
        return 1.0

    @property
    def learns(self) -> bool:
        """Whether a member reads the rows."""
        return any(member.learns for member in self.members)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        if self.single is not None:
            self.single.adapt(x, weight)
            return
        for member, columns in self.list_groups():
            if member.learns:
                member.adapt(x[:, columns], weight)

    @property
    def initialize(self) -> Any:
        """A method that initializes the members, or None where zeros are good."""
        is_zero = all(member.initialize is None for member in self.members)
        return None if is_zero else self._initialize_members

    def _initialize_members(self, x, offset, log_range, widening=None, reach=None):
        """Return initial values, in the shapes of `raw_shape` and `free_shape`.

        Members are fitted to offsets that are farther from the rows by the factors
        ``widening`` (n_features,): as far as those of new rows are. ``reach``
        (n_features,) are the largest values of all rows, of which x is a sample.
        """
        if reach is None:
            reach = torch.nan_to_num(x).abs().amax(dim=0)
        if widening is not None:
            offset = self._widen(x, offset, widening)
        if self.single is not None:
            raw, free = self.single.initialize(x, offset, log_range)
            return raw, self.single._reach_rows(free, reach)
        *shapes, offset_shapes = self._list_shapes()
        inputs = self._select(x), _split(offset, offset_shapes), self._select(log_range)
        raw, free = [], []
        for member, raw_shape, free_shape, part, *given in zip(
            self.members, *shapes, self._select(reach), *inputs, strict=True
        ):
            found = x.new_zeros(raw_shape), x.new_zeros(free_shape)
            if member.initialize is not None:
                found = member.initialize(*given)
            raw.append(found[0].flatten())
            free.append(member._reach_rows(found[1], part).flatten())
        return torch.cat(raw), torch.cat(free)

    def _widen(self, x, offset, widening):
        offset = offset.clone()
        for (_, columns), part in zip(
            self.list_groups(), self.list_offsets(offset), strict=True
        ):
            factor = widening[columns]
            # offsets of other columns are no values
            if (factor != 1).any():
                residual = torch.nan_to_num(x[:, columns] - part)
                part.sub_((factor - 1) * residual)
        return offset

    def summarise_groups(self, distribution):
        """Return a list of what `summarise` of each member returns."""
        if self.single is not None:
            return [self.single.summarise(distribution)]
        parts = zip(self.members, distribution.distributions, strict=True)
        return [member.summarise(part) for member, part in parts]

    def summarise_values(self, x):
        """Return the same where columns are known to be x."""
        if self.single is not None:
            return [self.single.summarise(KnownColumns(x))]
        pairs = zip(self.members, self._select(x), strict=True)
        return [member.summarise(KnownColumns(part)) for member, part in pairs]

    def conclude_groups(self, summaries):
        """Return the values of a row, given averages of such summaries."""
        parts = zip(self.members, summaries, strict=True)
        values = [member.conclude(part) for member, part in parts]
        if self.single is not None:
            return values[0]
        order = torch.as_tensor(np.argsort(np.concatenate(self.columns)))
        return torch.cat(values, dim=-1).index_select(-1, order.to(values[0].device))


def _match_precision(likelihood, raw, offset):
    """Return raw outputs in the precision of offsets.

    A mixture of normals takes single precision beside double; atoms are as narrow as
    double precision allows.
    """
    is_mixture = isinstance(likelihood, GaussianMixture)
    if is_mixture and not likelihood.n_used_atoms:
        return raw
    return raw.to(offset.dtype)


def _join(shapes, single):
    """Return the shape of all groups: that of one, or the size of all in a tuple."""
    return shapes[0] if single is not None else (sum(map(math.prod, shapes)),)


def _split(tensor, shapes):
    """Return the parts of the groups of (..., n), in their shapes."""
    parts = tensor.split([math.prod(shape) for shape in shapes], dim=-1)
    return [p.unflatten(-1, s) for p, s in zip(parts, shapes, strict=True)]
