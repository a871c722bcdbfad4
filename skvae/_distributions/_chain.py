"""Normal distributions, each given the one before."""

import torch
from torch.distributions import constraints
from typing_extensions import override

from ._base import HALF_LOG_2PI, UncheckedDistribution, broadcast_shapes


class NormalChain(UncheckedDistribution):
    """Layers of a vector, each normal given the layer drawn before it.

    ``sizes`` are the widths of the layers as they lie in the vector, ``order`` is that
    in which they are drawn. A layer's conditional is called with the layer drawn
    before, or None for the first, and with ``is_constant``, whether parameters are to
    be constants to autograd; it returns ``(loc, scale)``, broadcastable to (..., size).
    """

    support = constraints.real_vector
    has_rsample = True

    def __init__(self, sizes, order, conditionals, batch_shape, is_constant=False):
        self.sizes, self.order = tuple(sizes), tuple(order)
        self.conditionals, self.is_constant = conditionals, is_constant
        super().__init__((*batch_shape, sum(sizes)), event_dim=1)

    def detach(self):
        """Return the same distribution with constant parameters."""
        return type(self)(
            self.sizes, self.order, self.conditionals, self.batch_shape, True
        )

    def _walk(self, choose):
        """Return ``choose(number, loc, scale)`` of all layers, and the moments."""
        layers, moments = [None] * len(self.sizes), [None] * len(self.sizes)
        before = None
        for i in self.order:
            moments[i] = self.conditionals[i](before, self.is_constant)
            before = layers[i] = choose(i, *moments[i])
        return layers, moments

    def _join(self, parts):
        shapes = [part.shape[:-1] for part in parts]
        leading = broadcast_shapes(*shapes, self.batch_shape)
        return torch.cat([p.expand(*leading, p.shape[-1]) for p in parts], dim=-1)

    @property
    @override
    def mean(self):
        """Mean of every layer, given the mean of the layer drawn before it."""
        layers, _ = self._walk(lambda i, loc, scale: loc)
        return self._join(layers)

    @property
    @override
    def stddev(self):
        """Standard deviation of every layer, given the mean of the one before."""
        _, moments = self._walk(lambda i, loc, scale: loc)
        scales = [scale.expand_as(loc) for loc, scale in moments]
        return self._join(scales)

    @property
    @override
    def variance(self):
        return self.stddev.square()

    @override
    def rsample(self, sample_shape=()):
        leading = torch.Size(sample_shape) + self.batch_shape

        def choose(i, loc, scale):
            return loc + scale * torch.randn(
                *leading, self.sizes[i], dtype=loc.dtype, device=loc.device
            )

        return self._join(self._walk(choose)[0])

    def transform(self, noise):
        """Return the vectors that standard normal noise (n_draws, ..., event) gives."""
        parts = noise.split(self.sizes, dim=-1)
        layers, _ = self._walk(lambda i, loc, scale: loc + scale * parts[i])
        return self._join(layers)

    def log_prob_by_component(self, value):
        """Return log densities given the layer before, ``(..., event)``."""
        parts = value.split(self.sizes, dim=-1)
        _, moments = self._walk(lambda i, loc, scale: parts[i])
        log_probs = [
            -0.5 * ((part - loc) / scale).square() - scale.log() - HALF_LOG_2PI
            for part, (loc, scale) in zip(parts, moments, strict=True)
        ]
        return self._join(log_probs)

    @override
    def log_prob(self, value):
        return self.log_prob_by_component(value).sum(dim=-1)
