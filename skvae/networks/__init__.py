"""Bodies of encoder and decoder: modules that map (..., in) to (..., out).

A body ends in hidden units. The head that maps them to the raw outputs of a latent or a
likelihood belongs to the module, unless a decoder computes the raw outputs itself.
Initial values from data (`_start`) and the meaning of raw outputs (`latents`,
`likelihoods`) are not part of a network.
"""

from ._base import ACTIVATIONS, Network
from ._conv import Conv
from ._layers import Linear
from ._mlp import MLP

__all__ = ["ACTIVATIONS", "MLP", "NETWORKS", "Conv", "Linear", "Network"]

NETWORKS: dict[str, type[Network]] = {"mlp": MLP, "conv": Conv}
