"""Columns that depend on those before them, each by a likelihood of one column."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._chain import fit_chain
from .._distributions._base import broadcast_shapes
from .._distributions._column_chain import ColumnChain, ScaledColumns
from .._utils._missing import NEUTRAL, fill_at_random, find_missing
from ..networks._layers import squash
from ._base import Likelihood, Wrapper
from ._gaussian_mixture import GaussianMixture
from ._per_column import PerColumn

if TYPE_CHECKING:
    from .._columns._support import Support
    from ._link import Link

# columns of the widest table: a draw takes one pass for each
MAX_COLUMNS = 500
# least distance, of log scales, from the noise to its floor
_MIN_LOG_RANGE = 0.02
# of the coupling with raw outputs, as a function of what is learned: its second
# derivative is 2 * _RATE, and the first _RATE * _LEAST at zero
_RATE, _LEAST = 2.0, 0.1
# least standard deviation of a code that is scaled
_LEAST_SCALE = 0.03


class Autoregressive(Wrapper):
    r"""Columns that depend on one another given z, in the order of the table.

    .. math:: p(x|z) = \prod_j p_j(x_j | z, x_1, \dots, x_{j-1})

    The p_j are likelihoods of single columns. All their raw outputs, and so weights,
    means and widths of mixtures, logits and rates, are those of the decoder plus a
    linear function of the columns before. Training starts at the normal distribution
    with the full covariance of what the linear model leaves.

    Parameters
    ----------
    base : str, Likelihood or dict, default='auto'
        Likelihoods of the columns, as for `VAETransformer`: 'auto' is
        'gaussian_mixture' for numbers, 'bernoulli' for booleans and 'categorical' for
        categories. Not 'shared' or 'low_rank' noise.

    Notes
    -----
    The density of rows with missing cells is estimated: see the user guide. A draw
    takes a pass for every column, and images and tables of more than 500 columns are
    refused. Where others return E[x|z], this returns the means of columns given the
    means of those before, which are exact where means are linear.

    References
    ----------
    Uria, Côté, Gregor, Murray & Larochelle (2016), "Neural autoregressive distribution
    estimation", eqs. 1 and 10; Germain, Gregor, Murray & Larochelle (2015), "MADE",
    section 3; Fung & Chang (1990), "Weighing and integrating evidence for stochastic
    simulation in Bayesian networks", for missing cells.
    """

    is_joint = True

    def __init__(self, base: Likelihood | str = "auto") -> None:
        self.base = base

    @override
    def check_parameters(self) -> None:
        if isinstance(self.base, Autoregressive) or self.base == "autoregressive":
            raise ValueError(
                f"Autoregressive(base={self.base!r}) is not supported: a base is a "
                "likelihood of single columns, such as 'gaussian_mixture'."
            )
        if not isinstance(self.base, (str, dict, Likelihood)):
            raise TypeError(
                f"Autoregressive(base={self.base!r}) is not known; use 'auto', the "
                "name or an instance of a likelihood, or a dict of them by column."
            )

    def join(self, columns):
        """Return the likelihood of all columns, given the `PerColumn` of the base."""
        for member in columns.members:
            if member.is_joint or member.link.is_isotropic:
                raise ValueError(
                    f"Autoregressive(base={member!r}) is not supported: a base has "
                    "noise of its own in every column."
                )
        return AutoregressiveColumns(columns.members, columns.columns)

    @property
    def _base(self):
        """The base that stands for all columns, without a table."""
        if isinstance(self.base, Likelihood):
            return self.base
        return self._named["base"].get(self.base, GaussianMixture)()

    def cover(self, n_features):
        """Return the likelihood of so many columns, all with one base."""
        return self.join(PerColumn.cover(self._base, n_features))

    @property
    def n_raw(self) -> int:
        """Raw outputs of the decoder per column."""
        return self._base.n_raw

    @property
    def link(self) -> Link:
        """The link of the base."""
        return self._base.link

    @property
    def support(self) -> Support:
        """The values that the base accepts, a `Support`."""
        return self._base.support

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return self.cover(n_features).free_shape(n_features)

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        return self.cover(log_range.shape[-1])(raw, free, offset, log_range)

    @override
    def initialize(
        self, x: Any, offset: torch.Tensor, log_range: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cover(x.shape[-1]).initialize(x, offset, log_range)


class AutoregressiveColumns(PerColumn):
    """The likelihood of all columns of a table, each given those before it.

    Learned values that do not depend on z, ``free``, are a matrix. Its first rows are
    the coupling: from the codes of columns to all raw outputs, and to the locations of
    scaled columns. The other rows hold the values of the members, and what is not
    learned: log scales of columns given those before, and moments of codes.

    Codes are the inputs that links represent columns by, centred and scaled; a scaled
    column is one itself, and has its residual around the linear model as another, which
    only locations depend on.
    """

    is_joint = True

    def _arrange(self):
        """Return where everything is, a `_Layout`, found once."""
        key = [(m, tuple(c), m.n_raw, m.link.n_offsets) for m, c in self.list_groups()]
        if getattr(self, "_layout_key", None) != key:
            self._layout_key, self._layout = key, _Layout(self)
        return self._layout

    def __getstate__(self):
        """Leave out the layout, which is found again."""
        state = dict(super().__getstate__())
        state.pop("_layout", None)
        state.pop("_layout_key", None)
        state.pop("_read", None)
        return state

    @override
    def free_shape(self, n_features):
        return self._arrange().free_shape

    def __call__(self, raw, free, offset, log_range):
        """Return p(x|z)."""
        conditionals = Conditionals(self, raw, free, offset, log_range)
        return ColumnChain(conditionals.shape, conditionals)

    def read_free(self, free):
        """Return coupling, values of the members, units of columns, moments of codes.

        Those of a module that is not trained any more are kept for the next call.
        """
        last = getattr(self, "_read", None)
        if last is not None and last[0] is free:
            return last[1]
        found = self._split_free(free)
        # weights are changed in place
        if not (isinstance(free, torch.nn.Parameter) or free.requires_grad):
            self._read = free, found
        return found

    def _split_free(self, free):
        layout = self._arrange()
        flat = free.flatten(-2)
        n_coupling = layout.n_codes * layout.width
        sizes = [n_coupling, layout.n_own, len(layout.scaled)]
        sizes += 2 * [len(layout.inputs)]
        sizes.append(flat.shape[-1] - sum(sizes))
        coupling, own, log_unit, centre, log_scale, _ = flat.split(sizes, dim=-1)
        # one matrix for all rows: (..., 1, n) to (..., n_codes, width)
        coupling = coupling[..., 0, :].unflatten(-1, (layout.n_codes, layout.width))
        to_raw, to_loc = coupling.tensor_split([layout.n_raw], dim=-1)
        coupling = torch.cat([bend(to_raw), to_loc], dim=-1)
        coupling = coupling * layout.mask.to(coupling)
        # not learned
        log_unit, centre, log_scale = (
            _append_zero(part.detach()) for part in (log_unit, centre, log_scale)
        )
        index = layout.of_code.to(free.device)
        centre = centre.index_select(-1, index)
        rate = torch.exp(-log_scale).index_select(-1, index)
        return coupling, own, log_unit, centre, rate

    def condition(self, raw, free, offset, log_range):
        """Return the distribution of columns whose raw outputs are complete."""
        return super().__call__(raw, free, offset, log_range)

    @override
    def list_free(self, free):
        layout = self._arrange()
        own = free.flatten()[layout.n_codes * layout.width :][: layout.n_own]
        if self.single is not None:
            own = own.unflatten(0, layout.free_shapes[0])
        return super().list_free(own)

    @property
    def initialize(self):
        """A method that sets the coupling, and initializes the members."""
        return self._initialize_chain

    def _initialize_chain(self, x, offset, log_range):
        layout = self._arrange()
        shape = offset.shape[1:]
        offset, log_range = offset.flatten(1), log_range.clone()
        codes, centre, log_scale = self._compute_codes(x, offset)
        scaled, linear = layout.scaled, layout.linear_codes
        chain = fit_chain(codes[:, linear].numpy(), layout.targets)
        log_unit = torch.as_tensor(np.log(chain.scale)).to(x)
        # no narrower than the floor of the noise
        log_unit = torch.maximum(log_unit, _MIN_LOG_RANGE - log_range[scaled])
        log_unit = torch.where(layout.is_free, log_unit, 0.0).to(x)
        by_column, by_offset = x.new_zeros(x.shape[1]), offset.clone()
        by_column[scaled] = log_unit
        by_offset[:, layout.scaled_offsets] += torch.as_tensor(chain.predicted).to(x)
        by_offset[:, layout.scaled_offsets] *= torch.exp(-log_unit)
        given = x * torch.exp(-by_column), by_offset.unflatten(1, shape)
        raw = x.new_zeros(self.raw_shape(x.shape[1]))
        own = x.new_zeros(layout.n_own)
        if super().initialize is not None:
            raw, own = self._initialize_members(*given, log_range + by_column)
        coupling = x.new_zeros(layout.n_codes, layout.width)
        coupling[linear, layout.n_raw :] = torch.as_tensor(chain.slope).to(x)
        rest = [own.flatten(), log_unit, centre, log_scale]
        free = x.new_zeros(layout.free_shape)
        flat = torch.cat([coupling.flatten(), *rest])
        free.view(-1)[: len(flat)] = flat
        return raw, free

    def _compute_codes(self, x, offset):
        """Return codes (n, n_codes) without gaps, and moments but of residuals."""
        layout = self._arrange()
        missing = find_missing(x)
        known = x if missing is None else torch.where(missing, NEUTRAL, x)
        found = layout.represent(known, offset)
        hidden = torch.isnan(x)[:, layout.code_columns]
        found = found.masked_fill(hidden, torch.nan).numpy()
        found = torch.as_tensor(fill_at_random(found))
        inputs = found[:, layout.inputs]
        centre = inputs.mean(dim=0)
        scale = inputs.std(dim=0, unbiased=False).clamp_min(_LEAST_SCALE)
        found[:, layout.inputs] = squash((inputs - centre) / scale)
        return found, centre, scale.log()


class _Layout:
    """Where the values of columns are, in flat raw outputs, offsets and codes."""

    def __init__(self, likelihood):
        groups, n_features = likelihood.list_groups(), likelihood.n_features
        raw_shapes, free_shapes, offset_shapes = likelihood._list_shapes()
        sizes = [math.prod(shape) for shape in raw_shapes]
        self.n_raw, self.n_own = sum(sizes), sum(map(math.prod, free_shapes))
        self.groups, self.free_shapes = groups, free_shapes
        # of every column: its group, its place there, its raw outputs and its offsets
        self.places = [None] * n_features
        starts = np.cumsum([0, *sizes])
        offset_starts = np.cumsum([0, *map(math.prod, offset_shapes)])
        raw_columns = np.zeros(self.n_raw, dtype=np.int64)
        code_columns, is_residual = [], []
        for g, (member, columns) in enumerate(groups):
            n = len(columns)
            for p, column in enumerate(columns):
                raw = starts[g] + p + n * np.arange(member.n_raw)
                raw_columns[raw] = column
                offsets = offset_starts[g] + p + n * np.arange(member.link.n_offsets)
                self.places[column] = g, p, torch.as_tensor(raw), offsets
            own = _list_input_columns(member.link, n)
            code_columns.append(columns[own])
            is_residual.append(np.zeros(len(own), dtype=bool))
            if member.link.is_scaled:
                code_columns.append(columns)
                is_residual.append(np.ones(n, dtype=bool))
        # codes in the order of their columns
        code_columns = np.concatenate(code_columns)
        order = np.argsort(code_columns, kind="stable")
        self.code_columns = code_columns[order]
        is_residual = np.concatenate(is_residual)[order]
        self.code_order = torch.as_tensor(order)
        self.n_codes = len(order)
        self.first_codes = np.searchsorted(self.code_columns, np.arange(n_features + 1))
        is_scaled = np.zeros(n_features, dtype=bool)
        is_free = np.zeros(n_features, dtype=bool)
        for member, columns in groups:
            is_scaled[columns] = member.link.is_scaled
            is_free[columns] = member.link.fixed_noise is None
        self.scaled = np.flatnonzero(is_scaled)
        self.is_free = torch.as_tensor(is_free[self.scaled])
        # codes but residuals; those that locations depend on, and the residuals there
        self.inputs = np.flatnonzero(~is_residual)
        is_linear = is_residual | ~is_scaled[self.code_columns]
        self.linear_codes = np.flatnonzero(is_linear)
        self.targets = np.flatnonzero(is_residual[self.linear_codes])
        self.is_residual = torch.as_tensor(is_residual)
        found = [self.places[column][3][0] for column in self.scaled]
        self.scaled_offsets = np.array(found, dtype=np.int64)
        self.scaled_number = {int(c): k for k, c in enumerate(self.scaled)}
        n_scaled, n_offsets = len(self.scaled), int(offset_starts[-1])
        # which scaled column an offset, or a column, belongs to; one more is none
        self.of_offset = torch.full((n_offsets,), n_scaled)
        self.of_offset[self.scaled_offsets] = torch.arange(n_scaled)
        self.of_column = torch.full((n_features,), n_scaled)
        self.of_column[self.scaled] = torch.arange(n_scaled)
        self.of_code = torch.full((self.n_codes,), len(self.inputs))
        self.of_code[self.inputs] = torch.arange(len(self.inputs))
        # where the inputs of a column are among those of its group
        self.own_inputs = {
            int(column): torch.as_tensor(np.flatnonzero(own == p))
            for member, columns in groups
            if not member.link.is_scaled
            for own in [_list_input_columns(member.link, len(columns))]
            for p, column in enumerate(columns)
        }
        self.width = self.n_raw + n_scaled
        targets = np.concatenate([raw_columns, self.scaled])
        mask = self.code_columns[:, None] < targets
        mask[is_residual, : self.n_raw] = False
        mask[~is_linear, self.n_raw :] = False
        # rows determine logits of rare categories less
        spread = np.ones(self.width)
        for g, (member, columns) in enumerate(groups):
            part = spread[starts[g] : starts[g + 1]].reshape(member.n_raw, len(columns))
            part *= getattr(member, "spread", 1.0)
        self.mask = torch.as_tensor(spread * mask)
        n_rest = self.n_own + n_scaled + 2 * len(self.inputs)
        self.free_shape = (self.n_codes + -(-n_rest // self.width), self.width)

    def represent(self, x, offset):
        """Return codes of rows, not yet centred and scaled."""
        found = []
        for member, columns in self.groups:
            part = x.index_select(-1, torch.as_tensor(columns, device=x.device))
            if member.link.is_scaled:
                at = np.array([self.places[column][3][0] for column in columns])
                at = torch.as_tensor(at, device=x.device)
                found += [part, part - offset.index_select(-1, at)]
            else:
                found.append(member.link.represent(part))
        leading = broadcast_shapes(*(f.shape[:-1] for f in found))
        found = [f.expand(*leading, -1) for f in found]
        codes = torch.cat(found, dim=-1) if len(found) > 1 else found[0]
        return codes.index_select(-1, self.code_order.to(x.device))


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
        self.offset_shape = offset.shape[offset.dim() - _count_dims(likelihood) :]
        self.raw = raw.flatten(-len(self.raw_shape))
        self.offset = offset.flatten(-len(self.offset_shape))
        self.log_range = log_range
        self.coupling, self.own, self.log_unit, self.centre, self.rate = (
            likelihood.read_free(free)
        )
        self.is_residual = layout.is_residual.to(free.device)
        leading = broadcast_shapes(self.raw.shape[:-1], self.offset.shape[:-1])
        self.shape = (*leading, n_features)

    def new_zeros(self, shape):
        """Return zeros like the parameters."""
        return self.offset.new_zeros(shape)

    def encode(self, x):
        """Return the codes of all columns, ``(..., n_codes)``."""
        layout = self.layout
        codes = layout.represent(x, self.offset)
        leading = broadcast_shapes(codes.shape[:-1], self.shape[:-1])
        codes = torch.where(
            self.is_residual, codes, squash((codes - self.centre) * self.rate)
        )
        return codes.expand(*leading, -1)

    def _shift_apart(self, x):
        """Return what columns before add to raw outputs, and to locations.

        Raw outputs depend on values alone, which all draws share; locations on
        residuals, which they do not.
        """
        layout = self.layout
        linear = torch.as_tensor(layout.linear_codes, device=x.device)
        to_raw, to_loc = self.coupling.tensor_split([layout.n_raw], dim=-1)
        values = layout.represent(x, self.offset.new_zeros(self.offset.shape[-1]))
        values = squash((values - self.centre) * self.rate)
        values = torch.where(self.is_residual, 0.0, values)
        shift = (values @ to_raw).to(self.raw.dtype)
        codes = self.encode(x)
        return shift, codes.index_select(-1, linear) @ to_loc.index_select(-2, linear)

    def update(self, codes, x, j):
        """Write the codes of a new value of column j into codes."""
        layout = self.layout
        part = slice(*layout.first_codes[j : j + 2])
        g, _, _, offsets = layout.places[j]
        member, columns = layout.groups[g]
        if member.link.is_scaled:
            value = x[..., j : j + 1]
            # the value itself, and its residual
            codes[..., part.stop - 1 :][..., :1] = value - self.offset[..., offsets]
            part = slice(part.start, part.stop - 1)
        else:
            index = torch.as_tensor(columns, device=x.device)
            value = member.link.represent(x.index_select(-1, index))
            value = value.index_select(-1, layout.own_inputs[j].to(x.device))
        value = (value - self.centre[..., part]) * self.rate[..., part]
        codes[..., part] = squash(value)

    def given(self, x):
        """Return the distribution of all columns, given that those before are x."""
        layout, likelihood = self.layout, self.likelihood
        if x.dim() < self.offset.dim() and x.dtype == torch.float64:
            shift, to_loc = self._shift_apart(x)
        else:
            shift = _multiply(self.encode(x), self.coupling)
            shift, to_loc = shift.tensor_split([layout.n_raw], dim=-1)
        raw = self.raw + shift.to(self.raw.dtype)
        offset = self.offset.expand(*to_loc.shape[:-1], -1)
        log_unit = self.log_unit.index_select(-1, layout.of_column.to(x.device))
        if len(layout.scaled):
            of_offset = layout.of_offset.to(x.device)
            to_loc = _append_zero(to_loc).index_select(-1, of_offset)
            rate = torch.exp(-self.log_unit.index_select(-1, of_offset))
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

    def at(self, codes, j):
        """Return the distribution of column j, given the codes of those before."""
        layout, n_before = self.layout, int(self.layout.first_codes[j])
        g, place, index, offsets = layout.places[j]
        member, columns = layout.groups[g]
        n = len(columns)
        codes = codes[..., :n_before]
        coupling = self.coupling[..., :n_before, :]
        index = index.to(codes.device)
        to_raw = coupling.index_select(-1, index)
        raw = self.raw.index_select(-1, index) + _multiply(codes, to_raw)
        offset = self.offset[..., offsets].expand(*codes.shape[:-1], -1)
        log_unit = self.log_unit[..., -1:]
        if j in layout.scaled_number:
            k = layout.scaled_number[j]
            shift = _multiply(codes, coupling[..., layout.n_raw + k, None])
            log_unit = self.log_unit[..., k : k + 1]
            offset = (offset + shift) * torch.exp(-log_unit)
        begin = sum(map(math.prod, layout.free_shapes[:g]))
        shape = layout.free_shapes[g]
        own = self.own[..., begin : begin + math.prod(shape)].unflatten(-1, shape)
        if shape[-1] == n:
            own = own[..., place : place + 1]
        found = (member.select(place) if n > 1 else member)(
            raw.unflatten(-1, (member.n_raw, 1)),
            own,
            offset.unflatten(-1, member.link.offset_shape(1)),
            self.log_range[..., j : j + 1] + log_unit,
        )
        return ScaledColumns(found, log_unit)


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


def _count_dims(likelihood):
    """Return the number of dimensions of the offset of one row."""
    return len(likelihood.link.offset_shape(likelihood.n_features))


def _append_zero(values):
    return torch.cat([values, values.new_zeros(*values.shape[:-1], 1)], dim=-1)


def _list_input_columns(link, n_features):
    """Return which column each of the inputs of a link comes from, an array."""
    columns = link.get_input_columns(n_features)
    return np.arange(n_features) if columns is None else np.asarray(columns)


def _multiply(codes, matrix):
    """Return codes @ matrix, plain or (n_copies, n_codes, width), each copy its own."""
    if matrix.dim() == 2:
        return codes @ matrix
    by_copy = codes.movedim(-3, 0)
    found = torch.bmm(by_copy.flatten(1, -2), matrix)
    return found.unflatten(1, by_copy.shape[1:-1]).movedim(0, -3)
