"""What all networks share: the base class, and the activations by name."""

from sklearn.base import BaseEstimator
from torch import nn

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
