"""Convolutions over images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from typing_extensions import override

from .._utils._checks import check_choice, check_count, check_counts, check_share
from ._base import ACTIVATIONS, Network

if TYPE_CHECKING:
    from collections.abc import Sequence


class Grid(nn.Module):
    """Columns of a table as pixels of an image (channels, height, width), and back.

    ``columns`` are the pixels of the flattened image that are columns, an array of int;
    None means all. The others are 0 in images, and dropped when images are read.
    """

    source: torch.Tensor
    columns: torch.Tensor

    def __init__(self, image_shape: Sequence[int], columns: Any = None) -> None:
        super().__init__()
        self.image_shape, size = tuple(image_shape), math.prod(image_shape)
        columns = np.arange(size) if columns is None else np.asarray(columns)
        self.n_columns, self.is_full = len(columns), len(columns) == size
        # the column of each pixel; the one after the last is zero
        source = np.full(size, len(columns))
        source[columns] = np.arange(len(columns))
        is_kept = not self.is_full
        self.register_buffer("source", torch.as_tensor(source) if is_kept else None)
        self.register_buffer("columns", torch.as_tensor(columns) if is_kept else None)

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows (n, n_columns) as images (n, channels, height, width)."""
        if not self.is_full:
            x = nn.functional.pad(x, (0, 1)).index_select(-1, self.source)
        return x.reshape(-1, *self.image_shape)

    def read(self, images: torch.Tensor) -> torch.Tensor:
        """Return (n, n_raw * channels, height, width) as (n, n_raw * n_columns)."""
        size = math.prod(self.image_shape)
        raw = images.reshape(len(images), -1, size)  # (n, n_raw, pixels)
        if not self.is_full:
            raw = raw.index_select(-1, self.columns)
        return raw.flatten(1)


class ResidualBlock(nn.Module):
    """Two convolutions whose output is added to their input.

    The input of the convolutions is normalised row by row. The norm has no weights: the
    next convolution has weights of the same effect.
    """

    def __init__(self, n_channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_channels, n_channels, 3, padding=1)
        self.activation = activation
        self.second = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    @override
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        normal = nn.functional.layer_norm(h, h.shape[1:])
        return h + self.second(self.activation(self.first(normal)))


class Enlarge(nn.Module):
    """Enlarge images to twice their size, or a pixel less, by pixels from channels.

    ``n_inputs`` and ``n_outputs`` are channels, ``size`` is the output's.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, size: Sequence[int], bias: bool = True
    ) -> None:
        super().__init__()
        self.layer = nn.Conv2d(n_inputs, 4 * n_outputs, 3, padding=1, bias=bias)
        self.size = size

    @override
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        height, width = self.size
        return nn.functional.pixel_shuffle(self.layer(h), 2)[..., :height, :width]


def _make_blocks(
    n_channels: int, n_blocks: int, activation: type[nn.Module]
) -> list[nn.Module]:
    return [ResidualBlock(n_channels, activation()) for _ in range(n_blocks)]


class ConvEncoder(nn.Module):
    """Map columns ``(..., n_columns)`` to hidden units ``(..., n_hidden)``.

    ``shapes`` are those of the feature maps of every stage.
    """

    def __init__(
        self,
        grid: Grid,
        shapes: list[tuple[int, ...]],
        n_blocks: int,
        n_hidden: int,
        activation: type[nn.Module],
        dropout: list[nn.Module],
    ) -> None:
        super().__init__()
        self.grid = grid
        n_channels, layers = grid.image_shape[0], []
        for n_outputs, *_ in shapes:
            stride = nn.Conv2d(n_channels, n_outputs, 3, stride=2, padding=1)
            layers += [stride, *_make_blocks(n_outputs, n_blocks, activation)]
            n_channels = n_outputs
        self.stages = nn.Sequential(*layers, activation())
        dense = nn.Linear(math.prod(shapes[-1]), n_hidden)
        self.dense = nn.Sequential(dense, activation(), *dropout)

    @override
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stages(self.grid(x.reshape(-1, x.shape[-1])))
        h = self.dense(h.flatten(1))
        return h.reshape(*x.shape[:-1], h.shape[-1])


class ConvDecoder(nn.Module):
    """Map z ``(..., n_inputs)`` to raw outputs ``(..., n_raw * n_columns)``."""

    def __init__(
        self,
        grid: Grid,
        shapes: list[tuple[int, ...]],
        n_blocks: int,
        n_hidden: int,
        activation: type[nn.Module],
        dropout: list[nn.Module],
        n_inputs: int,
        n_raw: int,
        zero: bool,
    ) -> None:
        super().__init__()
        self.grid, self.deepest = grid, shapes[-1]
        first = nn.Linear(n_inputs, n_hidden)
        last = nn.Linear(n_hidden, math.prod(self.deepest))
        self.dense = nn.Sequential(first, activation(), *dropout, last)
        layers: list[Any] = []
        n_channels, *size = grid.image_shape
        targets = [(n_raw * n_channels, *size), *shapes[:-1]]
        for i in reversed(range(len(shapes))):
            n_channels, (n_outputs, *size) = shapes[i][0], targets[i]
            layers += [*_make_blocks(n_channels, n_blocks, activation), activation()]
            # the head of the module has the bias of every column
            layers.append(Enlarge(n_channels, n_outputs, size, bias=i > 0))
        self.stages = nn.Sequential(*layers)
        if zero:
            nn.init.zeros_(layers[-1].layer.weight)

    @override
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = self.dense(z.reshape(-1, z.shape[-1]))
        images = self.stages(h.unflatten(-1, self.deepest))
        raw = self.grid.read(images)
        return raw.reshape(*z.shape[:-1], raw.shape[-1])


class Conv(Network):
    r"""Residual convolutions for images; the decoder mirrors the encoder.

    A stage halves height and width (odd sizes are rounded up), then applies residual
    blocks of two 3x3 convolutions to its feature maps,

    .. math:: h \leftarrow h + W_2 * a(W_1 * \mathrm{norm}(h)),

    where the norm uses the mean and the variance of the row's own maps: rows are
    independent. One dense layer follows the last stage. The decoder has the same layers
    in reverse order; each pixel of the smaller map becomes two by two pixels of the
    larger one (Shi et al. 2016), and odd sizes are cropped. Height, width and number of
    channels are arbitrary.

    It needs ``image_shape`` of `VAETransformer`. Columns are C*H*W, channels first. Use
    one more stage for images of twice the size.

    Parameters
    ----------
    channels : tuple of int, default=(16, 32)
        Number of feature maps of every stage.
    n_blocks : int, default=1
        Number of residual blocks of every stage.
    n_hidden : int, default=128
        Number of units of the dense layer.
    activation : str, default='silu'
        Activation after the convolutions: 'silu', 'relu', 'tanh', 'gelu', 'elu',
        'leaky_relu', 'softplus' or 'sigmoid'.
    dropout : float, default=0.0
        Probability that a unit of the dense layer is dropped in a training step.

    References
    ----------
    He et al. (2016), "Identity mappings in deep residual networks", eq. 1.

    Shi et al. (2016), "Real-time single image and video super-resolution using an
    efficient sub-pixel convolutional neural network", eq. 4.
    """

    needs_images = True
    has_outputs = True

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        n_blocks: int = 1,
        n_hidden: int = 128,
        activation: str = "silu",
        dropout: float = 0.0,
    ) -> None:
        self.channels = channels
        self.n_blocks = n_blocks
        self.n_hidden = n_hidden
        self.activation = activation
        self.dropout = dropout

    @override
    def check_parameters(self) -> None:
        check_counts(self, "channels")
        check_count(self, "n_blocks", 0)
        check_count(self, "n_hidden", 1)
        check_choice(self, "activation", tuple(ACTIVATIONS))
        check_share(self, "dropout")

    @override
    def set_image(self, image_shape: Sequence[int], columns: Any = None) -> None:
        self._image = tuple(image_shape), columns

    @override
    def make_encoder(
        self, n_inputs: int, n_copies: int | None = None
    ) -> tuple[nn.Module, int]:
        grid = self._make_grid(n_inputs)
        return ConvEncoder(grid, *self._get_layers(grid)), self.n_hidden

    @override
    def make_decoder(
        self,
        n_inputs: int,
        n_copies: int | None = None,
        n_raw: int = 1,
        zero: bool = False,
    ) -> tuple[nn.Module, int]:
        grid = self._make_grid()
        body = ConvDecoder(grid, *self._get_layers(grid), n_inputs, n_raw, zero)
        return body, n_raw * grid.n_columns

    def _make_grid(self, n_columns: int | None = None) -> Grid:
        if not hasattr(self, "_image"):
            raise ValueError("Conv needs the shape of images: call set_image first.")
        grid = Grid(*self._image)
        if n_columns not in (None, grid.n_columns):
            raise ValueError(
                f"Images {grid.image_shape} with {grid.n_columns} pixels that vary do "
                f"not match rows of {n_columns} columns."
            )
        return grid

    def _get_layers(
        self, grid: Grid
    ) -> tuple[list[tuple[int, ...]], int, int, type[nn.Module], list[nn.Module]]:
        """Return what both bodies are made of, from shapes to dropout."""
        shapes, size = [], grid.image_shape[1:]
        for n_channels in self.channels:
            size = tuple((length + 1) // 2 for length in size)
            shapes.append((n_channels, *size))
        dropout: list[nn.Module]
        dropout = [nn.Dropout(self.dropout)] if self.dropout else []
        activation = ACTIVATIONS[self.activation]
        return shapes, self.n_blocks, self.n_hidden, activation, dropout
