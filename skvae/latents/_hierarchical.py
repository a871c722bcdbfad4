"""Hierarchies: several layers of z, each a prior for the one below."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from typing_extensions import override

from .._distributions._chain import NormalChain
from .._utils._checks import check_choice, check_counts
from ..networks import Linear
from ..networks._layers import squash
from ._base import Latent, clamp_log_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

# lowest precision that the encoder's estimate starts with, in prior precisions
_LEAST_PRECISION = 1e-2


class Hierarchical(Latent):
    r"""Layers of z: the upper ones are a learned prior for the lower ones.

    .. math:: p(z) = N(z_L; 0, I) \prod_{i<L} p(z_i | z_{i+1}), \quad
              p(z_i | z_{i+1}) = N(\mu_i(z_{i+1}), \operatorname{diag}
              \sigma_i^2(z_{i+1}))

    z is :math:`(z_1, \dots, z_L)` side by side, the layer next to the data first. With
    ``inference="top_down"`` the posterior goes the same way,

    .. math:: q(z|x) = N(z_L; \hat\mu_L, \hat\sigma_L^2)
              \prod_{i<L} N\Big(z_i;\
              \frac{\hat\mu_i \hat\sigma_i^{-2} + \mu_i \sigma_i^{-2}}
              {\hat\sigma_i^{-2} + \sigma_i^{-2}},\
              \frac{1}{\hat\sigma_i^{-2} + \sigma_i^{-2}}\Big),

    the encoder's estimate :math:`\hat\mu_i(x), \hat\sigma_i(x)` and the prior given the
    layer above, weighted by their precisions. With ``inference="bottom_up"`` it is
    :math:`q(z_1|x) \prod_i q(z_{i+1} | z_i)`, all normal.

    With ``init="linear"`` training starts at the linear model: :math:`z_1` has its
    posterior and prior, and the upper layers are N(0, I), without information.

    Parameters
    ----------
    sizes : tuple of int or None, default=None
        Widths of the layers, the one next to the data first; they sum to
        ``n_components``. None is two layers, the upper about half as wide; a single
        component is a single layer.
    hidden_layer_sizes : tuple of int, default=(32,)
        Widths of the hidden layers in the networks between layers of z.
    inference : {'top_down', 'bottom_up'}, default='top_down'
        Order in which the posterior draws the layers, see above.
    decoder : {'bottom', 'all'}, default='bottom'
        Layers that the decoder sees: :math:`p(x|z_1)`, or p(x|z).
    embedding : {'all', 'bottom', 'top'}, default='all'
        Layers that `transform` returns. ``inverse_transform`` fills the others in:
        below 'top' by the means of :math:`p(z_i|z_{i+1})`; above 'bottom' by those of
        :math:`q(z_{i+1}|z_i)` with bottom-up inference, else of the prior.

    Notes
    -----
    The KL is sampled. That of a component is E[log q(z_k|·) - log p(z_k|·)], each given
    the layer drawn before. With bottom-up inference it may be negative, since q and p
    condition on different layers; the attribute `kl_per_component_` has 0 then.

    References
    ----------
    Sønderby et al. (2016), "Ladder variational autoencoders", section 2 for the prior,
    2.1 for top-down inference by precisions; Burda, Grosse & Salakhutdinov
    (2016), "Importance weighted autoencoders", eqs. 1 and 3, for bottom-up inference;
    Kingma et al. (2016), "Improving variational inference with inverse autoregressive
    flow", appendix C.
    """

    n_raw = 2
    posterior_takes_prior = True

    def __init__(
        self,
        sizes: Sequence[int] | None = None,
        hidden_layer_sizes: Sequence[int] = (32,),
        inference: str = "top_down",
        decoder: str = "bottom",
        embedding: str = "all",
    ) -> None:
        self.sizes = sizes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.inference = inference
        self.decoder = decoder
        self.embedding = embedding

    @override
    def check_parameters(self) -> None:
        check_choice(self, "inference", ("top_down", "bottom_up"))
        check_choice(self, "decoder", ("all", "bottom"))
        check_choice(self, "embedding", ("all", "bottom", "top"))
        if self.sizes is not None:
            check_counts(self, "sizes", 2)
        check_counts(self, "hidden_layer_sizes", 0)

    @override
    def check_components(self, n_components: int) -> None:
        if self.sizes is not None and sum(self.sizes) != n_components:
            raise ValueError(
                f"Hierarchical(sizes={self.sizes!r}) sums to {sum(self.sizes)}, but "
                f"n_components={n_components}; both must agree."
            )

    def split(self, n_components: int) -> tuple[int, ...]:
        """Return the widths of the layers, the one next to the data first."""
        if self.sizes is not None:
            return tuple(self.sizes)
        if n_components == 1:
            return (1,)
        upper = max(1, round(n_components / 3))
        return n_components - upper, upper

    @override
    def count_linear_components(self, n_components: int) -> int:
        return self.split(n_components)[0]

    @override
    def count_components(self, n_linear: int | None) -> int | None:
        if self.sizes is not None:
            return sum(self.sizes)
        if n_linear is None:
            return None
        # the least whose lowest layer is as wide as the linear model
        n = n_linear
        while self.count_linear_components(n) < n_linear:
            n += 1
        return n

    @override
    def count_embedded(self, n_components: int) -> int:
        sizes = self.split(n_components)
        widths = {"all": n_components, "bottom": sizes[0], "top": sizes[-1]}
        return widths[self.embedding]

    @override
    def raw_shape(self, n_components: int) -> tuple[int, ...]:
        is_bottom_up = self.inference == "bottom_up"
        return (2, self.split(n_components)[0] if is_bottom_up else n_components)

    @override
    def make_prior(self, n_components: int, n_copies: int | None = None) -> nn.Module:
        sizes, is_bottom_up = self.split(n_components), self.inference == "bottom_up"
        return LayeredPrior(sizes, self.hidden_layer_sizes, is_bottom_up, n_copies)

    @override
    def posterior(  # type: ignore[override]
        self, raw: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, prior: Any
    ) -> torch.distributions.Distribution:
        sizes, last = prior.sizes, len(prior.sizes) - 1
        raw_loc, raw_scale = raw.to(loc.dtype).unbind(dim=-2)
        parts = loc, scale.expand_as(loc), raw_loc, clamp_log_ratio(raw_scale)
        if self.inference == "bottom_up":
            first = _Estimate(*(part[..., : sizes[0]] for part in parts))
            conditionals, order = [first, *prior.inference], range(last + 1)
        else:
            layers = zip(*(part.split(sizes, dim=-1) for part in parts), strict=True)
            *lower, top = layers
            conditionals = list(map(_Combination, prior.generative, lower))
            conditionals.append(_Estimate(*top))
            order = range(last, -1, -1)
        return NormalChain(sizes, order, conditionals, loc.shape[:-1])

    @override
    def keep_point(self, raw: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(raw)

    @override
    def get_loc_scale(self, posterior: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # a bottom-up encoder has outputs for the first layer alone
        known = [c for c in posterior.conditionals if not isinstance(c, LayerNetwork)]
        pairs = [conditional.get_loc_scale() for conditional in known]
        loc, scale = (torch.cat(parts, dim=-1) for parts in zip(*pairs, strict=True))
        pad = (0, sum(posterior.sizes) - loc.shape[-1])
        return nn.functional.pad(loc, pad), nn.functional.pad(scale, pad, value=1.0)

    @override
    def embed(self, posterior: Any) -> torch.Tensor:
        if self.embedding == "all":
            return posterior.mean
        layers = posterior.mean.split(posterior.sizes, dim=-1)
        return layers[0] if self.embedding == "bottom" else layers[-1]

    @override
    def point_estimate(self, posterior: Any) -> torch.Tensor:
        return posterior.mean

    @override
    def invert_embedding(self, embedded: torch.Tensor, prior: Any) -> torch.Tensor:
        layers = [embedded]
        if self.embedding == "all":
            return embedded
        if self.embedding == "top":
            for network in reversed(prior.generative):
                layers.insert(0, network(layers[0])[0])
        elif self.inference == "bottom_up":
            for network in prior.inference:
                layers.append(network(layers[-1])[0])
        else:
            upper = prior().mean[..., prior.sizes[0] :]
            layers.append(upper.expand(*embedded.shape[:-1], -1).to(embedded))
        return torch.cat(layers, dim=-1)

    @override
    def make_decoder_input(self, z: torch.Tensor) -> torch.Tensor:
        """Return all layers, or the first one beside zeros."""
        if self.decoder == "all":
            return z
        n_shown = self.split(z.shape[-1])[0]
        return nn.functional.pad(z[..., :n_shown], (0, z.shape[-1] - n_shown))

    @override
    def log_ratio_per_component(
        self, posterior: Any, prior: Any, z: torch.Tensor
    ) -> torch.Tensor:
        """Return log q(z_k|·) - log p(z_k|·), each given the layer drawn before."""
        log_q = posterior.log_prob_by_component(z)
        return log_q - prior.log_prob_by_component(z)


class LayeredPrior(nn.Module):
    """N(0, I) for the uppermost layer, and networks for those below.

    They start at N(0, I) as well, whatever the layer above is.

    Parameters
    ----------
    sizes : sequence of int
        Widths of the layers, the one next to the data first.
    hidden_layer_sizes : sequence of int
        Widths of the networks.
    is_bottom_up : bool
        Whether there are networks for q(z_{i+1}|z_i), too.
    n_copies : int or None, default=None
        Number of folds trained side by side.
    """

    loc: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        hidden_layer_sizes: Sequence[int],
        is_bottom_up: bool,
        n_copies: int | None = None,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.batch_shape = () if n_copies is None else (n_copies, 1)

        def make(a: int, b: int) -> Any:
            return LayerNetwork(a, b, hidden_layer_sizes, n_copies)

        pairs = list(itertools.pairwise(sizes))
        self.generative = nn.ModuleList([make(b, a) for a, b in pairs])
        upwards = pairs if is_bottom_up else []
        self.inference = nn.ModuleList([make(a, b) for a, b in upwards])
        loc = torch.zeros(sizes[-1], dtype=torch.float32)
        self.register_buffer("loc", loc, persistent=False)

    @override
    def forward(self) -> torch.distributions.Distribution:
        zero, one = self.loc, torch.ones_like(self.loc)
        conditionals = [*self.generative, _Estimate(zero, one, zero, zero)]
        order = range(len(self.sizes) - 1, -1, -1)
        return NormalChain(self.sizes, order, conditionals, self.batch_shape)


class LayerNetwork(nn.Module):
    """Mean and standard deviation of one layer, given another.

    A linear map plus a network with SiLU, both zero at first: N(0, I).

    Parameters
    ----------
    n_inputs, n_outputs : int
        Widths of the given layer and of this one.
    hidden_layer_sizes : sequence of int
        Widths of the network.
    n_copies : int or None, default=None
        Number of folds trained side by side.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        n_copies: int | None = None,
    ) -> None:
        super().__init__()
        widths = n_inputs, *hidden_layer_sizes
        hidden = [Linear(a, b, n_copies) for a, b in itertools.pairwise(widths)]
        self.hidden = nn.ModuleList(hidden)
        n_seen = n_inputs + (widths[-1] if hidden else 0)
        self.head = Linear(n_seen, 2 * n_outputs, n_copies, zero=True)

    @override
    def forward(
        self, z: torch.Tensor, is_constant: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and standard deviation for z, (..., n, n_inputs).

        ``is_constant``: whether weights are constants to autograd.
        """

        def apply(layer: Any, u: torch.Tensor) -> torch.Tensor:
            weight, bias = layer.weight, layer.bias
            if is_constant:
                weight, bias = weight.detach(), bias.detach()
            return Linear.apply_affine(u, weight, bias)

        u = squash(z.to(self.head.weight.dtype))
        seen, hidden = u, u
        for layer in self.hidden:
            hidden = nn.functional.silu(apply(layer, hidden))
        if len(self.hidden):
            seen = torch.cat([u, hidden], dim=-1)
        loc, log_scale = apply(self.head, seen).to(z.dtype).tensor_split(2, dim=-1)
        return loc, clamp_log_ratio(log_scale).exp()


def _fix(tensors: Any, is_constant: bool) -> Any:
    return [t.detach() for t in tensors] if is_constant else tensors


class _Estimate:
    """The distribution of a layer that depends on no other."""

    def __init__(
        self,
        loc: torch.Tensor,
        scale: torch.Tensor,
        raw_loc: torch.Tensor,
        log_ratio: torch.Tensor,
    ) -> None:
        self.pair = [loc + scale * raw_loc, scale * log_ratio.exp()]

    def __call__(self, before: torch.Tensor, is_constant: bool = False) -> Any:
        return _fix(self.pair, is_constant)

    def get_loc_scale(self) -> Any:
        return self.pair


class _Combination:
    """The prior given the layer above and the encoder's estimate, combined.

    Each counts by its precision. Loc and scale are those of the posterior under the
    prior N(0, I), so that the encoder's estimate has the precision 1/scale² - 1.
    """

    def __init__(self, network: Any, estimate: Any) -> None:
        self.network = network
        loc, scale, raw_loc, log_ratio = estimate
        # not 0, from which it could not grow
        precision = (scale**-2 - 1).clamp_min(_LEAST_PRECISION)
        pull = loc / scale**2 + raw_loc / scale
        self.estimate = [pull, precision * torch.exp(-2 * log_ratio)]

    def __call__(
        self, before: torch.Tensor, is_constant: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        loc, scale = self.network(before, is_constant)
        pull, precision = _fix(self.estimate, is_constant)
        variance = 1 / (precision + scale**-2)
        return variance * (pull + loc / scale**2), variance.sqrt()

    def get_loc_scale(self) -> tuple[torch.Tensor, torch.Tensor]:
        pull, precision = self.estimate
        scale = (1 + precision) ** -0.5
        return pull * scale**2, scale
