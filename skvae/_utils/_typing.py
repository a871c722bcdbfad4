"""Types of what users pass and get; imported where types are checked, not at run time.

Types cannot tell what the X of `fit` was. Where an array comes back for an array and a
data frame for a data frame, overloads say so; where that depends on an earlier call, as
in `sample`, the type is Any.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Frame(Protocol):
    """A data frame of pandas, polars or narwhals, or a table of pyarrow."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of columns."""

    @property
    def columns(self) -> Any:
        """Names of the columns, or columns."""


class Labelled(Protocol):
    """A labelled array of xarray."""

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """Names of the dimensions."""

    @property
    def coords(self) -> Any:
        """Coordinates by name."""


class Sparse(Protocol):
    """A sparse matrix or array of scipy."""

    @property
    def nnz(self) -> Any:
        """Number of values that are stored."""


FrameT = TypeVar("FrameT", bound=Frame | Labelled)

# a sequence: lists may have None beside numbers
Array: TypeAlias = ArrayLike | Sequence[Any] | Sparse
Table: TypeAlias = Array | Frame | Labelled
Floats: TypeAlias = NDArray[np.float64]
RandomState: TypeAlias = int | np.random.RandomState | None
