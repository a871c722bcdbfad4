"""Bodies of encoder and decoder: modules that map (..., in) to (..., out).

A body ends in hidden units; the head that turns them into the raw outputs of a latent
or a likelihood belongs to the module. What starts training where (`_linear.py`) and
what the outputs mean (`latents.py`, `likelihoods.py`) is none of a network's business.
"""

import math
from numbers import Integral

import torch
from sklearn.base import BaseEstimator
from torch import nn

from ._checks import check_choice

ACTIVATIONS = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
}


class Linear(nn.Module):
    """An affine map, or a stack of ``n_copies`` of them trained side by side.

    A stack maps ``(..., n_copies, n, in)``, each copy its own rows, in one batched
    product; small networks are several times faster that way than one after the other.

    Parameters
    ----------
    n_inputs, n_outputs : int
    n_copies : int or None
        None is a plain affine map.
    zero : bool
        Start at zero rather than at torch's default uniform law.
    """

    def __init__(self, n_inputs, n_outputs, n_copies=None, zero=False):
        super().__init__()
        copies = () if n_copies is None else (n_copies,)
        self.weight = nn.Parameter(
            torch.zeros(*copies, n_inputs, n_outputs, dtype=torch.float32)
        )
        self.bias = nn.Parameter(
            torch.zeros(*copies, 1, n_outputs, dtype=torch.float32)
        )
        if not zero:
            bound = 1 / math.sqrt(max(n_inputs, 1))
            # every copy starts at the same point: they differ by their rows alone
            for parameter in (self.weight, self.bias):
                one = parameter.new_empty(parameter.shape[-2:]).uniform_(-bound, bound)
                parameter.data.copy_(one.expand_as(parameter))

    def forward(self, x):
        """Return x @ weight + bias, each copy its own rows."""
        return self.apply_affine(x, self.weight, self.bias)

    @staticmethod
    def apply_affine(x, weight, bias):
        """Return x @ weight + bias for plain or stacked weights.

        Parameters
        ----------
        x : Tensor (..., n, n_inputs), stacked (..., n_copies, n, n_inputs)
        weight : Tensor (n_inputs, n_outputs), stacked (n_copies, n_inputs, n_outputs)
        bias : Tensor (1, n_outputs), stacked (n_copies, 1, n_outputs)
        """
        if weight.dim() == 2:
            return nn.functional.linear(x, weight.mT, bias[0])
        if x.dim() == 3:
            return torch.baddbmm(bias, x, weight)
        # draws become rows: (..., n_copies, n, in) -> (n_copies, rows, in) and back
        by_copy = x.movedim(-3, 0)
        y = torch.baddbmm(bias, by_copy.flatten(1, -2), weight)
        return y.unflatten(1, by_copy.shape[1:-1]).movedim(0, -3)


class Network(BaseEstimator):
    """Base of all networks: hyper-parameters that can build the two bodies.

    A subclass defines `make_encoder` and `make_decoder`; both return ``(body,
    n_outputs)``, a torch module mapping ``(..., n_inputs)`` to ``(..., n_outputs)``.
    """

    # whether `n_copies` is understood; see Linear
    is_stackable = False
    # whether both bodies are the identity, so that the whole model is linear
    is_linear = False

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the encoder's body and the number of its outputs."""
        raise NotImplementedError

    def make_decoder(self, n_inputs, n_copies=None):
        """Return the decoder's body and the number of its outputs."""
        raise NotImplementedError


class MLP(Network):
    """Fully connected layers; the decoder mirrors the encoder.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(128, 128)
        Widths of the encoder's hidden layers. ``()`` has none: the model is linear.
    activation : {'silu', 'relu', 'tanh', 'gelu', 'elu', 'leaky_relu', 'softplus', \
'sigmoid'}, default='silu'
        What follows every hidden layer.
    dropout : float, default=0.0
        Share of hidden units left out at each training step.
    """

    is_stackable = True

    def __init__(self, hidden_layer_sizes=(128, 128), activation="silu", dropout=0.0):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""
        check_choice(self, "activation", tuple(ACTIVATIONS))
        sizes = self.hidden_layer_sizes
        is_count = [isinstance(s, Integral) and not isinstance(s, bool) for s in sizes]
        if not all(is_count) or any(size < 1 for size in sizes):
            raise ValueError(
                f"hidden_layer_sizes={sizes!r} must hold positive integers."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r} must lie in [0, 1).")

    @property
    def is_linear(self):
        """Whether there is no hidden layer."""
        return len(self.hidden_layer_sizes) == 0

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the encoder's body and the number of its outputs."""
        return self._make(n_inputs, self.hidden_layer_sizes, n_copies)

    def make_decoder(self, n_inputs, n_copies=None):
        """Return the decoder's body and the number of its outputs."""
        return self._make(n_inputs, self.hidden_layer_sizes[::-1], n_copies)

    def _make(self, n_inputs, sizes, n_copies):
        layers = []
        for size in sizes:
            layers += [Linear(n_inputs, size, n_copies), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            n_inputs = size
        return nn.Sequential(*layers), (sizes[-1] if len(sizes) else 0)


NETWORKS = {"mlp": MLP}
