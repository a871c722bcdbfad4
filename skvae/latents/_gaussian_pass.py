"""Gradients of diagonal Gaussian posteriors, for steps without autograd."""

import torch

from .._distributions import HALF_LOG_2PI
from ._base import LatentPass
from ._normals import MAX_LOG_RATIO

_bounded = torch.ops.aten.hardtanh_backward.grad_input


class GaussianPass(LatentPass):
    """z = μ + σ ε, and log q(z|x) - log p(z) of every draw.

    Parameters
    ----------
    program : Program
    prior : pass of a prior
    is_landing : bool
        Whether the score function of q is left out (Roeder et al. 2017, eq. 8).
    """

    def __init__(self, program, prior=None, is_landing=True):
        super().__init__(program)
        self.prior, self.is_landing = prior, is_landing

    def forward(self, raw, loc, scale, noise):
        program, self.noise, self.raw = self.program, noise, raw
        shape = *raw.shape[:-1], noise.shape[-1]
        raw_loc, raw_log_scale = raw.tensor_split(2, dim=-1)
        self.start_scale = scale
        self.log_ratio = program.empty(*shape)
        program.clip(raw_log_scale, -MAX_LOG_RATIO, MAX_LOG_RATIO, self.log_ratio)
        self.scale = program.exp(self.log_ratio, program.empty(*shape))
        self.loc = raw_loc
        if scale is not None:
            program.multiply(self.scale, scale, self.scale)
            self.loc = program.multiply(raw_loc, scale, program.empty(*shape))
        if loc is not None:
            self.loc = program.add(self.loc, loc, program.empty(*shape))
        z = program.empty(*noise.shape)
        program.multiply(noise, self.scale.unsqueeze(-3), z)
        program.add(z, self.loc.unsqueeze(-3), z)
        # draws become rows: (..., n_draws, n, q) -> (..., n_draws * n, q)
        self.z = z.flatten(-3, -2)
        return self.z

    def _sum_log_scale(self):
        """Write down Σ log σ of every row, ``(..., n)``."""
        program = self.program
        total = program.empty(*self.log_ratio.shape[:-1])
        program.sum(self.log_ratio, -1, total)
        scale = self.start_scale
        if scale is None:
            return total
        if scale.shape[-2] < total.shape[-1]:
            return program.add(total, scale.log().sum(dim=-1), total)
        log_scale = program.log(scale, program.empty(*scale.shape))
        by_row = program.sum(log_scale, -1, program.empty(*total.shape))
        return program.add(total, by_row, total)

    def kl(self):
        program, noise = self.program, self.noise
        square = program.multiply(noise, noise, program.empty(*noise.shape))
        log_ratio = program.sum(square, -1, program.empty(*noise.shape[:-1]))
        program.multiply(log_ratio, -0.5, log_ratio)
        program.subtract(log_ratio, self._sum_log_scale().unsqueeze(-2), log_ratio)
        program.subtract(log_ratio, noise.shape[-1] * HALF_LOG_2PI, log_ratio)
        log_prior = self.prior.forward(self.z).view(log_ratio.shape)
        return program.subtract(log_ratio, log_prior, log_ratio)

    def backward(self, grad, weight, factor=None):
        program, noise = self.program, self.noise
        by_prior = program.negative(weight, program.empty(*weight.shape))
        by_z = self.prior.backward(by_prior.flatten(-2))
        grad = program.add(grad, by_z, program.empty(*grad.shape)).view(noise.shape)
        is_landing = self.is_landing or factor is not None
        if is_landing:
            # the score function of q is left out: only its density at z moves
            pull = program.empty(*noise.shape)
            program.divide(noise, self.scale.unsqueeze(-3), pull)
            program.multiply(pull, weight.unsqueeze(-1), pull)
            program.subtract(grad, pull, grad)
        if factor is not None:
            program.multiply(grad, factor.unsqueeze(-1), grad)
        by_loc, by_log_scale = self._sum_draws(grad)
        program.multiply(by_log_scale, self.scale, by_log_scale)
        if not is_landing:
            total = program.empty(*weight.shape[:-2], weight.shape[-1])
            program.sum(weight, -2, total)
            program.subtract(by_log_scale, total.unsqueeze(-1), by_log_scale)
        return self._to_raw(by_loc, by_log_scale)

    def _sum_draws(self, grad):
        """Write down the sums over draws of the gradient and of it times the noise."""
        program = self.program
        weighted = program.multiply(grad, self.noise, program.empty(*grad.shape))
        if grad.shape[-3] == 1:
            return grad.squeeze(-3), weighted.squeeze(-3)
        shape = self.scale.shape
        by_loc = program.sum(grad, -3, program.empty(*shape))
        return by_loc, program.sum(weighted, -3, program.empty(*shape))

    def _to_raw(self, by_loc, by_log_scale):
        program = self.program
        grad = program.empty(*self.raw.shape)
        to_loc, to_log_scale = grad.tensor_split(2, dim=-1)
        if self.start_scale is None:
            program.copy(by_loc, to_loc)
        else:
            program.multiply(by_loc, self.start_scale, to_loc)
        _, raw_log_scale = self.raw.tensor_split(2, dim=-1)
        bounds = -MAX_LOG_RATIO, MAX_LOG_RATIO
        program.call(
            _bounded, by_log_scale, raw_log_scale, *bounds, grad_input=to_log_scale
        )
        return grad


class StandardGaussianPass(GaussianPass):
    """The same with the prior N(0, I), and the KL in closed form.

    Kingma & Welling (2014), appendix B.
    """

    def kl(self):
        program, shape = self.program, self.scale.shape
        self.variance, square = program.empty(*shape), program.empty(*shape)
        program.multiply(self.scale, self.scale, self.variance)
        program.multiply(self.loc, self.loc, square)
        program.add(square, self.variance, square)
        kl = program.sum(square, -1, program.empty(*shape[:-1]))
        program.multiply(kl, 0.5, kl)
        program.subtract(kl, self._sum_log_scale(), kl)
        return program.subtract(kl, 0.5 * shape[-1], kl).unsqueeze(-2)

    def backward(self, grad, weight):
        program, shape = self.program, self.scale.shape
        column = weight.squeeze(-2).unsqueeze(-1)
        by_loc, by_log_scale = self._sum_draws(grad.view(self.noise.shape))
        pull = program.multiply(self.loc, column, program.empty(*shape))
        by_loc = program.add(by_loc, pull, pull)
        program.multiply(by_log_scale, self.scale, by_log_scale)
        program.subtract(self.variance, 1.0, self.variance)
        program.multiply(self.variance, column, self.variance)
        program.add(by_log_scale, self.variance, by_log_scale)
        return self._to_raw(by_loc, by_log_scale)
