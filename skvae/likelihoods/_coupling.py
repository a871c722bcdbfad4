"""How columns depend on those before them: codes, matrices, and their places."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from .._distributions._base import broadcast_shapes

# of the coupling with raw outputs, as a function of what is learned: its second
# derivative is 2 * _RATE, and the first _RATE * _LEAST at zero
_RATE, _LEAST = 2.0, 0.1


class Coupling(NamedTuple):
    """Matrices from codes to raw outputs and locations, and what codes are scaled by.

    Attributes
    ----------
    to_raw : Tensor (..., n_inputs, n_raw)
    to_loc : Tensor (..., n_terms, n_scaled)
    log_unit : Tensor (..., n_scaled)
        Log scales of scaled columns given those before.
    input_centre, log_input_scale : Tensor (..., n_inputs)
    offset_centre, log_offset_scale : Tensor (..., n_scaled)
    """

    to_raw: torch.Tensor
    to_loc: torch.Tensor
    log_unit: torch.Tensor
    input_centre: torch.Tensor
    log_input_scale: torch.Tensor
    offset_centre: torch.Tensor
    log_offset_scale: torch.Tensor

    def scale_inputs(self, values, part=slice(None)):
        """Return some of the inputs, centred and scaled."""
        centre, log_scale = (
            self.input_centre[..., part],
            self.log_input_scale[..., part],
        )
        return (values - centre) * torch.exp(-log_scale)

    def scale_offsets(self, offset):
        """Return the offsets of scaled columns, centred and scaled."""
        return (offset - self.offset_centre) * torch.exp(-self.log_offset_scale)


class CouplingLayout:
    """Where the values of columns are, in flat raw outputs, offsets and codes.

    Parameters
    ----------
    likelihood : AutoregressiveColumns
    """

    def __init__(self, likelihood):
        self.groups, n_features = likelihood.list_groups(), likelihood.n_features
        self.links = [member.link.refine() for member, _ in self.groups]
        raw_shapes, self.free_shapes, offset_shapes = likelihood._list_shapes()
        raw_starts, offset_starts = (
            _find_starts(raw_shapes),
            _find_starts(offset_shapes),
        )
        self.free_starts = _find_starts(self.free_shapes)
        self.n_raw = int(raw_starts[-1])
        # of every column: its group, its place there, its raw outputs and its offsets
        self.places: list[Any] = [None] * n_features
        raw_columns = np.zeros(self.n_raw, dtype=np.int64)
        is_scaled, is_free = np.zeros((2, n_features), dtype=bool)
        input_columns = []
        for g, (member, columns) in enumerate(self.groups):
            n = len(columns)
            for p, column in enumerate(columns):
                raw = slice(int(raw_starts[g]) + p, int(raw_starts[g + 1]), n)
                raw_columns[raw] = column
                begin, end = int(offset_starts[g]) + p, int(offset_starts[g + 1])
                self.places[column] = g, p, raw, slice(begin, end, n)
            input_columns.append(columns[_list_input_columns(self.links[g], n)])
            is_scaled[columns] = member.link.is_scaled
            is_free[columns] = member.link.fixed_noise is None
        self._arrange_inputs(np.concatenate(input_columns), n_features)
        self._arrange_scaled(is_scaled, is_free, int(offset_starts[-1]))
        self._arrange_terms(is_scaled)
        self._make_masks(raw_columns, raw_starts)
        matrices = self.n_inputs * self.n_raw, self.n_terms * self.n_scaled
        moments = 2 * [self.n_inputs] + 2 * [self.n_scaled]
        own = int(self.free_starts[-1])
        self.sizes = [*matrices, own, self.n_scaled, *moments]
        # a matrix, for costs are counted by the last dimension of weights
        width = self.n_raw + self.n_scaled
        self.free_shape = -(-sum(self.sizes) // width), width

    def _arrange_inputs(self, columns, n_features):
        """Sort inputs by their columns."""
        order = np.argsort(columns, kind="stable")
        self.input_order = torch.as_tensor(order)
        self.input_columns, self.n_inputs = columns[order], len(order)
        self.first_inputs = np.searchsorted(
            self.input_columns, np.arange(n_features + 1)
        )

    def _arrange_scaled(self, is_scaled, is_free, n_offsets):
        """Find scaled columns, and their offsets."""
        self.scaled = np.flatnonzero(is_scaled)
        self.n_scaled = len(self.scaled)
        self.is_free = torch.as_tensor(is_free[self.scaled])
        found = [self.places[column][3].start for column in self.scaled]
        self.scaled_offsets = np.array(found, dtype=np.int64)
        self.scaled_number = {int(c): k for k, c in enumerate(self.scaled)}
        # which scaled column an offset, or a column, belongs to
        self.of_offset = _number_places(self.scaled_offsets, n_offsets)
        self.of_column = _number_places(self.scaled, len(is_scaled))

    def _arrange_terms(self, is_scaled):
        """Sort terms by their columns: inputs of others, or offset and residual."""
        self.other_inputs = np.flatnonzero(~is_scaled[self.input_columns])
        kinds = np.repeat([0, 1, 2], [len(self.other_inputs), *2 * [self.n_scaled]])
        others = self.input_columns[self.other_inputs]
        columns = np.concatenate([others, self.scaled, self.scaled])
        order = np.lexsort((kinds, columns))
        self.term_order = torch.as_tensor(order)
        self.term_columns, self.n_terms = columns[order], len(order)
        self.is_offset = kinds[order] == 1
        # the residuals, and what is known of a table before column j
        self.targets = np.flatnonzero(kinds[order] == 2)
        self.first_terms = np.searchsorted(
            self.term_columns, np.arange(len(is_scaled) + 1)
        )

    def _make_masks(self, raw_columns, raw_starts):
        """Let raw outputs and locations depend on columns before alone."""
        mask = self.input_columns[:, None] < raw_columns
        # rows determine logits of rare categories less
        spread = np.ones(self.n_raw)
        for (member, columns), start, end in zip(
            self.groups, raw_starts[:-1], raw_starts[1:], strict=True
        ):
            part = spread[start:end].reshape(member.n_raw, len(columns))
            part *= getattr(member, "spread", 1.0)
        self.raw_mask = torch.as_tensor(spread * mask)
        mask = self.term_columns[:, None] < self.scaled
        # offsets are those of z, which is given
        mask |= self.is_offset[:, None] & (self.term_columns[:, None] == self.scaled)
        self.loc_mask = torch.as_tensor(mask.astype(float))

    def get_member(self, j):
        """Return the likelihood of column j alone."""
        g, place, _, _ = self.places[j]
        member, columns = self.groups[g]
        return member.select(place) if len(columns) > 1 else member

    def represent(self, x):
        """Return the inputs of rows, not yet centred and scaled."""
        found = []
        for link, (_, columns) in zip(self.links, self.groups, strict=True):
            index = torch.as_tensor(columns, device=x.device)
            found.append(link.represent(x.index_select(-1, index)))
        codes = torch.cat(found, dim=-1) if len(found) > 1 else found[0]
        return codes.index_select(-1, self.input_order.to(x.device))

    def represent_column(self, x, j):
        """Return the inputs of column j, not yet centred and scaled."""
        g, place, _, _ = self.places[j]
        link, columns = self.links[g], self.groups[g][1]
        if link.get_input_columns(len(columns)) is None:
            return self.get_member(j).link.refine().represent(x[..., j : j + 1])
        index = torch.as_tensor(columns, device=x.device)
        is_own = _list_input_columns(link, len(columns)) == place
        own = torch.as_tensor(np.flatnonzero(is_own), device=x.device)
        return link.represent(x.index_select(-1, index)).index_select(-1, own)

    def split_terms(self, inputs, offset, residual):
        """Return the terms of rows by kind, given what scaled columns have."""
        other = torch.as_tensor(self.other_inputs, device=inputs.device)
        parts = inputs.index_select(-1, other), offset, residual
        return [part for part in parts if part.shape[-1]]

    def split_rows(self, to_loc):
        """Return the rows of the coupling with locations, by the same kinds."""
        ordered = to_loc.index_select(-2, self.term_order.argsort().to(to_loc.device))
        sizes = len(self.other_inputs), self.n_scaled, self.n_scaled
        parts = ordered.split(sizes, dim=-2)
        return [part for part in parts if part.shape[-2]]

    def join_terms(self, parts):
        """Return all terms, in the order of their columns."""
        leading = broadcast_shapes(*(part.shape[:-1] for part in parts))
        terms = torch.cat([part.expand(*leading, -1) for part in parts], dim=-1)
        return terms.index_select(-1, self.term_order.to(terms.device))


def bend(value):
    """Return coefficients of the coupling with raw outputs, given what is learned.

    They are squares that keep the sign, with a small slope at zero. There are many of
    them: one for each code and each raw output of later columns. Fitted exactly, each
    that means nothing takes half a nat from all held-out rows together. Squares grow
    ever faster where a gradient lasts, as those of rules, and hardly where it is weak.
    Training that is stopped early then leaves most coefficients near zero, as a penalty
    on absolute values would (Vaškevičius, Kanade & Rebeschini 2019, "Implicit
    regularization for optimal sparse recovery").
    """
    return _RATE * value * (value.abs() + _LEAST)


def spread(values, index):
    """Return values by their index, 0 beyond the last; as they are if it is None."""
    if index is None:
        return values
    zero = values.new_zeros(*values.shape[:-1], 1)
    found = torch.cat([values, zero], dim=-1)
    return found.index_select(-1, index.to(values.device))


def _find_starts(shapes):
    """Return where parts of such shapes begin in a flat tensor, and where they end."""
    return np.cumsum([0, *map(math.prod, shapes)])


def _list_input_columns(link, n_features):
    """Return which column each of the inputs of a link comes from, an array."""
    columns = link.get_input_columns(n_features)
    return np.arange(n_features) if columns is None else np.asarray(columns)


def _number_places(places, size):
    """Return the numbers of places, one more for all others; None if none is needed."""
    if np.array_equal(places, np.arange(size)):
        return None
    numbers = torch.full((size,), len(places))
    numbers[places] = torch.arange(len(places))
    return numbers
