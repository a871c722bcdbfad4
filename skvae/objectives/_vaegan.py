"""The ELBO with a discriminator of drawn rows: VAE/GAN, and the GAN alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import softplus
from typing_extensions import override

from .._utils._checks import check_counts, check_number
from .._utils._seed import seeded
from ._base import KLObjective, draw_prior, normalise_weights
from ._discriminator import Discriminator, compute_entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model._evidence import VAEOutput

# share of the variance of real rows below which drawn ones are all alike, and share of
# the cross-entropy of a guess, log 4, below which the discriminator knows every row
_LEAST_SPREAD, _LEAST_ENTROPY = 0.25, 0.1


class VAEGAN(KLObjective):
    r"""The ELBO with a discriminator that the decoder has to deceive (VAE/GAN).

    The decoder is a generator, too: :math:`\tilde x \sim p(x|z)` with
    :math:`z \sim p(z)`. A network D learns to tell real rows from such draws,

    .. math:: \max_D\ E_x[\log D(x)] + E_{\tilde x}[\log(1 - D(\tilde x))],

    in turn with encoder and decoder, whose loss is, with weights e, g and f,

    .. math:: e\, \big(-E_q[\log p(x|z)] + \beta\, KL(q(z|x) \| p(z))
              + f\, E_q[\tfrac12 |h(x) - h(x')|^2]\big)
              - g\, E_{\tilde x}[\log D(\tilde x)], \qquad x' \sim p(x|z),

    where h are the features of a row that D computes, its last hidden units. The best
    D is :math:`\log \frac{D}{1 - D} = \log p_{data}(x) - \log p_{model}(x)`.

    With ``elbo_weight=0`` this is the generative adversarial network alone. Its encoder
    is not trained, so that `transform`, `reconstruct` and `score` mean little;
    `sample` and `discriminate` are for it.

    Parameters
    ----------
    elbo_weight : float, default=1.0
        e.
    gan_weight : float, default=1.0
        g. With 0 the discriminator is trained, but changes nothing.
    feature_weight : float, default=1.0
        f. With ``gan_weight=0, feature_weight=0`` the loss is the ELBO's.
    hidden_layer_sizes : tuple of int, default=(64, 64)
        Widths of the hidden layers of D.
    discriminator_lr : float, default=0.002
        Learning rate of D.
    penalty : float, default=0.1
        γ: D pays :math:`\frac{\gamma}{2} E_x |\nabla_x \log \frac{D}{1 - D}|^2`,
        without which the two would circle around their equilibrium.
    n_draws : int, default=1
        Draws of z per row and step.

    Attributes
    ----------
    discriminator_ : torch.nn.Module
        D, once training has begun. `VAETransformer.discriminate` returns its log-odds.

    Notes
    -----
    D sees draws, as `sample` returns them, and real rows with the same cells missing:
    numbers in standard deviations, and categories as ones and zeros. Draws carry the
    gradient of their mean and standard deviation.

    The loss of held-out rows, by which the weights that are kept are chosen, is that of
    the ELBO; with ``elbo_weight=0`` the last weights are kept. Folds are not trained
    side by side. Of an ensemble the last member has a discriminator of its own, too.

    References
    ----------
    Larsen, Sønderby, Larochelle & Winther (2016), "Autoencoding beyond pixels using a
    learned similarity metric", eqs. 5 to 8; Goodfellow et al. (2014), "Generative
    adversarial nets", eq. 1, section 3 for the loss of the generator, and proposition 1
    for the best D; Mescheder, Geiger & Nowozin (2018), "Which training methods for GANs
    do actually converge?", eq. 9, for the penalty; Liu, Dong, Liu, Yu & Gao (2023),
    "Bridging discrete and backpropagation: straight-through and beyond", for the
    gradient of categories.
    """

    extra_terms = ("discriminator", "generator", "feature")
    is_stackable = False
    discriminator_: Discriminator

    def __init__(
        self,
        elbo_weight: float = 1.0,
        gan_weight: float = 1.0,
        feature_weight: float = 1.0,
        hidden_layer_sizes: Sequence[int] = (64, 64),
        discriminator_lr: float = 0.002,
        penalty: float = 0.1,
        n_draws: int = 1,
    ) -> None:
        self.elbo_weight = elbo_weight
        self.gan_weight = gan_weight
        self.feature_weight = feature_weight
        self.hidden_layer_sizes = hidden_layer_sizes
        self.discriminator_lr = discriminator_lr
        self.penalty = penalty
        self.n_draws = n_draws

    @override
    def check_parameters(self) -> None:
        super().check_parameters()
        for name in ("elbo_weight", "gan_weight", "feature_weight", "penalty"):
            check_number(self, name, 0)
        check_number(self, "discriminator_lr", 0, is_open=True)
        check_counts(self, "hidden_layer_sizes", 1)
        if not self.elbo_weight and not self.gan_weight:
            raise ValueError(
                "VAEGAN(elbo_weight=0, gan_weight=0) leaves nothing to train; set one "
                "of them to a positive number."
            )

    @property
    @override
    def is_scored(self) -> bool:
        """Whether held-out rows choose the weights that are kept."""
        return self.elbo_weight > 0

    @override
    def start(self, output: VAEOutput, x: torch.Tensor) -> None:
        self.discriminator_ = Discriminator(
            output.likelihood, x, self.hidden_layer_sizes
        )

    def _get_discriminator(self, output: VAEOutput, x: torch.Tensor) -> Discriminator:
        if not hasattr(self, "discriminator_"):
            # called outside of a fit
            with seeded(0):
                self.start(output, x)
        return self.discriminator_

    def _generate(self, output: VAEOutput, x: torch.Tensor) -> torch.Tensor:
        """Return the discriminator's inputs for drawn rows, one beside each of x."""
        assert output.decode is not None
        likelihood = output.decode(draw_prior(output, (1, *x.shape[:-1])))
        found = self._get_discriminator(output, x).represent_draws(likelihood, x)
        return found.squeeze(0)

    @override
    def learn(
        self, output: VAEOutput, x: torch.Tensor, weight: torch.Tensor | None = None
    ) -> None:
        discriminator = self._get_discriminator(output, x)
        with torch.no_grad():
            real, fake = discriminator.represent(x), self._generate(output, x)
        share = normalise_weights(x, weight)
        discriminator.learn(real, fake, share, self.discriminator_lr, self.penalty)

    @override
    def __call__(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None = None,
        beta: float = 1.0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, terms = super().__call__(output, x, weight, beta)
        discriminator, share = (
            self._get_discriminator(output, x),
            normalise_weights(x, weight),
        )
        real, fake = discriminator.represent(x), self._generate(output, x)
        again = discriminator.represent_draws(output.likelihood, x)
        difference = (
            discriminator.body(again) - discriminator.body(real).detach()
        ).square()
        feature = output.average(difference.sum(dim=-1) / 2)
        odds = discriminator(fake)
        parts = compute_entropy(discriminator(real), odds), softplus(-odds), feature
        # (3, ...): of each the mean over rows
        means = [(share * part).sum() for part in parts]
        named = zip(self.extra_terms, means, strict=True)
        terms |= {name: mean.detach() for name, mean in named}
        if not torch.is_grad_enabled():
            # held-out rows: a game between two networks has no loss that falls
            return loss, terms
        _, generator, feature = means
        loss = self.elbo_weight * (loss + self.feature_weight * feature)
        return loss + self.gan_weight * generator, terms

    @override
    def _compute_cost(
        self,
        output: VAEOutput,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        kl: torch.Tensor,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return kl, {}

    def discriminate(self, x: torch.Tensor) -> torch.Tensor:
        """Return the log-odds that rows are real, ``(..., n)`` nats."""
        return self.discriminator_(self.discriminator_.represent(x))

    @override
    def diagnose(self, output: VAEOutput, x: torch.Tensor) -> str | None:
        if not self.gan_weight or len(x) < 2:
            return None
        discriminator = self._get_discriminator(output, x)
        real, fake = discriminator.represent(x), self._generate(output, x)
        spread = float(fake.var(dim=-2).sum() / real.var(dim=-2).sum())
        if spread < _LEAST_SPREAD:
            return (
                f"Rows drawn from the model are alike: they have {spread:.0%} of the "
                "variance of the rows of X. The generator has collapsed; set a larger "
                "batch_size, a smaller lr, or a larger elbo_weight of VAEGAN."
            )
        entropy = float(
            compute_entropy(discriminator(real), discriminator(fake)).mean()
        ) / math.log(4)
        if entropy < _LEAST_ENTROPY:
            return (
                "The discriminator tells drawn rows from those of X without error: its "
                f"cross-entropy is {entropy:.0%} of a guess. The generator does not "
                "learn from it any more; set a larger penalty of VAEGAN, or a smaller "
                "discriminator_lr."
            )
        return None
