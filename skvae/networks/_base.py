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

    The outputs of a body are hidden units, of which a dense head makes the raw outputs.
    Where a column has its place, as in an image, such a head would have most of the
    weights: a network with ``has_outputs = True`` gives the decoder's raw outputs
    itself. Its `make_decoder` is given two arguments more, the number ``n_raw`` of raw
    outputs a column and whether they are to start at ``zero``, and its body maps to
    ``n_raw * n_features``, all columns of the first, then all of the second, and so on.
    """

    # whether `n_copies` is understood; see Linear
    is_stackable = False
    # whether both bodies are the identity, so that the whole model is linear
    is_linear = False
    # whether `image_shape` of the estimator must be given
    needs_images = False
    # whether the decoder's body gives the raw outputs itself
    has_outputs = False

    def check_parameters(self):
        """Refuse hyper-parameters out of range, by name."""

    def set_image(self, image_shape, columns=None):
        """Take note of the images that the columns come from, if it matters.

        Called before bodies are made, where the estimator has an ``image_shape``.

        Parameters
        ----------
        image_shape : tuple of int
            (channels, height, width).
        columns : ndarray of int (n_columns,), default=None
            Which pixels of the flattened image are columns of the model: those that are
            not constant. None is all.
        """

    def make_encoder(self, n_inputs, n_copies=None):
        """Return the encoder's body and the number of its outputs."""
        raise NotImplementedError

    def make_decoder(self, n_inputs, n_copies=None):
        """Return the decoder's body and the number of its outputs."""
        raise NotImplementedError
