"""Columns that depend on those before them, each by a likelihood of one column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._chain import fit_chain
from .._closed_form._incomplete import fill_by_draws
from .._closed_form._moments import find_variance_doubt
from .._distributions._column_chain import ColumnChain
from .._utils._missing import NEUTRAL, fill_at_random, find_missing
from ..networks._layers import squash
from ._base import Likelihood, Wrapper
from ._conditionals import Conditionals
from ._coupling import Coupling, CouplingLayout, bend
from ._gaussian_mixture import GaussianMixture
from ._per_column import PerColumn

if TYPE_CHECKING:
    from .._columns._support import Support
    from ._link import Link

# columns of the widest table: a draw takes one pass for each
MAX_COLUMNS = 500
# least distance, of log scales, from the noise to its floor
_MIN_LOG_RANGE = 0.02
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
    simulation in Bayesian networks", and Whiteley & Lee (2014), "Twisted particle
    filters", for missing cells.
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

    Learned values that do not depend on z, ``free``, are a matrix. It holds those of
    the coupling, the values of the members, and then values that are not learned, the
    log scales of columns given those before and the moments of codes.

    Codes are numbers that later columns depend on. The raw outputs depend on *inputs*,
    which links represent values by, bounded. The locations of scaled columns depend on
    *terms*: the inputs of the other columns, and of every scaled column its offset and
    its residual around that, which together are any linear function of its value. A
    location depends on the offset of its own column as well: where columns before
    determine a value exactly, the noise of z in the offset cancels.
    """

    is_joint = True

    def _arrange(self):
        """Return where everything is, a `CouplingLayout`, found once."""
        key = [(m, tuple(c), m.n_raw, m.link.n_offsets) for m, c in self.list_groups()]
        if getattr(self, "_layout_key", None) != key:
            self._layout_key, self._layout = key, CouplingLayout(self)
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
        """Return the `Coupling`, and the values of the members.

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
        free = free.flatten(-2)[..., : sum(layout.sizes)]
        to_raw, to_loc, own, log_unit, *moments = free.split(layout.sizes, dim=-1)
        # one matrix for all rows: (..., 1, n) to (..., n_codes, width)
        to_raw = to_raw[..., 0, :].unflatten(-1, (layout.n_inputs, layout.n_raw))
        to_loc = to_loc[..., 0, :].unflatten(-1, (layout.n_terms, layout.n_scaled))
        to_raw = bend(to_raw) * layout.raw_mask.to(free)
        to_loc = to_loc * layout.loc_mask.to(free)
        # not learned
        log_unit, *moments = (part.detach() for part in (log_unit, *moments))
        return Coupling(to_raw, to_loc, log_unit, *moments), own

    def condition(self, raw, free, offset, log_range):
        """Return the distribution of columns whose raw outputs are complete."""
        return super().__call__(raw, free, offset, log_range)

    @override
    def list_free(self, free):
        layout = self._arrange()
        begin = sum(layout.sizes[:2])
        own = free.flatten()[begin : begin + layout.sizes[2]]
        if self.single is not None:
            own = own.unflatten(0, layout.free_shapes[0])
        return super().list_free(own)

    @property
    def initialize(self):
        """A method that sets the coupling, and initializes the members."""
        return self._initialize_chain

    def _initialize_chain(self, x, offset, log_range, widening=None, reach=None):
        layout = self._arrange()
        shape = offset.shape[1:]
        offset, log_range = offset.flatten(1), log_range.clone()
        terms, moments = self._compute_terms(x, offset)
        scaled = layout.scaled
        chain = fit_chain(terms, layout.targets)
        # columns with the variance of a row or two keep their unit
        doubt = find_variance_doubt(x[:, scaled].numpy())
        log_unit = torch.as_tensor((1 - doubt) * np.log(chain.scale)).to(x)
        if widening is not None:
            # regressed are the offsets as they are: those moved away from the rows are
            # no functions of z, and contain the rows
            log_unit += widening[scaled].log()
        # no narrower than the floor of the noise
        log_unit = torch.maximum(log_unit, _MIN_LOG_RANGE - log_range[scaled])
        log_unit = torch.where(layout.is_free, log_unit, 0.0).to(x)
        by_column, by_offset = x.new_zeros(x.shape[1]), offset.clone()
        by_column[scaled] = log_unit
        by_offset[:, layout.scaled_offsets] += torch.as_tensor(chain.predicted).to(x)
        by_offset[:, layout.scaled_offsets] *= torch.exp(-log_unit)
        given = x * torch.exp(-by_column), by_offset.unflatten(1, shape)
        raw = x.new_zeros(self.raw_shape(x.shape[1]))
        own = x.new_zeros(layout.sizes[2])
        if super().initialize is not None:
            if reach is not None:
                reach = reach.to(x) * torch.exp(-by_column)
            log_range = log_range + by_column
            raw, own = self._initialize_members(*given, log_range, widening, reach)
        to_raw = x.new_zeros(layout.n_inputs * layout.n_raw)
        to_loc = torch.as_tensor(chain.slope).to(x)
        parts = [to_raw, to_loc.flatten(), own.flatten(), log_unit, *moments]
        free, flat = x.new_zeros(layout.free_shape), torch.cat(parts)
        free.view(-1)[: len(flat)] = flat
        return raw, free

    def _compute_terms(self, x, offset):
        """Return terms (n, n_terms) of all rows, and the moments of codes."""
        layout = self._arrange()
        missing = find_missing(x)
        known = x if missing is None else torch.where(missing, NEUTRAL, x)
        offset = offset[:, layout.scaled_offsets]
        if missing is not None and layout.n_scaled:
            # slopes would be too small if numbers had lost their relations
            residual = (x[:, layout.scaled] - offset).double()
            both = torch.cat([residual, offset.double()], dim=1).numpy()
            drawn = fill_by_draws(both)[:, : layout.n_scaled]
            x, known = x.clone(), known.clone()
            x[:, layout.scaled] = offset + torch.as_tensor(drawn).to(x)
            known[:, layout.scaled] = x[:, layout.scaled]
        codes = torch.cat(
            [layout.represent(known), known[:, layout.scaled] - offset], 1
        )
        columns = np.concatenate([layout.input_columns, layout.scaled])
        codes = codes.masked_fill(torch.isnan(x)[:, columns], torch.nan)
        codes = torch.as_tensor(fill_at_random(codes.numpy()))
        inputs, residual = codes.tensor_split([layout.n_inputs], dim=1)
        inputs, *moments = _standardise(inputs)
        offset, *more = _standardise(offset)
        terms = layout.split_terms(squash(inputs), offset, residual)
        return layout.join_terms(terms).numpy(), [*moments, *more]


def _standardise(codes):
    """Return codes, their means and the logarithms of their standard deviations."""
    centre = codes.mean(dim=0)
    codes = codes - centre
    scale = codes.square().mean(dim=0).sqrt().clamp_min(_LEAST_SCALE)
    return codes / scale, centre, scale.log()
