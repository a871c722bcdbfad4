"""Bodies of encoder and decoder: modules that map (..., in) to (..., out).

A body ends in hidden units; the head that turns them into the raw outputs of a latent
or a likelihood belongs to the module, unless a decoder brings its own. What starts
training where (`_start`) and what the outputs mean (`latents`, `likelihoods`) is
none of a network's business.
"""

from ._base import ACTIVATIONS, Network
from ._conv import Conv
from ._layers import Linear
from ._mlp import MLP

__all__ = ["ACTIVATIONS", "MLP", "NETWORKS", "Conv", "Linear", "Network"]

NETWORKS = {"mlp": MLP, "conv": Conv}
