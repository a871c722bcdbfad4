"""Student's t noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from typing_extensions import override

from .._distributions._student_t import StudentT as _StudentTDistribution
from .._utils._checks import check_choice, check_number
from ._link import NARROW_FLOOR
from ._location_scale import LocationScale

# The variance is infinite at 2 and below. Where tails are heavier still this costs 0.08
# nats a column for Cauchy noise, 0.01 for 1.5 degrees of freedom.
_LEAST_DF = 2.05
_INITIAL_DF = 10.0
# log of how far they may rise above _LEAST_DF, in units of _INITIAL_DF - _LEAST_DF:
# about 1,200, where the distribution is as good as normal
_MAX_RISE = 5.0
# initial degrees of freedom that are tried, and steps of EM for each
_TRIED_DF = (2.1, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0, 300.0)
_EM_STEPS = 20
# given ones: beyond, they leave single precision
_DF_RANGE = 1e-10, 1e30
# columns that are fitted at a time
_COLUMN_BLOCK = 256
_LEAST_SCALE = 1e-12


class StudentT(LocationScale):
    r"""Student's t noise around the decoder's mean: heavy tails.

    .. math::
        p(x|z) = \prod_j \frac{\Gamma((\nu_j + 1) / 2)}
        {\Gamma(\nu_j / 2) \sqrt{\pi \nu_j}\, s_j}
        \left(1 + \frac{(x_j - \mu_j(z))^2}{\nu_j s_j^2}\right)^{-(\nu_j + 1) / 2}

    A row far out has little influence on the decoder.

    Parameters
    ----------
    df : 'learned' or float, default='learned'
        Degrees of freedom ν. 'learned' is one value per column (one for all with
        ``noise='shared'``), above 2, so that the variance is finite. At 1 and below
        there is no mean, and `mean` is the location.
    noise : {'feature', 'shared', 'network'}, default='feature'
        One learned scale per column; one for all; or one per column and row, given by
        the decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest squared scale as a share of the column's variance. 'auto' is 1e-3 (or
        what the linear model found, if less): with heavy tails a scale can shrink onto
        repeated values.

    Notes
    -----
    With raw outputs of zero, ν is 10 if learned, and mean and variance are those of the
    linear model if ν is at least 4. Initial values are the scales of maximum
    likelihood, by EM, and the best ν of a few.

    References
    ----------
    Bishop (2006), "Pattern recognition and machine learning", eq. 2.159; Lange, Little
    & Taylor (1989), "Robust statistical modeling using the t distribution", for EM;
    Takahashi et al. (2018), "Student-t variational autoencoder for robust density
    estimation".
    """

    _auto_floor = NARROW_FLOOR

    def __init__(
        self,
        df: float | str = "learned",
        noise: str = "feature",
        variance_floor: float | str = "auto",
    ) -> None:
        super().__init__(noise, variance_floor)
        self.df = df

    @override
    def check_parameters(self) -> None:
        check_choice(self, "df", ("learned",), positive=True)
        if not self.learns_df:
            check_number(self, "df", *_DF_RANGE)
        super().check_parameters()

    @property
    def learns_df(self):
        """Whether the degrees of freedom are learned."""
        return self.df == "learned"

    @property
    def unit(self):
        """Scale with raw outputs of zero, in units of the linear model's noise."""
        df = _INITIAL_DF if self.learns_df else float(self.df)
        return math.sqrt(1 - 2 / max(df, 4.0))

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        n_free, _ = super().free_shape(n_features)
        width = 1 if self.noise == "shared" else n_features
        return n_free + self.learns_df, width

    def __call__(
        self,
        raw: torch.Tensor,
        free: torch.Tensor,
        offset: torch.Tensor,
        log_range: torch.Tensor,
    ) -> torch.distributions.Distribution:
        """Return p(x|z)."""
        scale = self.unit * self.get_scale(raw, free, log_range)
        if self.learns_df:
            # from _LEAST_DF to 1,200, _INITIAL_DF at zero
            rise = free[..., -1, :].clamp(max=_MAX_RISE).exp()
            df = _LEAST_DF + (_INITIAL_DF - _LEAST_DF) * rise
        else:
            df = scale.new_full((1,), self.df)
        return _StudentTDistribution(offset + raw[..., 0, :], scale, df)

    @override
    def initialize(
        self, x: Any, offset: torch.Tensor, log_range: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return self.initialize_noise(x, offset, log_range, self._fit)

    def _fit(self, residual):
        """Return scales in units of `unit`, and raw degrees of freedom if learned."""
        blocks = [self._fit_block(r) for r in residual.split(_COLUMN_BLOCK, dim=1)]
        scale, df = (torch.cat(found) for found in zip(*blocks, strict=True))
        rise = (df - _LEAST_DF) / (_INITIAL_DF - _LEAST_DF)
        scale = (scale / self.unit).clamp_min(_LEAST_SCALE)
        return scale, rise.log()[None] if self.learns_df else residual[:0]

    def _fit_block(self, residual):
        square = residual.square()
        least = _LEAST_SCALE**2
        tried = residual.new_tensor(_TRIED_DF if self.learns_df else [self.df])
        values, scales = [], []
        for df in tried:
            variance = square.mean(dim=0).clamp_min(least)
            for _ in range(_EM_STEPS):
                weight = (df + 1) / (df + square / variance)
                variance = (weight * square).mean(dim=0).clamp_min(least)
            scale = variance.sqrt()
            distribution = _StudentTDistribution(torch.zeros_like(scale), scale, df)
            values.append(distribution.log_prob(residual).mean(dim=0))
            scales.append(scale)
        best = torch.stack(values).argmax(dim=0)
        return torch.stack(scales).gather(0, best[None])[0], tried[best]
