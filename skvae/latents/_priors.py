"""Priors: modules that, called, return p(z)."""

import math
import warnings

import numpy as np
import torch
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.distributions import Independent, Normal

from .._distributions import HALF_LOG_2PI, DiagonalNormalMixture

# share of the mixture prior that starts as N(0, I)
_STANDARD_SHARE = 0.05
# a component of the mixture prior starts from at least so many rows
_ROWS_PER_COMPONENT = 20


class StandardPrior(nn.Module):
    """N(0, scale² I), without weights."""

    def __init__(self, n_components, scale=1.0):
        super().__init__()
        # a number, so that a double copy of the module has all of its digits
        self.scale = scale
        loc = torch.zeros(n_components, dtype=torch.float32)
        self.register_buffer("loc", loc, persistent=False)

    def forward(self):
        """Return p(z)."""
        scale = torch.full_like(self.loc, self.scale)
        return Independent(Normal(self.loc, scale, validate_args=False), 1)

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return StandardPriorPass(program)


class StandardPriorPass:
    """log N(z; 0, I) and its gradient, of z in units of the prior."""

    def __init__(self, program):
        self.program = program

    def forward(self, z):
        """Write down log p(z) of every draw, ``(..., n)``."""
        program, self.z = self.program, z
        square = program.multiply(z, z, program.empty(*z.shape))
        log_prob = program.sum(square, -1, program.empty(*z.shape[:-1]))
        program.multiply(log_prob, -0.5, log_prob)
        return program.subtract(log_prob, z.shape[-1] * HALF_LOG_2PI, log_prob)

    def backward(self, weight):
        """Write down the gradient of z."""
        program = self.program
        by_z = program.negative(self.z, program.empty(*self.z.shape))
        return program.multiply(by_z, weight.unsqueeze(-1), by_z)


class MixturePrior(nn.Module):
    """Σ_k w_k N(m_k, diag s_k²) with learned weights, means and scales.

    The first component stays N(0, I), the prior of the linear start, and has all the
    weight until `start` is called; only its weight is learned. It limits what a row can
    lose that lies far from all others.
    """

    def __init__(self, n_components, n_mixture, n_copies=None):
        super().__init__()
        copies = () if n_copies is None else (n_copies, 1)
        logits = torch.full((*copies, n_mixture + 1), -30.0, dtype=torch.float32)
        logits[..., 0] = 0.0
        self.logits = nn.Parameter(logits)
        self.loc = nn.Parameter(
            torch.zeros(*copies, n_mixture, n_components, dtype=torch.float32)
        )
        self.log_scale = nn.Parameter(
            torch.zeros(*copies, n_mixture, n_components, dtype=torch.float32)
        )

    def forward(self):
        """Return p(z)."""
        pad = (0, 0, 1, 0)
        return DiagonalNormalMixture(
            self.logits,
            nn.functional.pad(self.loc, pad),
            nn.functional.pad(self.log_scale, pad),
        )

    @torch.no_grad()
    def start(self, z, random_state):
        """Fit all but the first component to posterior draws by EM.

        Parameters
        ----------
        z : Tensor (n_draws, n_components)
            Draws from the aggregate posterior of the linear start.
        random_state : int

        Returns
        -------
        dict of str to Tensor
            Values for `logits`, `loc` and `log_scale` of one copy; none from a single
            draw.
        """
        n_mixture, n_components = self.loc.shape[-2:]
        if len(z) < 2:
            return {}
        n_used = max(1, min(n_mixture, len(z) // _ROWS_PER_COMPONENT))
        mixture = GaussianMixture(
            n_used,
            covariance_type="diag",
            reg_covar=1e-3,
            max_iter=30,
            tol=1e-2,
            random_state=random_state,
        )
        with warnings.catch_warnings(), config_context(array_api_dispatch=False):
            # a start need not have converged
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(z.double().cpu().numpy())
        logits = torch.full((n_mixture + 1,), -30.0)
        logits[0] = math.log(_STANDARD_SHARE)
        logits[1 : n_used + 1] = torch.as_tensor(
            np.log(mixture.weights_) + math.log(1 - _STANDARD_SHARE)
        )
        loc = torch.zeros(n_mixture, n_components)
        log_scale = torch.zeros(n_mixture, n_components)
        loc[:n_used] = torch.as_tensor(mixture.means_)
        log_scale[:n_used] = torch.as_tensor(np.log(mixture.covariances_) / 2)
        return {"logits": logits, "loc": loc, "log_scale": log_scale}

    def make_pass(self, program):
        """Return the pass for steps without autograd."""
        return MixturePriorPass(program, self)


class MixturePriorPass:
    """The density and gradient of `distributions.DiagonalNormalMixture`.

    With rows last, every component of the mixture is one contiguous block.
    """

    def __init__(self, program, prior):
        self.program = program
        weights = prior.logits, prior.loc, prior.log_scale
        values, self.grads = [p.detach() for p in weights], [p.grad for p in weights]
        if prior.loc.dim() == 4:  # stacked: (n_copies, 1, ...)
            values = [value[:, 0] for value in values]
            self.grads = [grad[:, 0] for grad in self.grads]
        self.logits, self.loc, self.log_scale = values

    def forward(self, z):
        """Write down log p(z) of every draw, ``(..., n)``."""
        program = self.program
        *leading, n_mixture, q = self.loc.shape
        n, k = z.shape[-2], n_mixture + 1
        # (..., k, q) with N(0, I) first
        loc, log_scale = program.zeros(*leading, k, q), program.zeros(*leading, k, q)
        program.copy(self.loc, loc.narrow(-2, 1, n_mixture))
        program.copy(self.log_scale, log_scale.narrow(-2, 1, n_mixture))
        self.rate = program.negative(log_scale, program.empty(*leading, k, q))
        program.exp(self.rate, self.rate)
        rows_last = program.copy(z.mT, program.empty(*leading, q, n))
        self.residual = residual = program.empty(*leading, k, q, n)
        program.subtract(rows_last.unsqueeze(-3), loc.unsqueeze(-1), residual)
        program.multiply(residual, self.rate.unsqueeze(-1), residual)
        square = program.multiply(residual, residual, program.empty(*residual.shape))
        self.share = program.sum(square, -2, program.empty(*leading, k, n))
        program.multiply(self.share, -0.5, self.share)
        constant = program.sum(log_scale, -1, program.empty(*leading, k))
        # of the weights, normalised
        log_probs, self.probs = self._normalise(self.logits.unsqueeze(-1))
        program.subtract(log_probs, constant.unsqueeze(-1), log_probs)
        program.add(self.share, log_probs, self.share)
        log_prob, self.share = self._normalise(self.share, is_log=False)
        log_prob = log_prob.squeeze(-2)
        return program.subtract(log_prob, q * HALF_LOG_2PI, log_prob)

    def _normalise(self, joint, is_log=True):
        """Write down the shares of (..., k, n), and their logarithms or log Σ exp."""
        program = self.program
        highest = program.empty(*joint.shape[:-2], 1, joint.shape[-1])
        program.maximum(joint, -2, highest.squeeze(-2))
        centred = program.subtract(joint, highest, program.empty(*joint.shape))
        share = program.exp(centred, program.empty(*joint.shape))
        total = program.empty(*highest.shape)
        program.sum(share, -2, total.squeeze(-2))
        program.divide(share, total, share)
        program.log(total, total)
        if is_log:
            return program.subtract(centred, total, centred), share
        return program.add(total, highest, total), share

    def backward(self, weight):
        """Write down the gradient of z, and those of the prior's weights."""
        program, share = self.program, self.share
        *leading, k, q, n = self.residual.shape
        program.multiply(share, weight.unsqueeze(-2), share)
        pull = program.empty(*self.residual.shape)
        program.multiply(self.residual, share.unsqueeze(-2), pull)
        curve = program.multiply(pull, self.residual, program.empty(*pull.shape))
        program.multiply(pull, self.rate.unsqueeze(-1), pull)
        total = program.sum(share, -1, program.empty(*leading, k))
        by_logits, by_loc, by_log_scale = self.grads
        everything = program.sum(weight, -1, program.empty(*leading))
        expected = program.empty(*leading, k)
        program.multiply(self.probs.squeeze(-1), everything.unsqueeze(-1), expected)
        program.subtract(total, expected, by_logits)
        sums = program.sum(pull, -1, program.empty(*leading, k, q))
        program.copy(sums.narrow(-2, 1, k - 1), by_loc)
        sums = program.sum(curve, -1, program.empty(*leading, k, q))
        program.subtract(sums, total.unsqueeze(-1), sums)
        program.copy(sums.narrow(-2, 1, k - 1), by_log_scale)
        by_z = program.sum(pull, -3, program.empty(*leading, q, n))
        return program.negative(by_z, by_z).mT
