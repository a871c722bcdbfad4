"""Types of what plots take and keep; imported where types are checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import ArrayLike, NDArray

from .._utils._typing import Floats as Floats
from .._utils._typing import RandomState as RandomState
from .._utils._typing import Table as Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure, SubFigure

# axes of several panels, or one whose place they share
AxesOrMany: TypeAlias = "Axes | NDArray[Any] | Sequence[Axes]"
AnyFigure: TypeAlias = "Figure | SubFigure"
# names or numbers of columns of a table
Columns: TypeAlias = Sequence[str | int] | NDArray[Any] | int
Components: TypeAlias = Sequence[int] | NDArray[Any]
# a Series too
Values: TypeAlias = ArrayLike | Sequence[Any]
# None where a plot has no such part. Types cannot tell when: with `X | MaybeNone`
# checkers know the attributes of X, and ask for no test
MaybeNone: TypeAlias = Any
