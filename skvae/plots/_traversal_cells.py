"""Cells of a table along the lines of a traversal: their changes and their texts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ._style import get_ink, shorten, show_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from ._tables import Column

# letters of a level that are worth writing
_LEAST_LETTERS = 6


def measure(column: Column) -> float:
    """Return the standard deviation of a column of numbers, 1 of others."""
    if column.levels:
        return 1.0
    known = column.get_known(0)
    deviation = known.std() if len(known) else 0.0
    return float(deviation) if deviation > 0 else 1.0


def find_change(column: Column, spread: float, shape: tuple[int, int]) -> NDArray[Any]:
    """Return the change of a column from the middle of each line, ``shape``.

    Of levels it is 1 where the level is another one.
    """
    values = np.asarray(column.parts[0]).reshape(shape)
    middle = values[:, shape[1] // 2, None]
    if column.levels:
        return (values != middle).astype(float)
    return (values - middle) / spread


def write_levels(
    axis: Axes, row: int, codes: NDArray[Any], levels: Sequence[Any]
) -> None:
    """Write the name of a level where it begins."""
    ends = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    for first, last in pairwise(ends):
        # as many characters as there is room for
        room = max(2, int(42 * (last - first) / len(codes)) - 1)
        text = shorten(levels[codes[first]], room)
        style: dict[str, Any]
        style = {"ha": "center", "va": "center", "fontsize": "x-small"}
        if room >= _LEAST_LETTERS or "…" not in text:
            place = (first + last - 1) / 2
            axis.text(place, row, text, color=get_ink(axis), **style)
        if first:
            axis.plot(
                [first - 0.5] * 2, [row - 0.5, row + 0.5], color=get_ink(axis), lw=0.8
            )


def write_ends(axis: Axes, row: int, values: NDArray[Any]) -> None:
    """Write the first and last number of a row."""
    from matplotlib.patheffects import withStroke

    style: dict[str, Any]
    style = {"va": "center", "fontsize": "x-small", "color": "black"}
    style["path_effects"] = [withStroke(linewidth=2, foreground="white")]
    for place, side, value in (
        (-0.4, "left", values[0]),
        (len(values) - 0.6, "right", values[-1]),
    ):
        axis.text(place, row, show_number(value), ha=side, **style)
