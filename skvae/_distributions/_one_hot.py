"""Categorical variables as ones and zeros."""

import math

import torch
from torch.distributions import Categorical, constraints, register_kl
from typing_extensions import override

from ._base import UncheckedDistribution


class OneHotCategoricals(UncheckedDistribution):
    """Independent categorical variables, each as ones and zeros, side by side.

    ``logits`` are (..., n_variables, n_categories), finite; ``temperature`` is that of
    differentiable draws.

    References
    ----------
    Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax",
    eqs. 1-2; Maddison, Mnih & Teh (2017), "The concrete distribution", eq. 10.
    """

    support = constraints.real_vector
    has_rsample = True
    # `log_prob` is that of ones and zeros, not a density of draws by `rsample`
    is_relaxed = True

    def __init__(self, logits, temperature=1.0):
        self.log_probs = torch.log_softmax(logits, dim=-1)
        self.temperature = temperature
        super().__init__(
            (*logits.shape[:-2], math.prod(logits.shape[-2:])), event_dim=1
        )

    @property
    def probs(self):
        """Probabilities, ``(..., n_variables, n_categories)``."""
        return self.log_probs.exp()

    @property
    @override
    def mean(self):
        return self.probs.flatten(-2)

    @property
    @override
    def variance(self):
        return self.mean * (1 - self.mean)

    @override
    def log_prob(self, value):
        """Return Σ z_k log p_k, ``(...)``.

        It is the log-probability of ones and zeros, and linear between them.
        """
        return (value * self.log_probs.flatten(-2)).sum(dim=-1)

    def log_prob_by_component(self, value):
        """Return the log-probability of every variable, ``(..., n_variables)``."""
        value = value.unflatten(-1, self.log_probs.shape[-2:])
        return (value * self.log_probs).sum(dim=-1)

    def _relax(self, gumbel):
        return torch.softmax((self.log_probs + gumbel) / self.temperature, dim=-1)

    def _harden(self, chosen):
        # torch's `one_hot` reads values, and could not be recorded
        categories = torch.arange(self.log_probs.shape[-1], device=chosen.device)
        return (chosen.unsqueeze(-1) == categories).to(self.log_probs.dtype)

    @override
    def rsample(self, sample_shape=()):
        """Draw differentiable vectors that add up to one (Jang et al. 2017, eq. 2)."""
        shape = torch.Size(sample_shape) + self.log_probs.shape
        tiny = torch.finfo(self.log_probs.dtype).tiny
        # -log E is a Gumbel variable if E is exponential
        exponential = torch.empty(
            shape, dtype=self.log_probs.dtype, device=self.log_probs.device
        ).exponential_()
        return self._relax(-exponential.clamp_min(tiny).log()).flatten(-2)

    @override
    def sample(self, sample_shape=()):
        with torch.no_grad():
            chosen = Categorical(logits=self.log_probs, validate_args=False)
            return self._harden(chosen.sample(sample_shape)).flatten(-2)

    def transform(self, noise):
        """Return ones and zeros for standard normal noise (n_draws, ..., event).

        By Gumbel's argmax (Jang et al. 2017, eq. 1), with the gradient of the relaxed
        vector ("straight through", section 2.2).
        """
        # -log(-log u) with u = Φ(noise), without rounding u to 0 or 1
        gumbel = -torch.log(-torch.special.log_ndtr(noise))
        gumbel = gumbel.unflatten(-1, self.log_probs.shape[-2:])
        hard = self._harden((self.log_probs + gumbel).argmax(dim=-1))
        if torch.is_grad_enabled() and self.log_probs.requires_grad:
            soft = self._relax(gumbel)
            hard = hard + soft - soft.detach()
        return hard.flatten(-2)


@register_kl(OneHotCategoricals, OneHotCategoricals)
def _kl_categoricals(p, q):
    return (p.probs * (p.log_probs - q.log_probs)).sum(dim=(-2, -1))
