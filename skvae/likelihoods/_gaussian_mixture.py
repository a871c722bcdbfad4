"""A mixture of normals for every column."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._linear import NOISE_FLOOR
from .._closed_form._mixtures import fit_columns
from .._columns._observed import REPEATED_SHARE, count_decimals
from .._distributions._mixtures import (
    BackgroundMixture,
    NormalMixture,
    ShiftedMixture,
)
from .._utils._checks import check_choice, check_count, check_share
from .._utils._missing import fill_at_random
from ._base import (
    MAX_LOG_SCALE,
    Likelihood,
    compute_residual,
    to_log_scale,
    to_raw_scale,
)
from ._link import NARROW_FLOOR, ScaledLink

if TYPE_CHECKING:
    from ._base import Likelihood
    from ._link import Link

# log-weight of an atom that a column does not have
_NO_ATOM = -30.0
# where nearly all values are atoms: least variance of normals in that of atoms, so that
# they are a step wide; and, as a share, the most that is asked of the linear model
_WIDER, _WIDEST = 2 * np.pi, 0.5
# initial share of the linear model itself in a column's mixture
_LINEAR_SHARE = 0.05
# of the background: farther than the noise of the linear model, and than any value
_LEAST_LOG_REACH, _MAX_LOG_REACH = 0.7, 30.0


class MixtureLink(ScaledLink):
    """The linear model, and the width of the narrowest component of a mixture."""

    def __init__(self, mixture: Any) -> None:
        least = None if mixture.variance_floor == "auto" else mixture.variance_floor
        floor = getattr(mixture, "_floor", least or NARROW_FLOOR)
        if hasattr(mixture, "_least_noise"):
            # the linear model's noise is that of the last component
            least = np.maximum(mixture._least_noise, least or 0.0)
        super().__init__(least, floor)
        self.mixture = mixture

    @override
    def refit(self, x: Any, weight: Any) -> Link:
        part = copy.copy(self.mixture)
        part.adapt(x, weight)
        return part.link


class GaussianMixture(Likelihood):
    r"""A small mixture of normals for every column, given z.

    .. math:: p(x|z) = \prod_j \sum_k w_{jk}(z) N(x_j; \mu_{jk}(z), \sigma_{jk}^2(z))

    It fits heavy tails, several modes and repeated values. With m_j(z) what the linear
    model, or a map that has been learned before, decodes, the means are

    .. math:: \mu_{jk}(z) = (1 + t_{jk}) m_j(z) + s_{jk}(z)

    where the tilt t is 0, or -1 for components that do not follow the model: they start
    at means that are the same for all z, such as repeated values. The last component
    keeps the mean m_j(z), and at least the noise of the linear model. A background, the
    same for all z and as wide as the column, limits the loss of a row where the
    networks extrapolate badly.

    Parameters
    ----------
    n_mixture : int, default=4
        Components of every column, at least 2.
    variance_floor : 'auto' or float, default='auto'
        Smallest variance of a component as a share of the column's variance. 'auto' is
        1e-3, or what the linear model found, if less.
    n_atoms : int, default=0
        Repeated values of a column, at most, that have a component of their own: those
        of at least every twentieth row, for integers and other numbers on a grid; or
        all that occur twice, where a column has no more values than `n_atoms`. A
        draw from it is the value itself; its density there is its weight divided by the
        smallest step between values, so that scores compare with those of a probability
        on the grid; no other component is higher. Beside values on no grid, it is a
        normal of the smallest variance.
    n_constant : int, default=2
        Components of a column, at most, with a tilt of -1: as many as fit the rows
        clearly better where training starts, often none.
    background_weight : float, default=1e-4
        Weight of a normal around the column's mean, with the distance of the farthest
        training row (with `partial_fit`, of the first chunk) as its standard deviation:
        in [0, 1), and 0 leaves it out. It is not learned, and belongs to scores: draws,
        reconstructions, filled cells and `noise_variance_` are those of the components.

    References
    ----------
    Banfield & Raftery (1993), "Model-based Gaussian and non-Gaussian clustering",
    section 5, for the background;
    Bishop (1994), "Mixture density networks", eqs. 22-25; Quandt & Ramsey (1978),
    "Estimating mixtures of normal distributions and switching regressions", for the
    start.
    """

    def __init__(
        self,
        n_mixture: int = 4,
        variance_floor: float | str = "auto",
        n_atoms: int = 0,
        n_constant: int = 2,
        background_weight: float = 1e-4,
    ) -> None:
        self.n_mixture = n_mixture
        self.variance_floor = variance_floor
        self.n_atoms = n_atoms
        self.n_constant = n_constant
        self.background_weight = background_weight

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Keep mixtures of earlier formats as they are.

        Before format 3 they had no tilts, before format 4 no background.
        """
        super().__setstate__(state)
        self.__dict__.setdefault("n_constant", 0)
        self.__dict__.setdefault("background_weight", 0.0)

    @override
    def check_parameters(self) -> None:
        check_count(self, "n_mixture", 2)
        check_choice(self, "variance_floor", ("auto",), positive=True)
        check_count(self, "n_atoms", 0)
        check_count(self, "n_constant", 0)
        check_share(self, "background_weight")

    @property
    def link(self) -> Link:
        """The linear model, with a noise floor that has room for the atoms."""
        return MixtureLink(self)

    @property
    def n_used_atoms(self):
        """Atoms of the column that has most, once rows have been seen."""
        return getattr(self, "_n_used_atoms", self.n_atoms)

    @property
    @override
    def learns(self) -> bool:
        return self.n_atoms > 0

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        if not self.learns:
            return
        floor = NARROW_FLOOR if self.variance_floor == "auto" else self.variance_floor
        step, self._n_used_atoms = np.zeros(x.shape[1]), 0
        has_few = np.zeros(x.shape[1], dtype=bool)
        for j, column in enumerate(x.T):
            values, counts = _find_atoms(column, self.n_atoms, REPEATED_SHARE)
            step[j] = _find_step_variance(column)
            self._n_used_atoms = max(self._n_used_atoms, len(values))
            has_few[j] = counts.sum() > (1 - REPEATED_SHARE) * len(column)
        # No component is higher than an atom: between the values of a grid a density
        # could grow without bounds, and would not be a probability. Where nearly all
        # values are atoms, others are lower: a normal of the same height predicts a
        # value as well as its atom does, and its draws are often rounded to another.
        wide = np.minimum(_WIDER * step, np.maximum(_WIDEST, step))
        self._least_noise = np.where(has_few, wide, step)
        self._floor = np.maximum(self._least_noise, floor)
        # by how much atoms are wider than the narrowest of the other components
        width = np.where(step > 0, step, floor)
        self._widening = 0.5 * np.log(width / self._floor)

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        if hasattr(self, "_widening"):
            part._widening = self._widening[[column]]
        return part

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return (sum(self._free_sizes), n_features)

    @property
    def _free_sizes(self):
        """Numbers of atoms, of tilts, and of widths of the background."""
        return [self.n_used_atoms, self._n_tilts, int(self.background_weight > 0)]

    @property
    def _n_tilts(self):
        """Values that tell whether components follow the offset; the last one does."""
        return (self.n_mixture - 1) * (self.n_constant > 0)

    @property
    def n_raw(self) -> int:
        """Raw outputs per column: weights and scales, and all means but one."""
        return 3 * self.n_mixture - 1 + self.n_used_atoms

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        k, n_atoms = self.n_mixture, self.n_used_atoms
        sizes = [k + n_atoms, k - 1, 1, k - 1]
        logits, narrow, wide, shift = raw.split(sizes, dim=-2)
        # not learned
        atoms, tilt, reach = free.detach().split(self._free_sizes, dim=-2)
        if self._n_tilts:
            origin = offset.to(raw.dtype).unsqueeze(-2)
            shift = shift + tilt.to(raw.dtype) * origin
        is_single = raw.dtype != offset.dtype
        log_range = log_range.to(raw.dtype)
        narrow = to_log_scale(narrow, log_range.unsqueeze(-2))
        # relu has no gradient at 0, often the initial value
        wide = wide.clamp(0.0, MAX_LOG_SCALE)
        log_scale = torch.cat([narrow, wide], dim=-2)
        if is_single:
            single = ShiftedMixture(logits, offset, shift, log_scale)
            return self._add_background(single, reach)
        offset = offset.unsqueeze(-2)
        loc = torch.cat([offset + shift, offset], dim=-2)
        if n_atoms:
            shape = *loc.shape[:-2], n_atoms, loc.shape[-1]
            loc = torch.cat([loc, atoms.expand(shape)], dim=-2)
            # none before rows have been seen
            widening = torch.as_tensor(getattr(self, "_widening", 0.0)).to(log_range)
            width = (widening - log_range).unsqueeze(-2)
            log_scale = torch.cat([log_scale, width.expand(shape)], dim=-2)
        mixture = NormalMixture(logits, loc, log_scale, n_atoms=n_atoms)
        return self._add_background(mixture, reach)

    @override
    def _without_background(self):
        part = copy.copy(self)
        part._is_bare = True
        return part

    @override
    def _reach_rows(self, free, reach):
        if not self.background_weight:
            return free
        reach = torch.maximum(free[-1], reach.to(free).log())
        return torch.cat([free[:-1], reach.unsqueeze(0)])

    def _add_background(self, mixture, reach):
        if not self.background_weight or getattr(self, "_is_bare", False):
            return mixture
        reach = reach.squeeze(-2)
        # none before rows have been seen
        log_weight = torch.full_like(reach, math.log(self.background_weight))
        log_weight = log_weight.masked_fill(reach <= 0, -torch.inf)
        return BackgroundMixture(mixture, log_weight, reach.clamp(0.0, _MAX_LOG_REACH))

    @override
    def initialize(
        self, x: Any, offset: torch.Tensor, log_range: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        raw, free = self._initialize_components(x, offset, log_range)
        if self.background_weight:
            # wider than the noise of the linear model
            least = free.new_full((1, x.shape[1]), _LEAST_LOG_REACH)
            reach = torch.nan_to_num(x).abs().amax(dim=0)
            free = self._reach_rows(torch.cat([free, least]), reach)
        return raw, free

    def _initialize_components(self, x, offset, log_range):
        n_atoms, k = self.n_used_atoms, self.n_mixture
        if not n_atoms:
            residual = compute_residual(x, offset)
            return self._fit_columns(residual, compute_residual(x, 0.0), log_range)
        atoms = x.new_zeros(n_atoms, x.shape[1])
        shares = torch.zeros_like(atoms)
        residual, rows = x - offset, x.clone()
        for j, column in enumerate(x.T):
            is_observed = ~torch.isnan(column)
            # a weaker test than in `adapt`, for there are fewer rows
            least = REPEATED_SHARE / 2
            found = _find_atoms(column[is_observed].numpy(), n_atoms, least)
            values, counts = (torch.as_tensor(part) for part in found)
            atoms[: len(values), j] = values.to(atoms)
            shares[: len(values), j] = counts / is_observed.sum()
            is_atom = torch.isin(column, values.to(column))
            if (is_observed & ~is_atom).sum() >= k:
                residual[is_atom, j] = rows[is_atom, j] = torch.nan
        # those of the same other rows
        residual, rows = (
            torch.as_tensor(fill_at_random(part.numpy())) for part in (residual, rows)
        )
        raw, tilt = self._fit_columns(residual, rows, log_range)
        logits, rest = raw.split([k, 2 * k - 1])
        left = (1 - shares.sum(dim=0)).clamp_min(1 / (len(x) + 1))
        weights = shares.log().clamp_min(_NO_ATOM)
        raw = torch.cat([logits + left.log(), weights, rest])
        return raw, torch.cat([atoms, tilt])

    def _fit_columns(self, residual, values, log_range):
        """Return raw outputs and tilts, the mixture of every column fitted by EM."""
        *found, n_constant = fit_columns(
            residual.numpy(),
            self.n_mixture,
            -log_range.numpy(),
            _LINEAR_SHARE,
            values.numpy(),
            min(self.n_constant, self.n_mixture - 1),
        )
        log_weights, loc, log_scale = (torch.as_tensor(part) for part in found)
        narrow = to_raw_scale(log_scale[:-1], log_range)
        raw = torch.cat([log_weights, narrow, log_scale[-1:], loc[:-1]])
        is_constant = np.arange(self._n_tilts)[:, None] < n_constant
        return raw.to(residual), -torch.as_tensor(is_constant).to(residual)


def _find_atoms(column, n_atoms, least_share):
    """Return the most frequent values of a column, and how often they occur.

    Where there are no more than `n_atoms`, all that occur twice are atoms.
    """
    values, counts = np.unique(column, return_counts=True)
    if len(values) <= n_atoms:
        least_share = 0.0
    order = np.argsort(-counts, kind="stable")[:n_atoms]
    order = order[counts[order] >= max(least_share * len(column), 2)]
    return values[order], counts[order]


def _find_step_variance(column):
    """Return the variance of a normal of the height 1 / step, as a share.

    The step is the least distance of values; the variance of columns on no grid is 0.
    """
    decimals = count_decimals(column)
    if decimals is None:
        return 0.0
    values = np.unique(np.round(column.astype(np.float64), decimals))
    step = np.diff(values).min() if len(values) > 1 else 1.0
    variance = max(column.var(dtype=np.float64), NOISE_FLOOR)
    return max(step**2 / (2 * np.pi * variance), NOISE_FLOOR)
