"""What likelihoods of coded categories share: their numbers and frequencies."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from .._columns import Support
from .._distributions._column_chain import KnownColumns
from .._utils._checks import is_integer
from ._base import Likelihood
from ._link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

# levels of a column where n_categories does not set their number
_MAX_UNASKED = 1000
_WORDS = (
    "integer codes from 0 to n_categories - 1 or, without n_categories, those that it "
    "has at fit; make a column of other levels categories, with astype('category')"
)
# outputs that take a step about as much time as one more group of columns
_WORTH_A_GROUP = 16


class LevelLink(Link):
    """Base of the links of coded categories.

    ``n_levels`` are the categories of the column that has most, at least 2, ``sizes``
    those of every column, and ``shares`` (n_levels, n_features) their frequencies in
    ``n_rows`` training rows, none of which is zero.
    """

    def __init__(
        self, n_levels: Any, sizes: Any = None, shares: Any = None, n_rows: Any = None
    ) -> None:
        self.n_offsets, self.sizes, self.shares = n_levels, sizes, shares

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        part = copy.copy(self)
        part.shares = compute_shares(x, weight, self.sizes)
        return part


class LevelLikelihood(Likelihood):
    """Base of the likelihoods of integer codes.

    By `adapt` every column has ``_levels``, its codes in order, of which x holds the
    positions 0, 1, ..., and ``_sizes``, their numbers. Without `n_categories`, codes
    that do not occur are no levels.
    """

    _link_type = LevelLink
    # of one column, with the raw outputs of one of more categories
    _is_part = False

    def __init__(self, n_categories: int | Sequence[int] | None = None) -> None:
        self.n_categories = n_categories

    @override
    def check_parameters(self) -> None:
        given: Any = self.n_categories
        if given is None:
            return
        sizes = list(given) if np.ndim(given) else [given]
        name = f"{type(self).__name__}(n_categories={given!r})"
        accepted = "None, an integer of at least 1 or one for each column is accepted."
        if not all(map(is_integer, sizes)):
            raise TypeError(f"{name} is of the wrong kind; {accepted}")
        if any(size < 1 for size in sizes):
            raise ValueError(f"{name} is out of range; {accepted}")

    def _get_given(self, n_features):
        """Return the numbers of categories if they are known, or None."""
        if hasattr(self, "_sizes"):
            return self._sizes
        if self.n_categories is None:
            return None
        sizes = np.atleast_1d(np.asarray(self.n_categories, dtype=np.int64))
        if np.ndim(self.n_categories) and len(sizes) != n_features:
            raise ValueError(
                f"{type(self).__name__}(n_categories={self.n_categories!r}) has "
                f"{len(sizes)} entries, but X has {n_features} columns."
            )
        return np.broadcast_to(sizes, n_features)

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        if hasattr(self, "_sizes"):
            part._sizes, part._is_part = self._sizes[[column]], True
            part._levels = [self._levels[column]]
        return part

    @property
    def n_levels(self):
        """Categories of the column that has most, at least 2."""
        if hasattr(self, "_sizes"):
            return max(2, int(self._sizes.max()))
        return 2 if self.n_categories is None else max(2, np.max(self.n_categories))

    @property
    def has_gaps(self):
        """Whether some columns have fewer categories than others."""
        is_known = hasattr(self, "_sizes") and not self._is_part
        return not is_known or bool((self._sizes < self.n_levels).any())

    def get_highest(self, like):
        """Return the highest code of every column, ``(n_features,)``."""
        sizes = self._get_given(like.shape[-1])
        if sizes is None:
            return like.new_ones(like.shape[-1])
        return torch.as_tensor(sizes - 1, dtype=like.dtype, device=like.device)

    @property
    def levels(self):
        """The codes of every column, in order, or None before `adapt`."""
        return getattr(self, "_levels", None)

    @property
    def support(self) -> Support:
        """The codes that are accepted, a `Support`."""
        if self.levels is not None:
            low, high = np.array([[codes[0], codes[-1]] for codes in self.levels]).T
            return Support(_WORDS, low, high, is_integer=True, levels=self.levels)
        given: Any = self.n_categories
        sizes = self._get_given(np.size(given))
        high, most = (np.inf, _MAX_UNASKED) if sizes is None else (sizes - 1, np.inf)
        return Support(_WORDS, 0, high, is_integer=True, max_levels=most)

    @override
    def summarise(self, distribution: Any) -> torch.Tensor:
        if not isinstance(distribution, KnownColumns):
            return distribution.probs.flatten(-2)
        known = distribution.mean.unsqueeze(-2)
        codes = torch.arange(self.n_levels, device=known.device).unsqueeze(-1)
        return (known == codes).to(known).flatten(-2)

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        # the likeliest code
        probs = summary.unflatten(-1, (self.n_levels, -1))
        return probs.argmax(dim=-2).to(summary)

    @property
    @override
    def link(self) -> Link:
        return getattr(self, "_link", None) or self._link_type(self.n_levels)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        self.__dict__.pop("_sizes", None)
        sizes = self._get_given(x.shape[1])
        if sizes is None:
            self._levels = [np.unique(column).astype(np.int64) for column in x.T]
            pairs = zip(self._levels, x.T, strict=True)
            x = np.column_stack([np.searchsorted(*pair) for pair in pairs])
        else:
            self._levels = [np.arange(size) for size in sizes]
        self._sizes = np.array([len(codes) for codes in self._levels])
        shares = compute_shares(x, weight, self._sizes)
        self._link = self._link_type(self.n_levels, self._sizes, shares, len(x))


def compute_shares(x, weight, sizes):
    """Return how frequent codes are, ``(most categories, n_features)``."""
    counts = np.zeros((max(2, sizes.max()), x.shape[1]))
    for j, size in enumerate(sizes):
        codes = x[:, j].astype(np.int64)
        counts[:size, j] = np.bincount(codes, weights=weight, minlength=size)
    exists = np.arange(len(counts))[:, None] < sizes
    shares = counts / counts.sum(axis=0)
    # categories that never occurred: once in twice as many rows
    shares = np.where(exists, np.maximum(shares, 0.5 / len(x)), 0.0)
    return shares / shares.sum(axis=0)


def group_by_size(sizes):
    """Split columns into groups of similar numbers of categories.

    One likelihood pads all its columns to the largest number of categories among them.
    Within a group that is at most twice the smallest: largest columns first, each group
    takes the columns at least half as large as its largest. So there are at most
    log2(largest) groups (a column counts as two categories at least). A group joins the
    one before it if that makes less than 16 more outputs, which take no more time.
    Groups are arrays of column numbers, ascending.
    """
    sizes = np.maximum(np.asarray(sizes, dtype=np.int64), 2)
    descending = np.argsort(-sizes, kind="stable")
    groups: list[Any] = []
    left = descending
    while len(left):
        n_taken = np.searchsorted(-2 * sizes[left], -sizes[left[0]], side="right")
        group, left = left[:n_taken], left[n_taken:]
        if groups:
            missing = sizes[groups[-1][0]] * len(group) - sizes[group[0]] * len(group)
            if missing < _WORTH_A_GROUP:
                groups[-1] = np.append(groups[-1], group)
                continue
        groups.append(group)
    return [np.sort(group) for group in groups]
