"""Images side by side as one image, with gaps between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._style import get_ink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray


def find_image_shape(
    estimator: Any, image_shape: Sequence[int] | None = None
) -> tuple[int, ...] | None:
    """Return (channels, height, width) of the rows, or None where they are no images.

    An `image_shape` of two numbers is that of gray images.
    """
    if image_shape is None:
        image_shape = getattr(estimator, "image_shape", None)
    if image_shape is None:
        return None
    shape = tuple(image_shape)
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            f"image_shape={image_shape!r} cannot be drawn: (height, width), or "
            "(channels, height, width) with 1 or 3 channels, are accepted."
        )
    return shape


def to_images(X: Any, shape: Sequence[int]) -> NDArray[Any]:
    """Return rows as images, ``(n, height, width, channels)`` floats."""
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    numbers: Any = np.ma.asarray(X, dtype=float)
    array = np.asarray(np.ma.filled(numbers, np.nan))
    size = int(np.prod(shape))
    if array.ndim == 0 or array[0].size != size:
        raise ValueError(
            f"Rows have {array[0].size} values, but image_shape={shape!r} has {size}."
        )
    return np.moveaxis(array.reshape(len(array), *shape), 1, -1)


def find_range(
    images: NDArray[Any], limits: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Return the values drawn as black and white."""
    if limits is not None:
        return limits
    known = images[np.isfinite(images)]
    if not len(known):
        return 0.0, 1.0
    low, high = known.min(), known.max()
    # those of screens, which reconstructions may pass by a little
    white = 255.0 if high > 2 else 1.0
    if images.shape[-1] == 3 and low >= -white / 4:
        return 0.0, white
    return (low, high) if low < high else (low - 0.5, high + 0.5)


class Sheet:
    """Images in rows and columns, joined into one.

    Parameters
    ----------
    images : ndarray (n_rows, n_columns, height, width, channels)
        The images; NaN is transparent.
    titles : sequence of str, default=()
        Names of the images, row by row, drawn above them.
    """

    def __init__(self, images: NDArray[Any], titles: Sequence[str] = ()) -> None:
        self.n_rows, self.n_columns, self.height, self.width, _ = images.shape
        self.titles = titles
        self.gap = max(1, round(0.06 * max(self.height, self.width)))
        # room for titles between the rows
        self.gap_y = max(self.gap, round(0.35 * self.height)) if titles else self.gap
        step_y, step_x = self.height + self.gap_y, self.width + self.gap
        size = self.n_rows * step_y - self.gap_y, self.n_columns * step_x - self.gap
        self.pixels = np.full((*size, images.shape[-1]), np.nan)
        for row, column in np.ndindex(self.n_rows, self.n_columns):
            place = self.find_place(row, column)
            self.pixels[place] = images[row, column]

    def find_place(self, row: int, column: int) -> tuple[slice, slice]:
        """Return the slices of the pixels of one image."""
        y, x = row * (self.height + self.gap_y), column * (self.width + self.gap)
        return slice(y, y + self.height), slice(x, x + self.width)

    def draw(
        self,
        ax: Axes,
        limits: tuple[float, float],
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> AxesImage:
        """Draw the sheet; return the image. `rows` and `columns` are names."""
        low, high = limits
        style = {"cmap": "gray"} | kwargs
        if self.pixels.shape[-1] == 1:
            shown = np.ma.masked_invalid(self.pixels[..., 0])
            image = ax.imshow(shown, vmin=low, vmax=high, **style)
        else:
            is_known = np.isfinite(self.pixels).all(axis=-1, keepdims=True)
            colors = np.clip((self.pixels - low) / (high - low), 0, 1)
            colors = np.where(is_known, colors, 0.0)
            image = ax.imshow(np.concatenate([colors, is_known], axis=-1))
        ax.set(xticks=[], yticks=[])
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        if len(rows):
            places = [self.find_place(row, 0)[0] for row in range(len(rows))]
            ax.set_yticks([(p.start + p.stop - 1) / 2 for p in places], rows)
        if self.titles:
            # room for those of the first row, below the title of the axes
            ax.set_ylim(len(self.pixels) - 0.5, -0.5 - self.gap_y)
        for number, title in enumerate(self.titles):
            y, x = self.find_place(*divmod(number, self.n_columns))
            style = {"ha": "center", "va": "bottom", "fontsize": "small"}
            style["color"] = get_ink(ax)
            ax.text((x.start + x.stop - 1) / 2, y.start - 0.5, title, **style)
        if len(columns):
            places = [self.find_place(0, k)[1] for k in range(len(columns))]
            ax.set_xticks([(p.start + p.stop - 1) / 2 for p in places], columns)
        return image


def wrap(images: NDArray[Any], n_columns: int) -> NDArray[Any]:
    """Return images in as many columns, the last row filled up with nothing."""
    n_rows = -(-len(images) // n_columns)
    whole = np.full((n_rows * n_columns, *images.shape[1:]), np.nan)
    whole[: len(images)] = images
    return whole.reshape(n_rows, n_columns, *images.shape[1:])


def find_sheet_size(
    n_rows: int, n_columns: int, image: Sequence[int], largest: float = 0.9
) -> tuple[float, float]:
    """Return width and height of a figure of as many images, inches."""
    height, width = image
    tile = min(largest, 10.0 / n_columns)
    sides = n_columns * tile + 1.2, n_rows * tile * height / width + 0.9
    return float(np.clip(sides[0], 3.0, 11.2)), float(np.clip(sides[1], 1.6, 11.0))
