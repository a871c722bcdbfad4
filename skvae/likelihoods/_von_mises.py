"""Angles and other periodic values, such as directions and times of day."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from .._closed_form._roots import bisect
from .._distributions._column_chain import KnownColumns
from .._distributions._von_mises import VonMises as _VonMisesDistribution
from .._distributions._von_mises import compute_resultant
from .._utils._checks import check_number
from .._utils._missing import list_chunks
from ._base import Likelihood
from ._link import Link

# a thousandth of a radian: more concentrated angles are repeated values
_MAX_CONCENTRATION = 1e6
_MAX_LOG_SCALE = 16.0
# log scales that initial values are looked for between
_LOG_SCALE, _N_HALVINGS = (-6.0, _MAX_LOG_SCALE), 30


class CircularLink(Link):
    """Factor analysis of cosines and sines, two inputs for every column."""

    n_offsets = 2
    least_noise = 0.01

    def __init__(self, period: float) -> None:
        self.period = period

    @override
    def count_inputs(self, n_features: int) -> int:
        return 2 * n_features

    @override
    def get_input_columns(self, n_features: int) -> Any:
        return np.tile(np.arange(n_features), 2)

    @override
    def represent(self, x: Any) -> Any:
        angle = x * (2 * math.pi / self.period)
        return torch.cat([torch.cos(angle), torch.sin(angle)], dim=-1)

    @override
    def convert(self, mean: Any, scale: Any, loadings: Any, noise: Any) -> Any:
        return loadings * scale, mean


class VonMises(Likelihood):
    r"""Angles, and other periodic values such as times of day.

    .. math:: p(x|z) = \prod_j \frac{1}{P\, I_0(\kappa_j)}
        \exp\left(\kappa_j \cos\left(\frac{2 \pi}{P} x_j - \mu_j\right)\right), \quad
        \kappa_j (\cos \mu_j, \sin \mu_j) = 2 e^{s_j} v_j(z)

    The decoder gives a vector v for every column, and s is learned. The direction of
    the vector is the mean direction; where it is short, z does not tell the direction.

    Parameters
    ----------
    period : float, default=2π
        A full turn P in the units of X: 2π for radians, 360 for degrees, 24 for hours
        of the day.

    Notes
    -----
    All numbers are accepted; those that differ by whole turns are the same. What
    methods return is between 0 and P, or between -P/2 and P/2 where the training rows
    are; for `inverse_transform`, `reconstruct` and `impute` it is the mean direction.
    The variance is 2 (1 - R), R being the mean resultant length, which for small noise
    is the usual one. Encoder and linear model see cosine and sine. κ is at most 1e6.

    References
    ----------
    Mardia & Jupp (2000), "Directional statistics", section 3.5.4.

    Best & Fisher (1979), "Efficient simulation of the von Mises distribution": draws.
    """

    n_raw = 2

    def __init__(self, period: float = 2 * math.pi) -> None:
        self.period = period

    @override
    def check_parameters(self) -> None:
        check_number(self, "period", 0, is_open=True)

    @property
    def link(self) -> Link:
        """Factor analysis of cosines and sines."""
        return CircularLink(float(self.period))

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return (1, n_features)

    @override
    def adapt(self, x: Any, weight: Any = None) -> None:
        parts = [x[rows] for rows in list_chunks(x)]
        low = np.min([part.min(axis=0) for part in parts], axis=0)
        high = np.max([part.max(axis=0) for part in parts], axis=0)
        turn = float(self.period)
        is_centred = (low < 0) & (low >= -turn / 2) & (high <= turn / 2)
        is_plain = (low >= 0) & (high <= turn)
        self._low = np.select([is_plain, is_centred], [0.0, -turn / 2], low)

    @override
    def select(self, column: int) -> Likelihood:
        part = copy.copy(self)
        if hasattr(self, "_low"):
            part._low = self._low[[column]]
        return part

    def _make(self, east, north):
        low = getattr(self, "_low", np.zeros(east.shape[-1]))
        low = torch.as_tensor(low, dtype=east.dtype, device=east.device)
        return _VonMisesDistribution(east, north, low, float(self.period))

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        # A(κ) is κ / 2 where it is small: the mean of the linear model
        scale = 2 * free[..., 0, :].clamp(max=_MAX_LOG_SCALE).exp()
        east, north = (
            scale * (offset[..., i, :] + raw[..., i, :]) / _MAX_CONCENTRATION
            for i in range(2)
        )
        bent = _MAX_CONCENTRATION * torch.rsqrt(1 + east.square() + north.square())
        return self._make(east * bent, north * bent)

    @override
    def initialize(
        self, x: Any, offset: torch.Tensor, log_range: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        # the scale of maximum likelihood, whose log density is concave in it
        angle, missing = x * (2 * math.pi / float(self.period)), torch.isnan(x)
        along = offset[:, 0] * torch.cos(angle) + offset[:, 1] * torch.sin(angle)
        total = along.masked_fill(missing, 0.0).sum(dim=0).numpy()
        length = offset.square().sum(dim=1).sqrt()

        def is_below(log_scale):
            scale = 2 * torch.as_tensor(log_scale).exp()
            expected = length * compute_resultant(scale * length)
            return expected.masked_fill(missing, 0.0).sum(dim=0).numpy() < total

        low, high = (np.full(x.shape[1], end) for end in _LOG_SCALE)
        found = torch.as_tensor(bisect(is_below, low, high, _N_HALVINGS)).to(x)
        return x.new_zeros(2, x.shape[1]), found.unsqueeze(0)

    @override
    def summarise(self, distribution: Any) -> torch.Tensor:
        # the means of cosine and sine
        if isinstance(distribution, KnownColumns):
            return self.link.represent(distribution.mean)
        return distribution.moments.flatten(-2)

    @override
    def conclude(self, summary: torch.Tensor) -> torch.Tensor:
        return self._make(*summary.chunk(2, dim=-1)).mean
