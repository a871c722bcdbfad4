"""Categorical posteriors: discrete z."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from typing_extensions import override

from .._distributions._one_hot import OneHotCategoricals
from .._utils._checks import check_choice, check_count, check_number
from ._base import Latent

if TYPE_CHECKING:
    from collections.abc import Sequence

# exp(-50): lowest probability of a category, relative to the likeliest
_MAX_LOG_ODDS = 50.0
# largest numbers of joint values of z that training and scores sum over
_MAX_TRAINING_STATES = 128
_MAX_STATES = 1024


class Categorical(Latent):
    r"""Discrete z: one or several categorical variables, as ones and zeros.

    .. math:: q(z|x) = \prod_{g=1}^G \prod_{k=1}^K \pi_{gk}(x)^{z_{gk}}, \quad
              z_g \in \{e_1, \dots, e_K\}, \quad
              p(z) = \prod_{g,k} w_{gk}^{z_{gk}}

    With one variable the model is a mixture of K distributions that share a decoder;
    with several the decoder combines their values. ``n_components`` of the estimator is
    the width of z, G K.

    If z has at most 1,024 joint values, scores are exact sums over them, else averages
    over draws of ones and zeros. With ``init="linear"`` training starts at a mixture
    fitted by k-means and EM for one variable, and at random weights for several.

    Parameters
    ----------
    n_categories : int or None, default=None
        K. ``n_components`` must be a multiple of it; None is one variable with
        ``n_components`` categories.
    prior : {'learned', 'uniform'}, default='learned'
        Whether the weights w of the categories are learned, or all equal.
    gradient : {'auto', 'exact', 'gumbel'}, default='auto'
        How training computes the expectation over q(z|x) and its gradient: 'exact' sums
        over all values of z, at most 128; 'gumbel' draws relaxed vectors,

        .. math:: z_{gk} = \frac{\exp((\log \pi_{gk} + \gamma_{gk}) / \tau)}
                  {\sum_l \exp((\log \pi_{gl} + \gamma_{gl}) / \tau)}, \quad
                  \gamma_{gk} \sim \mathrm{Gumbel}(0, 1).

        'auto' is 'exact' if z has at most 128 values.
    temperature, min_temperature : float, default=1.0 and 0.5
        τ falls exponentially from the first to the second over ``max_epochs``.
    embedding : {'probabilities', 'onehot'}, default='probabilities'
        What `transform` returns: π(x), or its largest entries as ones.

    Notes
    -----
    The KL is exact. Objectives that need log q(z|x) of a relaxed draw, such as 'iwae',
    use :math:`\sum z_{gk} \log \pi_{gk}`, which is exact in the limit τ → 0.

    The KL of a component is :math:`\pi \log(\pi / w) - \pi + w`; it is never negative,
    and the components of a variable sum to the variable's KL.

    References
    ----------
    Jang, Gu & Poole (2017), "Categorical reparameterization with Gumbel-softmax",
    eq. 2; Maddison, Mnih & Teh (2017), "The concrete distribution", eq. 10 and appendix
    C.3.2 for the relaxed bound; Kingma, Rezende, Mohamed & Welling (2014),
    "Semi-supervised learning with deep generative models", eq. 7, for the sum.
    """

    n_raw = 1
    is_anchored = False
    posterior_takes_prior = True

    def __init__(
        self,
        n_categories: int | None = None,
        prior: str = "learned",
        gradient: str = "auto",
        temperature: float = 1.0,
        min_temperature: float = 0.5,
        embedding: str = "probabilities",
    ) -> None:
        self.n_categories = n_categories
        self.prior = prior
        self.gradient = gradient
        self.temperature = temperature
        self.min_temperature = min_temperature
        self.embedding = embedding

    @override
    def check_parameters(self) -> None:
        if self.n_categories is not None:
            check_count(self, "n_categories", 2)
        check_choice(self, "prior", ("learned", "uniform"))
        check_choice(self, "gradient", ("auto", "exact", "gumbel"))
        for name in ("temperature", "min_temperature"):
            check_number(self, name, 0, is_open=True)
        if self.min_temperature > self.temperature:
            raise ValueError(
                f"Categorical(min_temperature={self.min_temperature!r}) is above "
                f"temperature={self.temperature!r}, from which it falls."
            )
        check_choice(self, "embedding", ("probabilities", "onehot"))

    @override
    def check_components(self, n_components: int) -> None:
        if math.prod(self._split(n_components)) != n_components:
            raise ValueError(
                f"n_components={n_components} is not a multiple of "
                f"n_categories={self.n_categories}; it is the number of categories of "
                "all variables together."
            )
        n_states = self._count_states(n_components)
        if self.gradient == "exact" and n_states > _MAX_TRAINING_STATES:
            raise ValueError(
                f"Categorical(gradient='exact') would go through {n_states} values of "
                f"z, with n_components={n_components} and "
                f"n_categories={self.n_categories}; up to {_MAX_TRAINING_STATES} are "
                "accepted. Use 'auto' or 'gumbel'."
            )

    def _split(self, n_components: int) -> tuple[int, ...]:
        """Return the shape of z, (variables, categories)."""
        n_categories = n_components if self.n_categories is None else self.n_categories
        return n_components // n_categories, n_categories

    def _count_states(self, n_components: int) -> int:
        n_variables, n_categories = self._split(n_components)
        return n_categories**n_variables

    @property
    @override
    def initializes_prior(self) -> bool:
        return self.prior == "learned"

    @override
    def count_components(self, n_linear: int | None) -> int | None:
        # one variable
        return n_linear if self.n_categories is None else self.n_categories

    @override
    def count_clusters(self, n_components: int) -> int:
        n_variables, n_categories = self._split(n_components)
        return n_categories if n_variables == 1 and n_categories > 1 else 0

    @override
    def posterior(
        self,
        raw: torch.Tensor,
        loc: torch.Tensor,
        scale: torch.Tensor,
        prior: Any = None,
    ) -> torch.distributions.Distribution:
        """Return q(z|x): loc are log-probabilities, to which raw is added."""
        logits = loc + raw.to(loc.dtype).squeeze(-2)
        temperature = self.temperature if prior is None else prior.temperature
        shape = self._split(logits.shape[-1])
        return _make_categoricals(logits, shape, temperature)

    @override
    def keep_point(self, raw: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(raw)

    @override
    def get_loc_scale(self, posterior: Any) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = posterior.log_probs.flatten(-2)
        return log_probs, torch.ones_like(log_probs)

    @override
    def enumerate(
        self, n_components: int, in_training: bool = False
    ) -> torch.Tensor | None:
        most = _MAX_TRAINING_STATES if in_training else _MAX_STATES
        is_drawn = in_training and self.gradient == "gumbel"
        if is_drawn or self._count_states(n_components) > most:
            return None
        n_variables, n_categories = self._split(n_components)
        index = torch.cartesian_prod(*[torch.arange(n_categories)] * n_variables)
        index = index.view(-1, n_variables)
        return nn.functional.one_hot(index, n_categories).flatten(-2)

    @override
    def anneal(self, prior: Any, progress: float) -> None:
        ratio = self.min_temperature / self.temperature
        prior.temperature.fill_(self.temperature * ratio**progress)

    @override
    def draw_initial(
        self, loc: torch.Tensor, scale: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        raw = loc.new_zeros(*loc.shape[:-1], 1, loc.shape[-1])
        posterior: Any = self.posterior(raw, loc, scale)
        return posterior.transform(noise)

    @override
    def make_prior(self, n_components: int, n_copies: int | None = None) -> nn.Module:
        shape, is_learned = self._split(n_components), self.prior == "learned"
        return CategoricalPrior(shape, is_learned, self.temperature, n_copies)

    @override
    def initialize_prior(
        self, prior: Any, z: torch.Tensor, seed: int
    ) -> dict[str, torch.Tensor]:
        if self.prior != "learned":
            return {}
        # one pseudo-row each
        return {"logits": torch.log((z.sum(dim=0) + 1) / (len(z) + 1))}

    @override
    def embed(self, posterior: Any) -> torch.Tensor:
        if self.embedding == "probabilities":
            return posterior.mean
        probs = posterior.probs
        chosen = nn.functional.one_hot(probs.argmax(dim=-1), probs.shape[-1])
        return chosen.to(probs.dtype).flatten(-2)

    @override
    def log_ratio_per_component(
        self, posterior: Any, prior: Any, z: torch.Tensor
    ) -> torch.Tensor:
        """Return q log(q/p) - q + p of every category, ``(1, ..., n_components)``.

        It is never negative, and sums to the KL of a variable.
        """
        p, q = prior.probs, posterior.probs
        terms = q * (posterior.log_probs - prior.log_probs) - q + p
        return terms.flatten(-2).unsqueeze(0)


class CategoricalPrior(nn.Module):
    """Weights of the categories of independent variables, learned or equal.

    Parameters
    ----------
    shape : tuple of int
        Number of variables, and of categories of each.
    is_learned : bool
        Whether weights are learned.
    temperature : float
        Of relaxed draws; it is kept here so that it travels with the module.
    n_copies : int or None, default=None
        Number of folds trained side by side.
    """

    temperature: torch.Tensor

    def __init__(
        self,
        shape: Sequence[int],
        is_learned: bool,
        temperature: float,
        n_copies: int | None = None,
    ) -> None:
        super().__init__()
        self.shape = shape
        copies = () if n_copies is None or not is_learned else (n_copies, 1)
        logits = torch.zeros(*copies, math.prod(shape), dtype=torch.float32)
        if is_learned:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits, persistent=False)
        value = torch.tensor(float(temperature), dtype=torch.float32)
        self.register_buffer("temperature", value)

    @override
    def forward(self) -> torch.distributions.Distribution:
        return _make_categoricals(self.logits, self.shape, self.temperature)


def _make_categoricals(
    logits: torch.Tensor, shape: Sequence[int], temperature: Any
) -> torch.distributions.Distribution:
    """Return variables of logits side by side, whose probabilities are never 0."""
    logits = logits.unflatten(-1, shape)
    logits = logits - logits.amax(dim=-1, keepdim=True).detach()
    return OneHotCategoricals(logits.clamp_min(-_MAX_LOG_ODDS), temperature)
