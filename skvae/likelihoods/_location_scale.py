"""What the likelihoods share that have a location and a scale in every column.

They differ in the density of the residuals in units of the scale. Where the scale comes
from is here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from .._closed_form._linear import NOISE_FLOOR
from .._utils._checks import check_choice
from ._base import Likelihood, compute_residual, to_log_scale, to_raw_scale
from ._link import NARROW_FLOOR, ScaledLink

if TYPE_CHECKING:
    from ._link import Link


class LocationScale(Likelihood):
    """Base of likelihoods with a location given by the decoder, and a scale."""

    _noise_names: tuple[str, ...] = ("feature", "shared", "network")
    # noise of the decoder: its scales are raw outputs
    _network_names: tuple[str, ...] = ("network",)

    def __init__(
        self, noise: str = "feature", variance_floor: float | str = "auto"
    ) -> None:
        self.noise = noise
        self.variance_floor = variance_floor

    @override
    def check_parameters(self) -> None:
        check_choice(self, "noise", self._noise_names)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    @property
    def has_network_noise(self):
        """Whether the decoder gives the scales."""
        return self.noise in self._network_names

    @property
    @override
    def n_raw(self) -> int:
        return 2 if self.has_network_noise else 1

    @property
    def _auto_floor(self):
        return NARROW_FLOOR if self.has_network_noise else NOISE_FLOOR

    @property
    def _noise_floor(self):
        is_auto = self.variance_floor == "auto"
        return self._auto_floor if is_auto else self.variance_floor

    @property
    def link(self) -> Link:
        """The linear model, with noise no smaller than variance_floor."""
        least = None if self.variance_floor == "auto" else self.variance_floor
        is_isotropic = self.noise == "shared"
        return ScaledLink(least, self._noise_floor, is_isotropic=is_isotropic)

    @override
    def free_shape(self, n_features: int) -> tuple[int, ...]:
        return {"feature": (1, n_features), "shared": (1, 1)}.get(
            self.noise, (0, n_features)
        )

    def get_raw_scale(self, raw, free):
        """Return the raw outputs or learned values that scales are made of."""
        return raw[..., 1, :] if self.has_network_noise else free[..., 0, :]

    def get_scale(self, raw, free, log_range):
        """Return the scale in units of the linear model's noise."""
        if self.noise == "shared":
            # one noise for all columns is bent alike
            least = log_range.amin(dim=-1, keepdim=True)
            log_range = least.expand_as(log_range).contiguous()
        return to_log_scale(self.get_raw_scale(raw, free), log_range).exp()

    def initialize_noise(self, x, offset, log_range, fit):
        """Return initial values with the noise that fits the residuals.

        ``fit`` returns the scale of every column of residuals (n, n_columns), and
        further learned values (n_further, n_columns).
        """
        residual = compute_residual(x, offset)
        n_features = residual.shape[-1]
        raw = residual.new_zeros(self.n_raw, n_features)
        free = residual.new_zeros(self.free_shape(n_features))
        if self.noise == "shared":
            residual, log_range = residual.reshape(-1, 1), log_range.amin()
        scale, further = fit(residual)
        target = raw[1] if self.has_network_noise else free[0]
        target.copy_(to_raw_scale(scale.log(), log_range))
        free[len(free) - len(further) :] = further
        return raw, free
