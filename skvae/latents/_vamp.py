"""The prior that is made of the encoder's own posteriors."""

import numpy as np
import torch
from torch import nn

from .._distributions import EqualMixture


class VampPrior(nn.Module):
    """(1/K) Σ_k q(z|u_k): the mean of the posteriors of K pseudo-inputs u_k.

    They are learned, in the units in which the encoder sees rows, and have equal
    weights (Tomczak & Welling 2018, eq. 10).

    Parameters
    ----------
    n_inputs : int
        What the encoder sees of a row.
    n_mixture : int
        Pseudo-inputs, K.
    n_copies : int, default=None
    width : int, default=1
        Values that a row and a pseudo-input have in the widest tensor of the density.
    """

    # called with it, u (..., K, n_inputs) -> q(z|u)
    needs_encoder = True

    def __init__(self, n_inputs, n_mixture, n_copies=None, width=1):
        super().__init__()
        self.n_widest = width * n_mixture
        copies = () if n_copies is None else (n_copies,)
        self.pseudo_inputs = nn.Parameter(
            torch.randn(*copies, n_mixture, n_inputs, dtype=torch.float32)
        )

    def forward(self, encode):
        """Return p(z)."""
        return EqualMixture(encode(self.pseudo_inputs))

    def start(self, inputs, seed):
        """Return values for the pseudo-inputs of one copy: rows drawn at random.

        Rows come twice only where there are too few of them, and then count twice.
        """
        n_mixture = self.pseudo_inputs.shape[-2]
        order = np.random.default_rng(seed).permutation(len(inputs))
        chosen = torch.as_tensor(np.resize(order, n_mixture))
        return {"pseudo_inputs": inputs[chosen.to(inputs.device)]}
