"""Distributions of columns given z and the columns before them."""

import math
from typing import NamedTuple

import torch

from .._distributions._base import broadcast_shapes
from .._distributions._column_chain import ScaledColumns
from ..networks._layers import squash
from ._coupling import spread
from ._gaussian_mixture import GaussianMixture
from ._look_ahead import (
    MAX_NUMBERS,
    LookAhead,
    Regressions,
    are_near,
    find_missing_residuals,
)

# least and largest standard deviation, in units of its noise, that a look ahead is for
_SCALES = 1e-3, 1e3


class Codes(NamedTuple):
    """What columns depend on: inputs (..., n_inputs), and terms (..., n_terms)."""

    inputs: torch.Tensor
    terms: torch.Tensor


class Conditionals:
    """What `ColumnChain` asks for: distributions of columns given those before.

    Parameters
    ----------
    likelihood : AutoregressiveColumns
    raw, free, offset, log_range : Tensor
        As in the call of a likelihood.
    """

    def __init__(self, likelihood, raw, free, offset, log_range):
        layout = likelihood._arrange()
        self.likelihood, self.layout = likelihood, layout
        n_features = log_range.shape[-1]
        self.raw_shape = likelihood.raw_shape(n_features)
        self.offset_shape = likelihood.link.offset_shape(n_features)
        self.raw = raw.flatten(-len(self.raw_shape))
        self.offset = offset.flatten(-len(self.offset_shape))
        self.log_range = log_range
        self.coupling, self.own = likelihood.read_free(free)
        self.log_unit = self.coupling.log_unit
        scaled = torch.as_tensor(layout.scaled_offsets, device=offset.device)
        self.scaled_offset = self.offset.index_select(-1, scaled)
        self.scaled = torch.as_tensor(layout.scaled, device=offset.device)
        leading = broadcast_shapes(self.raw.shape[:-1], self.offset.shape[:-1])
        self.shape = (*leading, n_features)

    def new_zeros(self, shape):
        """Return zeros like the parameters."""
        return self.offset.new_zeros(shape)

    def encode(self, x):
        """Return the `Codes` of all columns."""
        inputs, parts = self._encode(x)
        terms = self.layout.join_terms(parts)
        leading = broadcast_shapes(terms.shape[:-1], self.shape[:-1])
        return Codes(*(part.expand(*leading, -1).clone() for part in (inputs, terms)))

    def _encode(self, x):
        """Return inputs, which depend on rows alone, and terms by kind."""
        layout, coupling = self.layout, self.coupling
        inputs = squash(coupling.scale_inputs(layout.represent(x)))
        offset = coupling.scale_offsets(self.scaled_offset)
        residual = x.index_select(-1, self.scaled) - self.scaled_offset
        return inputs, layout.split_terms(inputs, offset, residual)

    def update(self, codes, x, j, rows=None):
        """Write the codes of a new value of column j, of some rows, into codes."""
        layout, place = self.layout, slice(None) if rows is None else rows
        x = _take_rows(x, rows)
        part, end = slice(*layout.first_inputs[j : j + 2]), layout.first_terms[j + 1]
        value = layout.represent_column(x, j)
        value = squash(self.coupling.scale_inputs(value, part))
        codes.inputs[..., place, part] = value
        if j in layout.scaled_number:
            # the offset is there already, the residual is the last
            *_, offsets = layout.places[j]
            value = x[..., j : j + 1] - _take_rows(self.offset[..., offsets], rows)
            codes.terms[..., place, end - 1 : end] = value
        else:
            codes.terms[..., place, layout.first_terms[j] : end] = value

    def look_ahead(self, x, missing, n_draws):
        """Return what known columns say about missing numbers, a `LookAhead`, or None.

        It is for so many draws of every row. Missing cells (..., n, n_features) of x
        have any values.
        """
        members = self.likelihood.members
        has_mixtures = any(isinstance(member, GaussianMixture) for member in members)
        if not has_mixtures or not 1 < self.layout.n_scaled <= MAX_NUMBERS:
            return None
        slope, shift, residual, offset, unit = self._regress(x, missing)
        missing = missing.index_select(-1, self.scaled)
        is_near = are_near(residual, missing)
        residual = torch.where(is_near, residual, 0.0)
        given = slope, shift, residual, missing
        _, mean = find_missing_residuals(*given, torch.ones_like(unit))
        # normals with the moments of columns where missing numbers are at these means
        residual = torch.where(missing, mean, residual)
        loc, scale = self._find_moments(x, (residual + offset) * unit)
        loc = loc - offset - residual @ slope
        shift = torch.where(loc.abs() < math.inf, loc, shift)
        if scale.dim() > missing.dim():
            # the same for all draws of z
            scale = scale.flatten(0, scale.dim() - missing.dim() - 1).mean(dim=0)
        root, mean = find_missing_residuals(slope, shift, residual, missing, scale)
        regressions = Regressions(self.scaled, slope, shift, scale, offset, 1 / unit)
        shape = n_draws, *x.shape[:-1], len(self.scaled)
        return LookAhead(shape, self.layout, regressions, root, mean, is_near)

    def _regress(self, x, missing):
        """Return regressions of numbers: slopes, constants, residuals, offsets, units.

        All but the units are in these units. Missing categories are at their means.
        """
        layout, coupling = self.layout, self.coupling
        _, parts = self._encode(x)
        rows = layout.split_rows(coupling.to_loc)
        if len(parts) > 2:
            columns = layout.input_columns[layout.other_inputs]
            hidden = missing[..., torch.as_tensor(columns, device=x.device)]
            parts[0] = parts[0].masked_fill(hidden, 0.0)
        unit = coupling.log_unit.exp()
        rate = 1 / unit
        slope = (unit.mT if unit.dim() > 1 else unit.unsqueeze(-1)) * rows[-1] * rate
        shift = sum(map(_multiply, parts[:-1], rows)) * rate
        return slope, shift, parts[-1] * rate, self.scaled_offset * rate, unit

    def _find_moments(self, x, numbers):
        """Return means and standard deviations of numbers, where those before are so.

        They are in units of the columns.
        """
        numbers = numbers.to(x)
        filled, places = spread(numbers, self.layout.of_column), self.layout.of_column
        if places is not None:
            is_number = places.to(x.device) < numbers.shape[-1]
            filled = torch.where(is_number, filled, x)
        found = self.given(filled, self.likelihood._without_background()).base
        scale = found.variance.index_select(-1, self.scaled).sqrt()
        scale = scale.nan_to_num(1.0).clamp(*_SCALES)
        return found.mean.index_select(-1, self.scaled), scale

    def given(self, x, likelihood=None):
        """Return the distribution of all columns, given that those before are x.

        They have another likelihood than that of scores if one is passed.
        """
        layout, likelihood = self.layout, likelihood or self.likelihood
        inputs, parts = self._encode(x)
        shift = _multiply(inputs, self.coupling.to_raw)
        raw = self.raw + shift.to(self.raw.dtype)
        leading = broadcast_shapes(x.shape[:-1], self.offset.shape[:-1])
        offset = self.offset.expand(*leading, -1)
        log_unit = spread(self.log_unit, layout.of_column)
        if layout.n_scaled:
            rows = layout.split_rows(self.coupling.to_loc)
            to_loc = spread(sum(map(_multiply, parts, rows)), layout.of_offset)
            rate = torch.exp(-spread(self.log_unit, layout.of_offset))
            offset = (offset + to_loc) * rate
        own = self.own
        if likelihood.single is not None:
            own = own.unflatten(-1, layout.free_shapes[0])
        found = likelihood.condition(
            raw.unflatten(-1, self.raw_shape),
            own,
            offset.unflatten(-1, self.offset_shape),
            self.log_range + log_unit,
        )
        return ScaledColumns(found, log_unit)

    def at(self, codes, j, rows=None):
        """Return the distribution of column j of some rows, given codes before it."""
        layout = self.layout
        g, place, index, offsets = layout.places[j]
        member, columns = layout.groups[g]
        n_before = int(layout.first_inputs[j])
        inputs = _take_rows(codes.inputs[..., :n_before], rows)
        shift = _multiply(inputs, self.coupling.to_raw[..., :n_before, index])
        raw = _take_rows(self.raw[..., index], rows) + shift
        offset = _take_rows(self.offset[..., offsets], rows)
        offset = offset.expand(*inputs.shape[:-1], -1)
        log_unit = self.log_unit.new_zeros(1)
        if j in layout.scaled_number:
            k = layout.scaled_number[j]
            # its own offset, too
            n_before = int(layout.first_terms[j]) + 1
            to_loc = self.coupling.to_loc[..., :n_before, k, None]
            terms = _take_rows(codes.terms[..., :n_before], rows)
            shift = _multiply(terms, to_loc)
            log_unit = self.log_unit[..., k : k + 1]
            offset = (offset + shift) * torch.exp(-log_unit)
        begin, end = layout.free_starts[g : g + 2]
        shape, n = layout.free_shapes[g], len(columns)
        own = self.own[..., begin:end].unflatten(-1, shape)
        if shape[-1] == n:
            own = own[..., place : place + 1]
        found = layout.get_member(j)(
            raw.unflatten(-1, (member.n_raw, 1)),
            own,
            offset.unflatten(-1, member.link.offset_shape(1)),
            self.log_range[..., j : j + 1] + log_unit,
        )
        return ScaledColumns(found, log_unit)


def _take_rows(values, rows):
    """Return some rows of values (..., n, width), or of those that are one for all."""
    if rows is None or values.shape[-2] == 1:
        return values
    return values.index_select(-2, rows)


def _multiply(codes, matrix):
    """Return codes @ matrix, plain or (n_copies, n_codes, width), each copy its own."""
    if matrix.dim() == 2:
        return codes @ matrix
    by_copy = codes.movedim(-3, 0)
    found = torch.bmm(by_copy.flatten(1, -2), matrix)
    return found.unflatten(1, by_copy.shape[1:-1]).movedim(0, -3)
