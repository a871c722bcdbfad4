"""Latents: a family of posteriors q(z|x), a prior p(z), and a point summary.

A latent never sees the data, only the raw outputs of an encoder.
"""

from ._base import Latent
from ._categorical import Categorical, CategoricalPrior
from ._gaussian import Gaussian
from ._hierarchical import Hierarchical, LayeredPrior, LayerNetwork
from ._priors import MixturePrior, StandardPrior
from ._vamp import VampPrior

__all__ = [
    "LATENTS",
    "Categorical",
    "CategoricalPrior",
    "Gaussian",
    "Hierarchical",
    "Latent",
    "LayerNetwork",
    "LayeredPrior",
    "MixturePrior",
    "StandardPrior",
    "VampPrior",
]

LATENTS: dict[str, type[Latent]] = {
    "gaussian": Gaussian,
    "categorical": Categorical,
    "hierarchical": Hierarchical,
}
