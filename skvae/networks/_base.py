"""The base class of networks, and the activations by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from torch import nn

from .._utils._site import SiteLinkMixin

if TYPE_CHECKING:
    from collections.abc import Sequence

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
}


class Network(SiteLinkMixin, BaseEstimator):
    """Base class of networks: hyper-parameters that build the two bodies.

    A subclass defines `make_encoder` and `make_decoder`; both return ``(body,
    n_outputs)``, a torch module mapping ``(..., n_inputs)`` to ``(..., n_outputs)``.

    The outputs of a body are hidden units, which a dense head maps to the raw outputs.
    For images most weights would be in that head: a network with ``has_outputs = True``
    computes the decoder's raw outputs itself. Its `make_decoder` takes two more
    arguments, the number ``n_raw`` of raw outputs for each column and whether they are
    initialized to ``zero``. Its body maps to ``n_raw * n_features``: all columns of the
    first raw output, then all of the second, and so on.
    """

    # whether bodies accept `n_copies`; see Linear
    is_stackable = False
    # whether both bodies are the identity, so that the whole model is linear
    is_linear = False
    # whether `image_shape` of the estimator must be given
    needs_images = False
    # whether the decoder's body computes the raw outputs itself
    has_outputs = False

    def check_parameters(self) -> None:
        """Raise ValueError for a hyper-parameter out of range."""

    def set_image(self, image_shape: Sequence[int], columns: Any = None) -> None:
        """Set the shape of the images of the columns, (channels, height, width).

        Called before bodies are made if the estimator has an ``image_shape``; networks
        that treat columns alike ignore it. ``columns`` are the pixels of the flattened
        image that are columns of the model, since they are not constant; None means
        all.
        """

    def make_encoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[nn.Module, int]:
        """Return the encoder's body and the number of its outputs."""
        raise NotImplementedError

    def make_decoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[nn.Module, int]:
        """Return the decoder's body and the number of its outputs."""
        raise NotImplementedError
