"""Fully connected layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from typing_extensions import override

from .._utils._checks import check_choice, check_counts, check_share
from ._base import ACTIVATIONS, Network
from ._layers import Linear

if TYPE_CHECKING:
    from collections.abc import Sequence


class MLP(Network):
    """Fully connected layers; the decoder mirrors the encoder.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Widths of the encoder's hidden layers. With ``()`` the model is linear.
    activation : {'silu', 'relu', 'tanh', 'gelu', 'elu', 'leaky_relu', 'softplus', \
'sigmoid'}, default='silu'
        Activation after every hidden layer.
    dropout : float, default=0.0
        Probability that a hidden unit is dropped in a training step.
    """

    is_stackable = True

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout

    @override
    def check_parameters(self) -> None:
        check_choice(self, "activation", tuple(ACTIVATIONS))
        check_counts(self, "hidden_layer_sizes", 0)
        check_share(self, "dropout")

    @property
    @override
    def is_linear(self) -> bool:  # type: ignore[override]
        return len(self.hidden_layer_sizes) == 0

    @override
    def make_encoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[nn.Module, int]:
        return self._make(n_inputs, self.hidden_layer_sizes, n_copies)

    @override
    def make_decoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[nn.Module, int]:
        return self._make(n_inputs, self.hidden_layer_sizes[::-1], n_copies)

    def _make(
        self, n_inputs: int, sizes: Sequence[int], n_copies: int | None
    ) -> tuple[nn.Module, int]:
        layers = []
        for size in sizes:
            layers += [Linear(n_inputs, size, n_copies), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            n_inputs = size
        return nn.Sequential(*layers), (sizes[-1] if len(sizes) else 0)
