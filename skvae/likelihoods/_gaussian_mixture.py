"""A mixture of normals for every column."""

import torch

from .._checks import check_choice, check_count
from ..distributions import HALF_LOG_2PI, NormalMixture
from ._base import (
    MAX_LOG_SCALE,
    NARROW_FLOOR,
    BoundPass,
    Likelihood,
    LikelihoodPass,
    bound,
    unbound,
)

# columns whose mixtures are started at a time
_COLUMN_BLOCK = 256
# share of a column's mixture that starts as the linear model itself
_LINEAR_SHARE = 0.05


class GaussianMixture(Likelihood):
    r"""A small mixture of normals for every column, given z.

    .. math:: p(x|z) = \prod_j \sum_k w_{jk}(z) N(x_j; \mu_{jk}(z), \sigma_{jk}^2(z))

    Heavy tails, several modes and repeated values have room here. The mean of the last
    component stays at the linear start, and its scale no narrower than the noise there;
    the decoder gives its weight and how much wider it is. Where the networks
    extrapolate badly it limits what a row can lose.

    Parameters
    ----------
    n_mixture : int, default=4
        Components of every column, at least 2.
    variance_floor : 'auto' or float, default='auto'
        Smallest variance of a component as a share of the column's variance. 'auto' is
        1e-3, or what the linear start found, if less.

    References
    ----------
    Bishop (1994), "Mixture density networks", eqs. 22-25.
    """

    def __init__(self, n_mixture=4, variance_floor="auto"):
        self.n_mixture = n_mixture
        self.variance_floor = variance_floor

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_count(self, "n_mixture", 2)
        check_choice(self, "variance_floor", ("auto",), positive=True)

    def get_least_variance(self):
        """Return the least variances of the linear start and of the decoder."""
        if self.variance_floor == "auto":
            return None, NARROW_FLOOR
        return self.variance_floor, self.variance_floor

    @property
    def n_raw(self):
        """Raw decoder outputs per column: weights and scales, and all means but one."""
        return 3 * self.n_mixture - 1

    def __call__(self, raw, free, start, log_range):
        """Return p(x|z)."""
        k = self.n_mixture
        logits, narrow, wide, shift = raw.split([k, k - 1, 1, k - 1], dim=-2)
        start = start.unsqueeze(-2)
        loc = torch.cat([start + shift, start], dim=-2)
        narrow = bound(narrow, log_range.unsqueeze(-2))
        # relu has no gradient at 0, where a start often leaves it
        wide = wide.clamp(0.0, MAX_LOG_SCALE)
        return NormalMixture(logits, loc, torch.cat([narrow, wide], dim=-2))

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return GaussianMixturePass(program, self.n_mixture)

    def start(self, residual, log_range, n_iter=30):
        """Fit the mixture of every column to the residuals by EM.

        Parameters
        ----------
        residual : Tensor (n, n_features)
        log_range : Tensor (n_features,)

        Returns
        -------
        Tensor (n_raw, n_features)
        """
        # columns are independent: a block of them at a time bounds the memory
        blocks = zip(
            residual.split(_COLUMN_BLOCK, dim=1),
            log_range.split(_COLUMN_BLOCK),
            strict=True,
        )
        return torch.cat([self._fit_block(*block, n_iter) for block in blocks], dim=1)

    def _fit_block(self, residual, log_range, n_iter):
        n, n_features = residual.shape
        k = self.n_mixture
        # one pseudo-row keeps a component alive, a share of all rows the linear one
        prior_count = residual.new_ones(k, 1)
        prior_count[-1] = _LINEAR_SHARE * n
        spread = residual.std(dim=0, correction=0).clamp_min(1e-6)
        order = residual.sort(dim=0).values
        levels = [int(n * (2 * i + 1) / (2 * (k - 1))) for i in range(k - 1)]
        loc = torch.cat([order[levels], order.new_zeros(1, n_features)])
        lower = torch.cat(
            [(-log_range).expand(k - 1, -1), torch.zeros_like(spread)[None]]
        )
        log_scale = torch.maximum((spread / k).log().expand(k, -1), lower)
        logits = torch.zeros_like(loc)
        x = residual.unsqueeze(1)  # (n, 1, n_features)
        for _ in range(n_iter):
            e = (x - loc) * torch.exp(-log_scale)
            joint = torch.log_softmax(logits, 0) - log_scale - 0.5 * e * e
            share = torch.softmax(joint, dim=1)  # (n, k, n_features)
            total = share.sum(dim=0) + 1e-6
            logits = (total + prior_count).log()
            loc[:-1] = ((share * x).sum(dim=0) / total)[:-1]
            variance = (share * (x - loc) ** 2).sum(dim=0) + spread**2
            log_scale = torch.maximum((variance / (total + 1)).log() / 2, lower)
        narrow = unbound(log_scale[:-1], log_range)
        return torch.cat(
            [logits - logits.logsumexp(0), narrow, log_scale[-1:], loc[:-1]]
        )


class GaussianMixturePass(LikelihoodPass):
    """The density and gradient of `distributions.NormalMixture`, and of its parameters.

    With rows last, every component of the mixture is one contiguous block.
    """

    rows_last = True

    def __init__(self, program, n_mixture):
        super().__init__(program)
        k = self.n_mixture = n_mixture
        self.parts, self.bound = [k, k - 1, 1, k - 1], BoundPass(program)

    def forward(self, x, raw, free, predicted, log_range):
        program, k = self.program, self.n_mixture
        *leading, n_features, n = x.shape
        self.raw = raw.unflatten(-2, (-1, n_features))  # (..., n_raw, d, n)
        logits, narrow, wide, shift = self.raw.split(self.parts, dim=-3)

        def make(size=k):
            return program.empty(*leading, size, n_features, n)

        self.residual = make()
        near, linear = self._split(self.residual)
        if predicted is None:
            program.copy(x.unsqueeze(-3), linear)
        else:
            program.subtract(x.unsqueeze(-3), predicted.unsqueeze(-3), linear)
        program.subtract(linear, shift, near)
        log_scale, self.rate = make(), make()
        log_narrow, self.log_wide = self._split(log_scale)
        self.bound.forward(narrow, log_range.mT.unsqueeze(-3), log_narrow)
        program.clip(wide, 0.0, MAX_LOG_SCALE, self.log_wide)
        program.negative(log_scale, self.rate)
        program.exp(self.rate, self.rate)
        program.multiply(self.residual, self.rate, self.residual)
        # joint density and weights, normalised at once
        self.both = program.empty(2, *leading, k, n_features, n)
        joint, weights = self.both.unbind()
        program.multiply(self.residual, self.residual, joint)
        program.multiply(joint, -0.5, joint)
        program.subtract(joint, log_scale, joint)
        program.add(joint, logits, joint)
        program.copy(logits, weights)
        highest = program.empty(2, *leading, n_features, n)
        program.maximum(self.both, -3, highest)
        program.subtract(self.both, highest.unsqueeze(-3), self.both)
        program.exp(self.both, self.both)
        total = program.sum(self.both, -3, program.empty(*highest.shape))
        program.divide(self.both, total.unsqueeze(-3), self.both)
        program.log(total, total)
        log_density, log_normaliser = program.add(total, highest, total).unbind()
        program.subtract(log_density, log_normaliser, log_density)
        log_prob = program.sum(log_density, -2, program.empty(*leading, n))
        return program.subtract(log_prob, n_features * HALF_LOG_2PI, log_prob)

    def _split(self, tensor):
        return tensor.split([self.n_mixture - 1, 1], dim=-3)

    def backward(self, weight):
        program = self.program
        *_, raw_wide, _ = self.raw.split(self.parts, dim=-3)
        grad = program.empty(*self.raw.shape)
        by_logits, by_narrow, by_wide, by_shift = grad.split(self.parts, dim=-3)
        program.multiply(self.both, weight[..., None, None, :], self.both)
        share, weights = self.both.unbind()
        program.subtract(share, weights, by_logits)
        pull = program.multiply(share, self.residual, program.empty(*share.shape))
        by_scale = program.multiply(pull, self.residual, program.empty(*share.shape))
        program.subtract(by_scale, share, by_scale)
        (near, linear), (near_rate, linear_rate) = map(self._split, (pull, self.rate))
        program.multiply(near, near_rate, by_shift)
        program.multiply(linear, linear_rate, linear)
        by_log_narrow, by_log_wide = self._split(by_scale)
        self.bound.backward(by_log_narrow, by_narrow)
        # a start often leaves 0 here, which torch.clamp counts as inside
        is_inside = torch.empty_like(raw_wide, dtype=torch.bool)
        program.call(torch.eq, raw_wide, self.log_wide, out=is_inside)
        program.multiply(by_log_wide, is_inside, by_wide)
        by_predicted = program.empty(*self.residual.shape[:-3], *share.shape[-2:])
        program.sum(by_shift, -3, by_predicted)
        program.add(by_predicted, linear.squeeze(-3), by_predicted)
        return grad.flatten(-3, -2), by_predicted
