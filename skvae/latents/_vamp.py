"""The prior that is a mean of the encoder's posteriors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from .._distributions._mixtures import EqualMixture

if TYPE_CHECKING:
    from collections.abc import Callable


class VampPrior(nn.Module):
    """(1/K) Σ_k q(z|u_k): the mean of the posteriors of K pseudo-inputs u_k.

    Pseudo-inputs are learned, in the units in which the encoder sees rows, and have
    equal weights (Tomczak & Welling 2018, eq. 10).

    Parameters
    ----------
    n_inputs : int
        Width of a pseudo-input.
    n_mixture : int
        Number of pseudo-inputs, K.
    n_copies : int or None, default=None
        Number of folds trained side by side.
    width : int, default=1
        Number of values that a row and a pseudo-input have in the widest tensor of the
        density.
    """

    # `forward` takes the encoder, u (..., K, n_inputs) -> q(z|u)
    needs_encoder = True

    def __init__(
        self, n_inputs: int, n_mixture: int, n_copies: int | None = None, width: int = 1
    ) -> None:
        super().__init__()
        self.n_widest = width * n_mixture
        copies = () if n_copies is None else (n_copies,)
        self.pseudo_inputs = nn.Parameter(
            torch.randn(*copies, n_mixture, n_inputs, dtype=torch.float32)
        )

    @override
    def forward(self, encode: Callable[..., Any]) -> torch.distributions.Distribution:
        return EqualMixture(encode(self.pseudo_inputs))

    def initialize(self, inputs: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
        """Return values for the pseudo-inputs of one fold: rows drawn at random.

        If there are fewer rows than pseudo-inputs, rows are repeated.
        """
        n_mixture = self.pseudo_inputs.shape[-2]
        order = np.random.default_rng(seed).permutation(len(inputs))
        chosen = torch.as_tensor(np.resize(order, n_mixture))
        return {"pseudo_inputs": inputs[chosen.to(inputs.device)]}
