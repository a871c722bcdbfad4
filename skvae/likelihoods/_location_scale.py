"""What the likelihoods share that have a location and a scale in every column.

They differ in the density of what is left when the location is subtracted and the scale
divided out. Here is where location and scale come from, and the way of their gradient.
"""

from .._closed_form._linear import NOISE_FLOOR
from .._utils._checks import check_choice
from ._base import (
    NARROW_FLOOR,
    Likelihood,
    bound,
    unbound,
)


class LocationScale(Likelihood):
    """Base of likelihoods with a location given by the decoder, and a scale.

    Parameters
    ----------
    noise : {'feature', 'shared', 'network'}, default='feature'
        One learned scale per column; one for all; or one per column and row, given by
        the decoder.
    variance_floor : 'auto' or float, default='auto'
        Smallest noise variance as a share of the column's variance. 'auto' is that of
        scikit-learn's FactorAnalysis, 1e-12, where the noise does not depend on z, and
        1e-3 (or what the linear start found, if less) where it does.
    """

    _noise_names = ("feature", "shared", "network")
    # noise of the decoder: its scales are raw outputs
    _network_names = ("network",)

    def __init__(self, noise="feature", variance_floor="auto"):
        self.noise = noise
        self.variance_floor = variance_floor

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "noise", self._noise_names)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    @property
    def has_network_noise(self):
        """Whether the decoder gives the scales."""
        return self.noise in self._network_names

    @property
    def n_raw(self):
        """Raw decoder outputs per column."""
        return 2 if self.has_network_noise else 1

    @property
    def is_isotropic(self):
        """Whether all columns have one noise variance."""
        return self.noise == "shared"

    def get_least_variance(self):
        """Return the least variances of the linear start and of the decoder."""
        if self.variance_floor == "auto":
            return None, NARROW_FLOOR if self.has_network_noise else NOISE_FLOOR
        return self.variance_floor, self.variance_floor

    def free_shape(self, n_features):
        """Return the shape of the learned values that do not depend on z."""
        return {"feature": (1, n_features), "shared": (1, 1)}.get(
            self.noise, (0, n_features)
        )

    def get_scale(self, raw, free, log_range):
        """Return the scale in units of the linear start's noise."""
        if self.noise == "shared":
            log_range = narrow(log_range)
        raw_scale = raw[..., 1, :] if self.has_network_noise else free[..., 0, :]
        return bound(raw_scale, log_range).exp()

    def fit_scale(self, residual):
        """Return scales fitted to what the linear start leaves over, by column.

        Parameters
        ----------
        residual : Tensor (n, n_features)

        Returns
        -------
        Tensor (n_features,) or None
            None leaves the noise of the linear start.
        """
        return None

    @property
    def has_start(self):
        """Whether there is something better to start from than zeros."""
        return type(self).fit_scale is not LocationScale.fit_scale

    def start(self, residual, log_range):
        """Fit raw outputs to what the linear start leaves over.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor (n_raw, n_features)
        """
        raw = super().start(residual, log_range)
        if self.has_start and self.has_network_noise:
            raw[1] = unbound(self.fit_scale(residual).log(), log_range)
        return raw

    def start_free(self, residual, log_range):
        """Fit the learned values that do not depend on z likewise.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor of the shape that `free_shape` says
        """
        free = super().start_free(residual, log_range)
        if self.has_start and not self.has_network_noise:
            if self.noise == "shared":
                residual, log_range = residual.reshape(-1, 1), log_range.amin()
            free[0] = unbound(self.fit_scale(residual).log(), log_range)
        return free


def narrow(log_range):
    """Return the least range for every column: one noise for all is bent alike."""
    least = log_range.amin(dim=-1, keepdim=True)
    return least.expand_as(log_range).contiguous()
