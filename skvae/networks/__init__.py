"""Bodies of encoder and decoder: modules that map (..., in) to (..., out).

A body ends in hidden units; the head that turns them into the raw outputs of a latent
or a likelihood belongs to the module. What starts training where (`_linear.py`) and
what the outputs mean (`latents`, `likelihoods`) is none of a network's business.
"""

from ._base import ACTIVATIONS, Network
from ._layers import Linear
from ._mlp import MLP

__all__ = ["ACTIVATIONS", "MLP", "NETWORKS", "Linear", "Network"]

NETWORKS = {"mlp": MLP}
