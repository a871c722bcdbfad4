"""What the likelihoods share that have a location and a scale in every column.

They differ in the density of what is left when the location is subtracted and the scale
divided out. Here is where location and scale come from, and the way of their gradient.
"""

from .._closed_form._linear import NOISE_FLOOR
from .._utils._checks import check_choice
from ._base import (
    NARROW_FLOOR,
    BoundPass,
    Likelihood,
    LikelihoodPass,
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


class LocationScalePass(LikelihoodPass):
    """With e = (x - loc) / scale: d/dloc = pull / scale, d/dlog_scale = e pull - 1.

    The pull is the derivative of -log f(e), f being the density at location 0 and
    scale 1. A subclass brings `density`.

    Parameters
    ----------
    program : Program
    is_network : bool
        Whether the decoder gives the scales.
    """

    takes_missing = True

    def __init__(self, program, is_network):
        super().__init__(program)
        self.is_network, self.bound = is_network, BoundPass(program)

    def density(self, residual):
        """Write down Σ log f(e) of the observed columns, ``(..., n)``.

        Sets the attributes ``pull`` and ``square``, which is e times the pull. They may
        take the place of the residual; `backward` overwrites ``square`` alone.

        Parameters
        ----------
        residual : Tensor (..., n, n_features)
            Standardised: e.
        """
        raise NotImplementedError

    def forward(self, x, raw, free, predicted, log_range):
        program, n_features = self.program, x.shape[-1]
        self.raw, self.free = raw, free
        if self.is_network:
            loc, raw_scale = raw.split(n_features, dim=-1)
            log_scale = program.empty(*x.shape)
        else:
            loc, raw_scale = raw, free.detach()[..., 0, :]
            log_scale = program.empty(*log_range.shape)
            if raw_scale.shape[-1] < n_features:
                log_range = narrow(log_range)
        self.bound.forward(raw_scale, log_range, log_scale)
        self.rate = program.negative(log_scale, program.empty(*log_scale.shape))
        program.exp(self.rate, self.rate)
        residual = program.subtract(x, loc, program.empty(*x.shape))
        if predicted is not None:
            program.subtract(residual, predicted, residual)
        program.multiply(residual, self.rate, residual)
        log_prob = self.density(residual)
        if self.observed is not None and not self.is_network:
            # of other columns in every row
            log_scale = program.copy(log_scale, program.empty(*x.shape))
        total = self.add_up(log_scale)
        return program.subtract(log_prob, total, log_prob)

    def backward(self, weight):
        program, n_features = self.program, self.pull.shape[-1]
        column = self.weigh_cells(weight)
        weighted = program.empty(*self.pull.shape)
        program.multiply(self.pull, column, weighted)
        if self.is_network:
            grad = program.empty(*self.raw.shape)
            by_loc, by_raw = grad.split(n_features, dim=-1)
            program.subtract(self.square, 1.0, self.square)
            program.multiply(self.square, column, self.square)
            self.bound.backward(self.square, by_raw)
            program.multiply(weighted, self.rate, by_loc)
            return grad, by_loc
        program.multiply(weighted, self.rate, weighted)
        # Σ weight (e pull - 1), one value a column
        by_scale = program.empty(*self.rate.shape)
        if self.observed is None:
            program.matmul(weight.unsqueeze(-2), self.square, by_scale)
            total = program.sum(weight, -1, program.empty(*weight.shape[:-1]))
            program.subtract(by_scale, total[..., None, None], by_scale)
        else:
            program.subtract(self.square, 1.0, self.square)
            program.multiply(self.square, column, self.square)
            program.sum(self.square, -2, by_scale.squeeze(-2))
        target = self.free.grad[..., 0, :]
        if target.shape[-1] == 1:
            by_raw = self.bound.backward(by_scale, program.empty(*by_scale.shape))
            program.sum(by_raw, -1, target.squeeze(-1))
        else:
            self.bound.backward(by_scale, target)
        return weighted, weighted
